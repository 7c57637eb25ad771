"""Remembers what each tool of a server said it was when it was first used or last allowed.

Knows names and fingerprints; who allows anything is decided elsewhere.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path

from ossia.errors import StoreError


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
        self._prints: dict[str, str] = {}
        if path is None:
            return
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}; repair or delete it") from None
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise StoreError(f"{path} is no list of known tools; delete it")
        self._prints = found

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
        self._prints |= prints
        if self._path is not None:
            try:
                self._write(self._path)
            except OSError as error:
                raise StoreError(f"{self._path} cannot be written: {error}") from None

    def _write(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(self._prints, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(handle)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
