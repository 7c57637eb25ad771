"""`ossia eval`: the accuracy of the embedded model or one of its kind, alone and with tools."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from ossia.cli.options import AsJson, MachineOptions, ModelOptions, open_llm, spread
from ossia.cli.terminal.terminal import say

if TYPE_CHECKING:
    from ossia.evals.nano import Row
    from ossia.evals.nano_cells import Cell

Name = TypeVar("Name", bound=str)
EXAMPLES = """
ossia eval nano --n 20
ossia eval nano -m FOLDER --task functions --task search --effort medium --json
ossia eval agent --n 200 --effort medium
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """Which rows of the table, and how many dialogues each."""

    n: Annotated[
        int,
        typer.Option(
            "--n", min=1, max=10_000, metavar="N", help="Dialogues per row, if so many exist."
        ),
    ] = 100
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only rows of this task; may be repeated."),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="trained, reworded or held-out; by default all."),
    ] = None
    effort: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LEVEL", help="Reasoning effort: low, medium or high; by default all."
        ),
    ] = None

    def cells(self) -> "list[Cell]":
        """The selected cells of the table."""
        from ossia.evals.nano_cells import COLUMNS, DRAWS, EFFORTS, cells

        return list(
            cells(
                _chosen(self.task, tuple(DRAWS)),
                _chosen(self.column, COLUMNS),
                _chosen(self.effort, EFFORTS),
            )
        )


def _chosen(options: list[str] | None, known: "tuple[Name, ...]") -> "tuple[Name, ...]":
    """The selected names, in the table's order; all by default."""
    if unknown := set(options or ()) - set(known):
        names = ", ".join(known)
        raise typer.BadParameter(f"{min(unknown)!r} is not in the table; there are: {names}")
    return tuple(each for each in known if not options or each in options)


@spread
def command(
    *,
    model: ModelOptions,
    machine: MachineOptions,
    suite: Annotated[
        Literal["nano", "agent"],
        typer.Argument(
            metavar="SUITE", help="nano: a table of its tasks; agent: tasks with real tools."
        ),
    ],
    table_options: TableOptions,
    as_json: AsJson = False,
) -> None:
    """Measure a model's accuracy, with confidence intervals, on held-out dialogues."""
    measure = _table if suite == "nano" else _tasks
    measured, as_markdown = measure(table_options, model, machine)
    if as_json:
        typer.echo(json.dumps(measured))
    else:
        typer.echo(as_markdown)


def _table(
    options: TableOptions, model: ModelOptions, machine: MachineOptions
) -> tuple[dict[str, Any], str]:
    from ossia.evals import nano

    cells = options.cells()
    with open_llm(model, machine) as llm:
        table = nano.measure(llm, cells, options.n, _progress(len(cells), quiet=model.quiet))
        return {"model": llm.name, "n": options.n, **table.as_dict()}, nano.as_markdown(table)


def _progress(total: int, *, quiet: bool) -> "Callable[[Row], None]":
    """Tells on stderr how far the table is; the table itself goes to stdout at the end."""
    number = count(1)

    def tell(row: "Row") -> None:
        if quiet:
            return
        cell = row.cell
        say(
            f"{next(number)} of {total}: {cell.task}, {cell.column}, {cell.effort}: "
            f"{row.right} of {row.n} right"
        )

    return tell


def _tasks(
    options: TableOptions, model: ModelOptions, machine: MachineOptions
) -> tuple[dict[str, Any], str]:
    from ossia.evals import agent
    from ossia.evals.nano_cells import EFFORTS

    if options.task or options.column:
        raise typer.BadParameter("agent has neither lines nor columns; leave --task and --column")
    measured: dict[str, Any] = {}
    tables = []
    with open_llm(model, machine) as llm:
        for effort in _chosen(options.effort or ["medium"], EFFORTS):
            table = agent.measure(llm, options.n, effort=effort)
            measured[effort] = table.as_dict()
            tables.append(agent.as_markdown(table))
        return {"model": llm.name, "n": options.n, **measured}, "\n\n".join(tables)
