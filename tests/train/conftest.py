"""A tokenizer of the trainer's own, made once for the folder."""

import pytest

from ossia.harmony.vocabulary import Vocabulary
from ossia.train.tokenizer import write_tokenizer


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path, 640, seed=0)
    return path


@pytest.fixture(scope="session")
def vocabulary(tokenizer_file):
    return Vocabulary.from_file(tokenizer_file)
