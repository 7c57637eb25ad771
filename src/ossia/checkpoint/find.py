"""Finds models on this disk: the embedded one, a folder, or Hugging Face's cache.

Never uses the network.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

from ossia.errors import CheckpointError

EMBEDDED = "nano"
SHORT_NAMES = {"gpt-oss-20b": "openai/gpt-oss-20b", "gpt-oss-120b": "openai/gpt-oss-120b"}


class FoundModel(NamedTuple):
    """A model that `find_model` finds by this name."""

    name: str
    folder: Path


def find_model(name: str) -> Path:
    """Find the folder of a model: `nano`, a folder's path, or a downloaded hub name.

    Raises:
        CheckpointError: there is no such model.
    """
    if name == EMBEDDED:
        return _embedded()
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    hub_name = SHORT_NAMES.get(name, name)
    for found in _cached():
        if found.name == hub_name:
            return found.folder
    if hub_name.count("/") == 1 and not hub_name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"{hub_name} is not in Hugging Face's cache on this disk; download it with: "
            f"hf download {hub_name} --exclude 'original/*' --exclude 'metal/*'"
        )
    if name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"there is no folder {name}; expected one with config.json and safetensors, "
            "as hf download openai/gpt-oss-20b --local-dir FOLDER makes"
        )
    raise CheckpointError(
        f"no model is called {name!r}; expected {EMBEDDED}, a folder with config.json, "
        "or a downloaded hub name such as openai/gpt-oss-20b"
    )


def models_on_disk() -> list[FoundModel]:
    """List every model that can be named without a path, the embedded one first."""
    return [FoundModel(EMBEDDED, _embedded()), *_cached()]


def prepared_folder(folder: str | Path = "auto") -> Path:
    """The folder of prepared weights; auto: $OSSIA_HOME/cache, or the system's place for caches."""
    if folder != "auto":
        return Path(folder).expanduser()
    if home := os.environ.get("OSSIA_HOME"):
        return Path(home).expanduser().absolute() / "cache"
    import platformdirs

    return platformdirs.user_cache_path("ossia", appauthor=False)


def _embedded() -> Path:
    return Path(__file__).parents[1] / "models" / "nano"


def _cached() -> list[FoundModel]:
    """Find downloaded gpt-oss models by their config.json."""
    from huggingface_hub.constants import HF_HUB_CACHE  # slow to import, rarely needed

    found = []
    for repo in sorted(Path(HF_HUB_CACHE).glob("models--*--*")):
        main = repo / "refs" / "main"
        if not main.is_file():
            continue
        folder = repo / "snapshots" / main.read_text(encoding="utf-8").strip()
        if _is_gpt_oss(folder / "config.json"):
            found.append(FoundModel(repo.name.removeprefix("models--").replace("--", "/"), folder))
    return found


def _is_gpt_oss(config: Path) -> bool:
    try:
        return bool(json.loads(config.read_bytes()).get("model_type") == "gpt_oss")
    except (OSError, ValueError, AttributeError):
        return False  # another kind of model, or an incomplete download
