"""`ossia train nano`: trains a model of the embedded one's kind from nothing."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from ossia.cli.options import spread
from ossia.errors import MissingExtra

EXAMPLES = """
ossia train nano --out FOLDER --seconds 10800
ossia train nano --out FOLDER --tokens 30e6 --hold
ossia train nano --out FOLDER --shape t2 --device cuda --seconds 1500
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOptions:
    """How long to train, all legs together; one of the two."""

    tokens: Annotated[
        float | None, typer.Option(metavar="N", help="Tokens to learn from, such as 75e6.")
    ] = None
    seconds: Annotated[
        float | None, typer.Option(metavar="N", help="Instead: the process's own time.")
    ] = None
    hold: Annotated[
        bool, typer.Option("--hold", help="Keep the rate; a later leg with more lets it fall.")
    ] = False

    def arguments(self) -> list[str]:
        """As the trainer takes them."""
        if (self.tokens is None) == (self.seconds is None):
            raise typer.BadParameter("give --tokens N or --seconds N, one of them")
        budget = ("--seconds", self.seconds) if self.tokens is None else ("--tokens", self.tokens)
        return [*map(str, budget), *(["--hold"] if self.hold else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeOptions:
    """What is trained, and on what."""

    shape: Annotated[
        Literal["t0", "t1", "t1c", "t2"],
        typer.Option(metavar="NAME", help="t0: for tests; t1, t1c: for a CPU; t2: for a GPU."),
    ] = "t1c"
    seed: Annotated[int, typer.Option(metavar="N", help="Decides data and first weights.")] = 0
    device: Annotated[Literal["cpu", "cuda"], typer.Option(metavar="NAME", help="cpu or cuda.")] = (
        "cpu"
    )
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, metavar="N", help="Processes, one a core; part of the bits."),
    ] = 2


@spread
def command(
    *,
    model: Annotated[Literal["nano"], typer.Argument(metavar="MODEL", help="nano.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="For log, legs and checkpoint; goes on there.")
    ],
    budget: BudgetOptions,
    make: MakeOptions,
) -> None:
    """Train a model like the embedded one; the same command goes on where it was stopped."""
    assert model == "nano", "typer lets nothing else through"
    arguments = budget.arguments()
    if find_spec("torch") is None:
        raise MissingExtra("training", needs="torch", extra="train")
    from ossia.train.pretrain import main

    arguments += ["--out", str(out), "--shape", make.shape, "--device", make.device]
    main([*arguments, "--seed", str(make.seed), "--workers", str(make.workers)])
