"""Which Python runs the cells, and what of the disk it needs to see."""

import os
import site
import sys
from dataclasses import dataclass
from pathlib import Path

SYSTEM = ("/usr", "/lib", "/lib64", "/bin")
"""Programs and libraries of the system; the last three are often links into the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPython:
    """A Python: its program, and folders beyond the system's."""

    executable: str
    folders: tuple[str, ...]
    """To be read and executed, besides `SYSTEM`."""
    packages: tuple[str, ...]
    """Where installed packages lie; no `.pth` file in them is obeyed."""

    @classmethod
    def here(cls) -> "InstalledPython":
        """The one that runs us, with the packages installed beside us."""
        executable = os.path.realpath(sys.executable)
        packages = tuple(filter(os.path.isdir, site.getsitepackages()))
        wanted = (os.path.realpath(sys.base_prefix), *map(os.path.realpath, packages))
        folders: list[str] = []
        for folder in wanted:
            if not _is_inside(folder, (*SYSTEM, *folders)):
                folders.append(folder)
        return cls(executable=executable, folders=tuple(folders), packages=packages)

    def why_not(self) -> str | None:
        """What would show too much of the disk, if anything."""
        home = os.path.realpath(Path.home())
        for folder in self.folders:
            if _is_inside(home, (folder,)):
                return f"Python's own folder is {folder}, which holds more than Python"
        return None


def _is_inside(path: str, folders: tuple[str, ...]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)
