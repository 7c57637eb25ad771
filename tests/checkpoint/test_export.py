"""A checkpoint is written as published ones look, piece by piece, or not at all."""

import json
import os

import ml_dtypes
import numpy as np
import pytest

from benchmarks.random_checkpoint import random_tensors
from ossia.checkpoint import LAYOUTS, open_checkpoint, write_checkpoint
from ossia.checkpoint import export as export_file
from ossia.checkpoint.folder import INDEX
from ossia.errors import CheckpointError


@pytest.mark.parametrize(
    ("layout", "shards", "names"),
    [
        ("hugging-face", 1, {"model.safetensors"}),
        ("original", 1, {"model.safetensors"}),
        ("original", 2, {f"model-0000{i}-of-00001.safetensors" for i in range(2)}),
        ("dense", 3, {INDEX} | {f"model-0000{i}-of-00002.safetensors" for i in range(3)}),
    ],
)
def test_files_are_named_as_published(layout, shards, names, save):
    assert set(os.listdir(save(layout, shards=shards))) == names | {"config.json"}


def test_the_index_places_every_tensor(save):
    folder = save("hugging-face", shards=3)
    index = json.loads((folder / INDEX).read_text())
    checkpoint = open_checkpoint(folder)
    assert index["metadata"]["total_size"] == checkpoint.total_bytes
    assert set(index["weight_map"].values()) == {path.name for path in checkpoint.files}


def test_shards_differ_by_no_more_than_one_tensor(save):
    checkpoint = open_checkpoint(save("dense", shards=3))
    largest = max(array.nbytes for array in checkpoint.tensors.values())
    share = checkpoint.total_bytes / 3
    assert len(checkpoint.files) == 3
    assert all(abs(path.stat().st_size - share) <= largest for path in checkpoint.files)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_small_pieces_give_the_same_file(layout, save, config, tmp_path, monkeypatch):
    whole = (save(layout) / "model.safetensors").read_bytes()
    monkeypatch.setattr(export_file, "_PIECE_BYTES", 100)
    tensors = random_tensors(config, 7, packed=layout != "dense")
    write_checkpoint(tmp_path / "again", config, tensors, layout)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("source", "target"), [("original", "hugging-face"), ("hugging-face", "original")]
)
def test_packed_layouts_turn_into_each_other_without_loss(source, target, save, tmp_path):
    checkpoint = open_checkpoint(save(source, shards=3))
    write_checkpoint(tmp_path / "turned", checkpoint.config, checkpoint.tensors, target)
    direct = save(target) / "model.safetensors"
    assert (tmp_path / "turned" / "model.safetensors").read_bytes() == direct.read_bytes()


def test_each_tensor_is_asked_for_once(config, tmp_path):
    class Watched(type(random_tensors(config, 7))):
        accesses = []

        def __getitem__(self, name):
            self.accesses.append(name)
            return super().__getitem__(name)

    watched = Watched(config, 7, packed=True)
    write_checkpoint(tmp_path / "a", config, watched, "original")
    assert sorted(watched.accesses) == sorted(watched)


@pytest.mark.parametrize(
    ("dtype", "kind"), [("F32", np.float32), ("F16", np.float16), ("BF16", ml_dtypes.bfloat16)]
)
def test_other_floats_are_written_as_they_are(dtype, kind, config, tmp_path):
    tensors = {
        name: array.astype(kind) for name, array in random_tensors(config, 7, packed=False).items()
    }
    write_checkpoint(tmp_path / "a", config, tensors, "dense", dtype=dtype)
    opened = open_checkpoint(tmp_path / "a").tensors
    assert all(opened[name].dtype == kind for name in opened)
    assert all((opened[name] == tensors[name]).all() for name in opened)


def test_nothing_is_rounded_silently(config, save, tmp_path):
    with pytest.raises(ValueError, match="final_norm|norm.weight is float32, planned as BF16"):
        save("dense", final_norm=np.ones(config.hidden_size, np.float32))
    assert os.listdir(tmp_path / "dense") == []


def test_dense_tensors_do_not_fit_a_packed_layout(config, tmp_path):
    tensors = random_tensors(config, 7, packed=False)
    with pytest.raises(
        ValueError, match="missing: 'layers.0.down_blocks'.* unknown: 'layers.0.down_w"
    ):
        write_checkpoint(tmp_path / "a", config, tensors, "original")
    assert not (tmp_path / "a").exists()


def test_a_tensor_of_another_shape_is_refused(config, save):
    with pytest.raises(ValueError, match=r"final_norm has the shape \(1,\), not \(64,\)"):
        save("dense", final_norm=np.ones(1, ml_dtypes.bfloat16))


def test_at_least_one_file_is_needed(save, tmp_path):
    with pytest.raises(ValueError, match="shards is 0"):
        save("dense", shards=0)


@pytest.mark.parametrize("present", ["config.json", INDEX, "x.safetensors"])
def test_a_checkpoint_is_never_mixed_into_another(present, save, tmp_path):
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense" / present).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=f"dense already holds '{present}'"):
        save("dense")


def test_a_file_in_place_of_the_folder_is_an_error(save, tmp_path):
    (tmp_path / "dense").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be made a folder"):
        save("dense")


@pytest.mark.parametrize("good_writes", range(5))
def test_a_disk_that_fills_up_leaves_no_part_of_a_checkpoint(
    good_writes, save, tmp_path, monkeypatch
):
    replace, done = os.replace, []

    def fail_later(source, target):
        if len(done) == good_writes:
            raise OSError(28, "No space left on device")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_later)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save("hugging-face", shards=3)
    assert os.listdir(tmp_path / "hugging-face") == []
