"""A byte tokenizer, and tokens from a script instead of a model."""

import dataclasses

import pytest

from benchmarks.byte_tokenizer import NUM_IDS, write_byte_tokenizer
from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.checkpoint import write_checkpoint
from ossia.engine.request import SampledToken, TokenEvent

CONFIG = dataclasses.replace(SHAPES["tiny"], vocab_size=-(-NUM_IDS // 64) * 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model that speaks bytes."""
    folder = tmp_path_factory.mktemp("random") / "model"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, 0), "hugging-face")
    write_byte_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    return write_byte_tokenizer(tmp_path_factory.mktemp("bytes") / "tokenizer.json")


@pytest.fixture(scope="session")
def spell(tokenizer):
    """Ids of a text in which `<|name|>` means the control token."""

    def to_ids(text):
        ids = []
        while text:
            name = next((each for each in tokenizer.control if text.startswith(each)), None)
            ids += [tokenizer.control[name]] if name else tokenizer.encode(text[0])
            text = text[len(name or "x") :]
        return ids

    return to_ids


@pytest.fixture
def played(spell):
    """Token events of a text, the last one with the reason of the end."""

    def events(text, reason="stop"):
        ids = spell(text)
        for place, token_id in enumerate(ids, start=1):
            end = reason if place == len(ids) else None
            yield TokenEvent(0, SampledToken(token_id), finish_reason=end)

    return events
