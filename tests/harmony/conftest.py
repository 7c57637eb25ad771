"""Two tokenizers that share no id: the real one, and bytes with a few merges."""

from pathlib import Path

import openai_harmony
import pytest

from ossia.harmony.byte_bpe import PATTERN, write_tokenizer_json
from ossia.harmony.tokenizer import Tokenizer
from tests.harmony.tiny_tokenizer import CONTROL, RANKS


@pytest.fixture(scope="session")
def o200k() -> Tokenizer:
    return Tokenizer.o200k_harmony()


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    write_tokenizer_json(path, RANKS, PATTERN, CONTROL)
    return path


@pytest.fixture(scope="session")
def tiny(tokenizer_file: Path) -> Tokenizer:
    return Tokenizer.from_file(tokenizer_file)


@pytest.fixture(scope="session", params=["o200k", "tiny"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Both in turn: nothing may rely on the ids of one."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def library() -> openai_harmony.HarmonyEncoding:
    """The published library, which judges the real vocabulary and the renderer."""
    return openai_harmony.load_harmony_encoding("HarmonyGptOss")
