import json

import pytest

from ossia.errors import CheckpointError
from ossia.train import shards
from ossia.train.shards import ExampleSource, missing, write_shard


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(shards, "BATCHES", 2)
    monkeypatch.setattr(shards, "EXAMPLES_PER_BATCH", 8)


def test_a_batch_from_its_file_is_the_one_that_would_be_drawn(tokenizer, tmp_path):
    write_shard(ExampleSource(tokenizer, 0, tmp_path), 1)
    for number in (0, 2, 3):  # the first has no file
        assert ExampleSource(tokenizer, 0, tmp_path).examples(number) == ExampleSource(
            tokenizer, 0
        ).examples(number)


def test_a_damaged_file_is_refused(tokenizer, tmp_path):
    source = ExampleSource(tokenizer, 0, tmp_path)
    write_shard(source, 0)
    path = tmp_path / "00000.bin"
    path.write_bytes(path.read_bytes()[:-2] + b"\0\0")
    with pytest.raises(CheckpointError, match="damaged"):
        source.examples(0)


def test_files_of_another_seed_are_refused(tokenizer, tmp_path):
    write_shard(ExampleSource(tokenizer, 0, tmp_path), 0)
    with pytest.raises(CheckpointError, match="not of this run"):
        ExampleSource(tokenizer, 1, tmp_path).examples(0)


def test_what_is_written_is_told_with_its_hash(tokenizer, tmp_path):
    record = write_shard(ExampleSource(tokenizer, 0, tmp_path), 0)
    beside = json.loads((tmp_path / "00000.json").read_text())
    assert record == beside
    assert record["tokens"] > 0
    assert list(missing(tmp_path, 3)) == [1, 2]
