"""What the embedded model does with real tools: the same three things at every door."""

from dataclasses import dataclass

import pytest

PAGE = "# Gusten\n\nGusten is a planet.\nIts size is 177 km.\nThe colour of Gusten is red.\n"
OTHER = "# Druta\n\nDruta is a river.\nThe length of Druta is 452 km.\n"


@dataclass(frozen=True)
class Question:
    """Asked greedily, at medium effort."""

    text: str
    answer: str


FOUND = Question("What is the colour of Gusten?", "The colour of Gusten is red.")
COMPUTED = Question("What is 48213 * 977?", "47104101")
CALLED = Question("What is the weather in Rome?", "The weather is sunny.")

needs_sandbox = pytest.mark.judge("sandbox")


def get_weather(city: str) -> str:
    """Get the weather."""
    return "sunny" if city == "Rome" else "unknown"


def write_pages(folder):
    """Two pages to be indexed."""
    folder.mkdir()
    (folder / "gusten.md").write_text(PAGE)
    (folder / "druta.md").write_text(OTHER)
    return folder
