"""Where ossia keeps what is the user's own: private folders, private files."""

import os
from pathlib import Path

HOME = "OSSIA_HOME"
"""Environment variable: one folder for everything, in place of the system's usual places."""
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


def state_folder() -> Path:
    """The folder for history and the index; not made here."""
    if home := os.environ.get(HOME):
        return Path(home).expanduser().absolute() / "state"
    import platformdirs

    return platformdirs.user_state_path("ossia", appauthor=False)


def index_path() -> Path:
    """The file of the corpus that the browser searches; not made here."""
    return state_folder() / "corpus.sqlite3"


def private_file(folder: Path, name: str) -> Path:
    """Make sure that a file exists that only its owner reads, in a folder only the owner enters.

    Raises:
        OSError: the folder or the file cannot be made or written.
    """
    if not folder.parent.is_dir():
        folder.parent.mkdir(parents=True, mode=PRIVATE_FOLDER)
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)
    path = folder / name
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE))
    path.chmod(PRIVATE_FILE)
    return path
