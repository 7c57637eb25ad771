"""Remembers what each tool of a server said it was when it was first used or last allowed.

Knows names and fingerprints; who allows anything is decided elsewhere.
"""

import json
from pathlib import Path

from ossia.errors import StoreError
from ossia.files import atomic_write, file_lock, make_private_folder


class KnownTools:
    """Fingerprints by server and tool, in a private file or in memory alone."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is known.

        Args:
            path: the file; it need not exist. None: nothing outlives this object.

        Raises:
            StoreError: the file cannot be read.
        """
        self._path = path
        self._prints = {} if path is None else _read(path)

    def is_changed(self, tool: str, fingerprint: str) -> bool:
        """Whether a tool is another than the one that is known; an unknown one is not."""
        return self._prints.get(tool, fingerprint) != fingerprint

    def learn(self, prints: dict[str, str]) -> None:
        """Remember tools as they are now.

        Raises:
            StoreError: the disk refused.
        """
        if prints.items() <= self._prints.items():
            return
        if self._path is None:
            self._prints |= prints
            return
        try:
            make_private_folder(self._path.parent)
            with file_lock(self._path.with_name(f".{self._path.name}.lock")):
                # Another process may have learnt since: what it knows is not forgotten.
                self._prints |= _read(self._path) | prints
                with atomic_write(self._path) as file:
                    file.write(json.dumps(self._prints, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error}") from None


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}; repair or delete it") from None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise StoreError(f"{path} is no list of known tools; delete it")
    return found
