"""Files that tools gave: put into a folder if one was named, else only told of."""

import errno
import os
import re
from pathlib import Path

from ossia.errors import RequestError
from ossia.tools.tool import Attachment

MAX_NAME_CHARS = 100
_MAX_NUMBER = 10_000


class GivenFiles:
    """Where files go. Nothing that stands there already is ever written over."""

    def __init__(self, folder: Path | None = None) -> None:
        """Choose a folder; it is made if it is missing.

        Raises:
            RequestError: it cannot be made.
        """
        self._folder = folder
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                told = f"--files {folder}: {error.strerror}; name a folder that can be written"
                raise RequestError(told) from None

    def keep(self, file: Attachment) -> Path | None:
        """Write one file under a name that is free; None where no folder was named.

        Raises:
            OSError: it cannot be written.
        """
        if self._folder is None:
            return None
        name = Path(_one_name(file.name))
        for number in range(1, _MAX_NUMBER):
            tried = name if number == 1 else name.with_stem(f"{name.stem}-{number}")
            try:
                with (self._folder / tried).open("xb") as written:
                    written.write(file.content)
            except FileExistsError:
                continue
            return self._folder / tried
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def told(self, file: Attachment) -> str:
        """Keep it, and say in a line where it is, or that it is nowhere."""
        size = f"{len(file.content)} bytes"
        try:
            kept = self.keep(file)
        except OSError as error:
            return f"{file.name}, {size}, not kept: {error.strerror}"
        return f"{kept or file.name}, {size}"


def _one_name(name: str) -> str:
    """A name that leads nowhere and hides nothing, whoever chose it."""
    last = re.sub(r"[^\w .()+=@-]", "_", name.rpartition("/")[2]).lstrip(". ")[-MAX_NAME_CHARS:]
    return last.lstrip(". ") or "file"
