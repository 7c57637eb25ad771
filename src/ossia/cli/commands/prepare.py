"""`ossia prepare`: convert a model's weights to the backend's format; verify or delete them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ossia.cli.options import AsJson, MachineOptions, ModelOptions, ops_options, spread
from ossia.cli.terminal.progress import Progress, loading
from ossia.cli.terminal.terminal import as_bytes, harmless, say
from ossia.errors import CheckpointError

if TYPE_CHECKING:
    from ossia.model.loading import Repacking

EXAMPLES = """
ossia prepare -m FOLDER
ossia prepare -m FOLDER --verify
ossia prepare -m FOLDER --remove
"""


@spread
def command(
    *,
    model: ModelOptions,
    machine: MachineOptions,
    as_json: AsJson = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read and check every byte of the prepared file.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete the prepared files of this model.")
    ] = False,
) -> None:
    """Convert a large model's weights to the backend's format, so that it starts at once."""
    from ossia.checkpoint.find import find_model, prepared_folder

    if verify and remove:
        raise typer.BadParameter("--verify and --remove exclude each other; use one of them")
    source, folder = find_model(model.model), prepared_folder(model.prepared_folder)
    if remove:
        _remove(source, folder, as_json)
        return
    work = _work(source, model, machine)
    if work is None:
        _tell(as_json, "nothing", None, 0, f"{model.model} needs no file: nothing is written")
        return
    path = work.path(folder)
    with loading(quiet=model.quiet) as progress:
        size = _verify(work, path, progress) if verify else _write(work, path, progress)
    done = "verified" if verify else "prepared"
    _tell(as_json, done, path, size, f"{path}: {as_bytes(size)}, {done}")


def _remove(source: Path, folder: Path, as_json: bool) -> None:
    from ossia.checkpoint.prepared import remove_prepared

    try:
        freed = remove_prepared(folder, source)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error.strerror}") from error
    _tell(as_json, "removed", None, freed, f"{as_bytes(freed)} freed")


def _work(source: Path, model: ModelOptions, machine: MachineOptions) -> "Repacking | None":
    """None if there is nothing to prepare: for this backend, or because the model is small."""
    from ossia.checkpoint import open_checkpoint
    from ossia.model.loading import Repacking
    from ossia.ops.select import select_ops

    ops = select_ops(machine.backend, ops_options(model, machine))
    checkpoint = open_checkpoint(source)
    work = Repacking(checkpoint, ops, ops.layout) if ops.layout else None
    return work if work and work.is_worth_a_file else None


def _write(work: "Repacking", path: Path, progress: Progress) -> int:
    from ossia.model.loading import open_or_write

    try:
        return open_or_write(work, path, progress, say).num_bytes
    except OSError as error:
        raise CheckpointError(
            f"{path.parent} cannot be written: {error.strerror}; "
            "choose another folder with --prepared-folder"
        ) from error


def _verify(work: "Repacking", path: Path, progress: Progress) -> int:
    if not path.exists():
        raise CheckpointError(f"{path} is not there; write it without --verify")
    file = work.open(path)
    done = iter(range(1, len(file.names) + 1))
    file.verify(lambda name: progress("verify", next(done) / len(file.names)))
    return file.num_bytes


def _tell(as_json: bool, done: str, path: Path | None, num_bytes: int, line: str) -> None:
    found: dict[str, Any] = {"done": done, "path": path and str(path), "bytes": num_bytes}
    typer.echo(json.dumps(found) if as_json else harmless(line))
