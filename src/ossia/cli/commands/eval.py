"""`ossia eval`: what the embedded model, or one of its kind, gets right, alone and with tools."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from ossia.cli.options import AsJson, MachineOptions, ModelOptions, open_llm, spread
from ossia.cli.terminal.terminal import say

if TYPE_CHECKING:
    from ossia.evals.nano_cells import Cell

Name = TypeVar("Name", bound=str)
EXAMPLES = """
ossia eval nano --n 20
ossia eval nano -m FOLDER --task functions --task search --effort medium --json
ossia eval agent --n 200 --effort medium
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """Which lines of the table, and of how many dialogues each."""

    n: Annotated[
        int, typer.Option("--n", min=1, max=10_000, help="Dialogues a line, where so many differ.")
    ] = 100
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only lines of this name; may be repeated."),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="trained, reworded or held-out; all unless told."),
    ] = None
    effort: Annotated[
        list[str] | None,
        typer.Option(metavar="LEVEL", help="low, medium or high; all unless told."),
    ] = None

    def cells(self) -> "list[Cell]":
        """The places of the table that were asked for."""
        from ossia.evals.nano_cells import COLUMNS, DRAWS, EFFORTS, cells

        return list(
            cells(
                _chosen(self.task, tuple(DRAWS)),
                _chosen(self.column, COLUMNS),
                _chosen(self.effort, EFFORTS),
            )
        )


def _chosen(options: list[str] | None, known: "tuple[Name, ...]") -> "tuple[Name, ...]":
    """Those asked for, in the table's order; all if none was."""
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
        typer.Argument(metavar="SUITE", help="nano: its tasks, a table; agent: with real tools."),
    ],
    table_options: TableOptions,
    as_json: AsJson = False,
) -> None:
    """Measure what a model gets right, with intervals, on dialogues it has never seen."""
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
        table = nano.measure(
            llm, cells, options.n, lambda row: None if model.quiet else say(nano.line(row))
        )
        return {"model": llm.name, "n": options.n, **table.as_dict()}, nano.as_markdown(table)


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
