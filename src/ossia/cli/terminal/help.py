"""Formats the help of a command: options in groups, examples at the end, plain text.

Typer's own panels import rich, which takes longer than everything else `--help` does.
"""

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

from ossia.cli.coercion import LazyCoercion

OTHERS = "Options"
"""The default group of options."""


class OneCommand(LazyCoercion, TyperCommand):
    """A sub-command; its help lists options by group, and its epilog as examples."""

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
        """Print the examples without wrapping them."""
        examples = (self.epilog or "").strip().splitlines()
        formatter.write(f"\n{'Examples' if len(examples) > 1 else 'Example'}:\n")
        for line in examples:
            formatter.write(f"  {line}\n")


def _group_of(param: Any) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or OTHERS  # --help itself has no group


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
