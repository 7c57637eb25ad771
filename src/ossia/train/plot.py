"""The losses of a log as a picture: `python -m ossia.train.plot FOLDER` writes loss.png there."""

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ossia.errors import MissingExtra

SMOOTHING = 0.8
"""Smoothing: the weight of the previous value of the drawn line."""


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a log.jsonl; a line that was cut, as by a crash, is left out."""
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def losses(entries: Iterable[dict[str, Any]]) -> list[tuple[float, float]]:
    """Millions of tokens and the loss, of every entry that has both."""
    return [(each["tokens"] / 1e6, each["loss"]) for each in entries if "loss" in each]


def smooth(values: Iterable[float]) -> list[float]:
    """The exponential moving average; ignores values that are not finite."""
    averages: list[float] = []
    for value in values:
        last = averages[-1] if averages else value
        averages.append(
            SMOOTHING * last + (1 - SMOOTHING) * value if math.isfinite(value) else last
        )
        if not math.isfinite(last):
            averages[-1] = value
    return averages


def plot_losses(folder: Path) -> Path:
    """Draw the log of a run: every loss pale, a smoothed line above them; return the picture.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("a plot of the loss", needs="matplotlib", extra="train") from None
    points = losses(read_log(folder / "log.jsonl"))
    tokens, values = [x for x, _ in points], [y for _, y in points]
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.add_subplot(xlabel="tokens (millions)", ylabel="loss (nats a token)")
    axes.plot(tokens, values, ".", color="#bec8e1", markersize=3)
    axes.plot(tokens, smooth(values), color="#1e3c8c")
    axes.set_ylim(bottom=0)
    axes.grid(color="#ebebeb")
    picture = folder / "loss.png"
    figure.savefig(picture, dpi=100)
    return picture


def main(argv: list[str] | None = None) -> None:
    """Draw the log of a run."""
    parser = argparse.ArgumentParser(prog="python -m ossia.train.plot", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run; its log.jsonl is read")
    print(plot_losses(parser.parse_args(argv).folder))


if __name__ == "__main__":
    main()
