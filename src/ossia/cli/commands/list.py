"""`ossia list`: list the models on this disk."""

import json
from typing import Any

import typer

from ossia.cli.options import AsJson
from ossia.cli.terminal.terminal import as_bytes, harmless
from ossia.errors import CheckpointError

EXAMPLES = """
ossia list
"""


def command(*, as_json: AsJson = False) -> None:
    """List the models that -m takes by name; -m also takes any folder."""
    from ossia.checkpoint.find import models_on_disk

    models = [_model(found.name, str(found.folder)) for found in models_on_disk()]
    if as_json:
        typer.echo(json.dumps({"models": models}))
        return
    width = max(len(model["name"]) for model in models)
    for model in models:
        size = "" if model["tensor_bytes"] is None else as_bytes(model["tensor_bytes"])
        problem = f"cannot be opened: {model['problem']}" if model["problem"] else ""
        typer.echo(harmless(f"{model['name']:{width}}  {size:>8}  {problem or model['folder']}"))


def _model(name: str, folder: str) -> dict[str, Any]:
    from ossia.checkpoint import open_checkpoint

    size, problem = None, None
    try:
        size = open_checkpoint(folder).total_bytes
    except CheckpointError as error:
        problem = str(error)
    return {"name": name, "folder": folder, "tensor_bytes": size, "problem": problem}
