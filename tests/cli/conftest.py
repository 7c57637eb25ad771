"""A tiny random model with a byte tokenizer, and the command line run in this process."""

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.byte_tokenizer import write_byte_tokenizer
from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.checkpoint import write_checkpoint
from ossia.cli.main import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def write_model(folder, tensors, *, speaks=True):
    write_checkpoint(folder, SHAPES["tiny"], tensors, "hugging-face")
    if speaks:
        write_byte_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model that says nonsense in words."""
    tensors = random_tensors(SHAPES["tiny"], 0)
    return write_model(tmp_path_factory.mktemp("models") / "nonsense", tensors)


@pytest.fixture(scope="session")
def mute_folder(tmp_path_factory):
    """The same without a tokenizer."""
    tensors = random_tensors(SHAPES["tiny"], 0)
    return write_model(tmp_path_factory.mktemp("models") / "mute", tensors, speaks=False)


@pytest.fixture(scope="session")
def endless_folder(tmp_path_factory):
    """A model that finds all tokens equally likely: at temperature 0 it writes the first for ever.

    The first is the byte 0; what ends a message comes after all bytes.
    """
    tensors = dict(random_tensors(SHAPES["tiny"], 0))
    tensors["head"] = np.zeros_like(tensors["head"])
    return write_model(tmp_path_factory.mktemp("models") / "endless", tensors)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test sees or touches the user's own files and settings."""
    for name in [name for name in os.environ if name.startswith("OSSIA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    return tmp_path / "home"


@pytest.fixture
def ossia(monkeypatch, capsys):
    """Run a command in this process, without a terminal."""

    def run(*args, stdin=""):
        content = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        monkeypatch.setattr(sys, "argv", ["ossia", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return Ran(left.value.code or 0, shown.out, shown.err)

    return run


@pytest.fixture
def ossia_process():
    """Run a command as a process of its own."""

    def run(*args, **how):
        command = [sys.executable, "-m", "ossia", *map(str, args)]
        how = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True} | how
        return subprocess.run(command, check=False, timeout=50, **how)

    return run


@pytest.fixture
def saved(tmp_path) -> Path:
    return tmp_path / "talk.json"
