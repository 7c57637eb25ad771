"""`ossia train nano`: trains a model of the embedded one's kind from nothing."""

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from ossia.cli.options import spread
from ossia.errors import MissingExtra

EXAMPLES = """
ossia train nano --out FOLDER --seconds 10800
ossia train nano --out FOLDER --tokens 30e6 --constant-lr
ossia train nano --out FOLDER --shape t2 --device cuda --seconds 1500
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOptions:
    """How long to train, resumed or not; one of tokens and seconds."""

    tokens: Annotated[
        float | None, typer.Option(metavar="N", help="Tokens to learn from, such as 75e6.")
    ] = None
    seconds: Annotated[
        float | None, typer.Option(metavar="N", help="Instead: the process's own time.")
    ] = None
    constant_lr: Annotated[
        bool,
        typer.Option(
            "--constant-lr", help="Do not decay the rate; a resumed run with more budget does."
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What is trained, and on what; what is left out has the trainer's default."""

    shape: Annotated[
        Literal["t0", "t1", "t1c", "t2"] | None,
        typer.Option(
            metavar="NAME",
            help="t0: for tests; t1, t1c (the default): for a CPU; t2: for a GPU.",
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Decides data and first weights; 0 by default.")
    ] = None
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option(metavar="NAME", help="cpu (the default) or cuda."),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            metavar="N",
            help="Processes, one a core; part of the bits; 2 by default.",
        ),
    ] = None
    lr: Annotated[
        float | None, typer.Option(metavar="RATE", help="Peak of AdamW; 0.003 by default.")
    ] = None
    muon_lr: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Peak of Muon; 0.03 by default; 0: AdamW for all."),
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Batches of ossia.train.shards; drawn by default."),
    ] = None


@spread
def command(
    *,
    model: Annotated[Literal["nano"], typer.Argument(metavar="MODEL", help="nano.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="For log, training state and checkpoint; resumes."),
    ],
    budget: BudgetOptions,
    chosen: TrainOptions,
) -> None:
    """Train a model like the embedded one; the same command resumes where it was stopped."""
    assert model == "nano", "typer lets nothing else through"
    if (budget.tokens is None) == (budget.seconds is None):
        raise typer.BadParameter("give --tokens N or --seconds N, one of them")
    for package in ("torch", "matplotlib"):
        if find_spec(package) is None:
            raise MissingExtra("training", needs=package, extra="train")
    from ossia.train.pretrain import PretrainOptions, run

    values = asdict(budget) | asdict(chosen)
    options = PretrainOptions(out=out, **{k: v for k, v in values.items() if v is not None})
    typer.echo(json.dumps(run(options), indent=2))
