"""The tasks, and what share of the dialogues each has: a new one is a file and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

from ossia.train.tasks import arithmetic, small_talk
from ossia.train.tasks.task import Draw

TASKS: Mapping[str, tuple[float, Draw]] = MappingProxyType(
    {
        "arithmetic": (0.85, arithmetic.draw),
        "small talk": (0.15, small_talk.draw),
    }
)
