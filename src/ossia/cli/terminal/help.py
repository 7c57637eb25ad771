"""How help looks: commands and options in groups, an example at the end, plain text.

Plain, since typer's own panels load rich, which takes longer than everything else `--help` does.
"""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

OTHERS = "Options"
"""The group of an option that names none."""


class OneCommand(TyperCommand):
    """A sub-command whose options are listed by group; its epilog holds examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List arguments, then each group of options under its name."""
        groups = _by_group(
            (_group_of(param), param.get_help_record(ctx)) for param in self.get_params(ctx)
        )
        rest = groups.pop(OTHERS, [])
        for group, rows in groups.items():
            _write_group(formatter, group, rows)
        _write_group(formatter, OTHERS, rest)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Print the examples as they are to be typed, never wrapped."""
        examples = (self.epilog or "").strip().splitlines()
        formatter.write(f"\n{'Examples' if len(examples) > 1 else 'Example'}:\n")
        for line in examples:
            formatter.write(f"  {line}\n")


class AllCommands(TyperGroup):
    """The commands by group; a reader that closes its pipe early ends any of them in peace."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List each group of commands under its name."""
        width = formatter.width - 6 - max(map(len, self.commands), default=0)
        groups = _by_group(
            (
                getattr(command, "rich_help_panel", "Commands"),
                (name, command.get_short_help_str(width)),
            )
            for name, command in self.commands.items()
        )
        for group, rows in groups.items():
            _write_group(formatter, group, rows)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Answer `--help` and `--version`, which act while the arguments are read."""
        with _until_nobody_listens():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with _until_nobody_listens():
            return super().invoke(ctx)


def _group_of(param: Any) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or OTHERS  # --help itself knows no groups


def _by_group(
    listed: Iterable[tuple[str, tuple[str, str] | None]],
) -> dict[str, list[tuple[str, str]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for group, record in listed:
        if record is not None:
            groups.setdefault(group, []).append(record)
    return groups


def _write_group(formatter: Any, name: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(name):
            formatter.write_dl(rows, col_max=28)


@contextmanager
def _until_nobody_listens() -> Iterator[None]:
    """End quietly when the reader of our output has gone, and in one line when the disk is full."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        raise typer.Exit(0) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        typer.echo(
            "ossia: no space left where the output goes; free some, or write elsewhere", err=True
        )
        raise typer.Exit(1) from None


def _discard_output() -> None:
    """Let nothing that is still buffered fail once more when Python closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
