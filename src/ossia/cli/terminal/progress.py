"""Shows progress on stderr: a bar at a terminal, a line every few seconds in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ossia.cli.terminal.terminal import takes_styles

FLASH_SECONDS = 0.3
"""Work that is done sooner shows no bar."""
LINE_SECONDS = 3.0
"""Seconds between two lines in a log."""

Progress = Callable[[str, float], None]
"""Receives the name of a phase and its progress from 0 to 1."""


@contextmanager
def loading(*, quiet: bool) -> Iterator[Progress]:
    """Show progress while the block runs; yields the callback that reports it."""
    if quiet:
        yield lambda phase, share: None
    elif takes_styles(sys.stderr):
        bar = _Bar()
        try:
            yield bar.show
        finally:
            bar.close()
    else:
        yield _Lines(time.monotonic).show


class _Lines:
    """Prints a line every few seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()

    def show(self, phase: str, share: float) -> None:
        if self._clock() - self._last >= LINE_SECONDS:
            self._last = self._clock()
            print(f"ossia: {phase} {share:.0%}", file=sys.stderr, flush=True)


class _Bar:
    """Draws a bar for each phase with rich, which is imported when the first bar is due."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._drawn: Any = None
        self._tasks: dict[str, Any] = {}

    def show(self, phase: str, share: float) -> None:
        if self._drawn is None:
            if time.monotonic() - self._started < FLASH_SECONDS:
                return
            self._drawn = _rich_progress()
            self._drawn.start()
        if phase not in self._tasks:
            for task in self._tasks.values():  # earlier phases are done
                self._drawn.update(task, completed=1.0)
            self._tasks[phase] = self._drawn.add_task(phase, total=1.0)
        self._drawn.update(self._tasks[phase], completed=share)

    def close(self) -> None:
        if self._drawn is not None:
            self._drawn.stop()


def _rich_progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
