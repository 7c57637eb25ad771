"""Weights are repacked once: into a file of their own, or into memory where there can be none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.checkpoint import open_checkpoint, write_checkpoint
from ossia.checkpoint.prepared import prepared_files, prepared_path, prepared_writer
from ossia.errors import CheckpointError
from ossia.model import loading
from ossia.model.loading import Repacking, load_weights
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.reference import ReferenceOps
from ossia.ops.tiles import Tiles, tile_int8, tile_mxfp4

CONFIG = SHAPES["tiny"]
PER_LAYER = ("q_weight", "k_weight", "v_weight", "out_weight", "gate_up", "down")


class TilingOps(ReferenceOps):
    """Repacks by the plain functions, and counts how often."""

    layout = "test-1"

    def __init__(self):
        self.num_repacked = 0

    def repack(self, role, weight):
        self.num_repacked += 1
        if role == "head":
            return weight
        if isinstance(weight, Mxfp4):
            return tile_mxfp4(weight, gates_and_ups=role == "gate_up")
        return tile_int8(weight)


class Opening:
    """One opening of a checkpoint, and its notices."""

    def __init__(self, folder, cache, ops=None):
        self.ops = ops or TilingOps()
        self.checkpoint = open_checkpoint(folder)
        self.notices, self.phases = [], []
        self.tensors = load_weights(
            self.checkpoint,
            self.ops,
            folder=cache,
            progress=lambda phase, share: self.phases.append((phase, share)),
            notice=self.notices.append,
        )

    @property
    def has_written(self):
        return any(phase.startswith("write") for phase, _ in self.phases)

    def values(self):
        found = {n: w for n, w in self.tensors.items() if isinstance(w, Tiles)}
        return {n: (w.values.tobytes(), w.scales.tobytes(), w.shape) for n, w in found.items()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random") / "model"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, 0), "hugging-face")
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "model")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder for prepared files, in which every model is worth one."""
    monkeypatch.setattr(loading, "SMALLEST_FILE", 0)
    return tmp_path / "cache"


@pytest.fixture
def expected(folder):
    """What the backend makes of every weight, one by one."""
    return Opening(folder, None).values()


def test_each_matrix_is_what_the_backend_makes_of_it(folder):
    opening, ops = Opening(folder, None), TilingOps()
    tensors = opening.checkpoint.tensors
    for layer in ("layers.0", "layers.1"):
        weight = tensors[f"{layer}.v_weight"]
        packed = Mxfp4(tensors[f"{layer}.gate_up_blocks"], tensors[f"{layer}.gate_up_scales"])
        for name, tiles in (
            ("v_weight", ops.repack("projection", weight)),
            ("gate_up", ops.repack("gate_up", packed)),
        ):
            found = opening.tensors[f"{layer}.{name}"]
            assert (found.values == tiles.values).all()
            assert (found.scales == tiles.scales).all()
            assert found.shape == tiles.shape


def test_in_memory_all_that_is_not_repacked_stays(folder):
    opening = Opening(folder, None)
    assert opening.values().keys() == {f"layers.{i}.{n}" for i in (0, 1) for n in PER_LAYER}
    assert (opening.tensors["head"] == opening.checkpoint.tensors["head"]).all()
    assert "layers.1.q_bias" in opening.tensors
    assert opening.phases[-1] == ("repack", 1.0)


def test_a_file_holds_the_same_and_is_made_once(folder, cache, expected):
    first, second = Opening(folder, cache), Opening(folder, cache)
    assert (first.has_written, second.has_written) == (True, False)
    assert first.values() == second.values() == expected
    assert second.ops.num_repacked < first.ops.num_repacked
    assert first.notices == second.notices == []
    assert len(prepared_files(cache)) == 1


def test_how_far_the_writing_is_runs_from_0_to_1(folder, cache):
    phases = Opening(folder, cache).phases
    shares = [share for phase, share in phases if phase.endswith("of prepared weights, once")]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)


def test_the_size_is_known_before(folder, cache):
    opening = Opening(folder, cache)
    work = Repacking(opening.checkpoint, opening.ops, "test-1")
    file = work.open(work.path(cache))
    assert work.num_bytes == sum(file.view(name).nbytes for name in file.names)


def test_a_small_model_gets_no_file(folder, tmp_path, expected):
    opening = Opening(folder, tmp_path / "cache")
    assert opening.values() == expected
    assert not (tmp_path / "cache").exists()


def test_a_backend_without_an_order_of_its_own_gets_the_tensors_as_they_are(folder, cache):
    opening = Opening(folder, cache, ReferenceOps())
    assert opening.tensors is opening.checkpoint.tensors
    assert not cache.exists()


@pytest.mark.parametrize("layout", ["dense", "original"])
def test_other_published_layouts_are_prepared_too(tmp_path, cache, layout):
    packed = layout != "dense"
    write_checkpoint(tmp_path / "m", CONFIG, random_tensors(CONFIG, 0, packed=packed), layout)
    made, again = Opening(tmp_path / "m", cache), Opening(tmp_path / "m", cache)
    names = PER_LAYER if packed else PER_LAYER[:4]
    assert made.values().keys() == {f"layers.{i}.{n}" for i in (0, 1) for n in names}
    assert made.values() == again.values() == Opening(tmp_path / "m", None).values()


def flip(path, place):
    with open(path, "r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def spoil_version(path):
    path.write_bytes(path.read_bytes().replace(b'"version":"1"', b'"version":"0"', 1))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda path: flip(path, -1), "is damaged"),
        (lambda path: os.truncate(path, path.stat().st_size - 5000), "cut short"),
        (lambda path: os.truncate(path, 0), "claims a header"),
        (lambda path: path.write_bytes(b"\0" * 10_000), "claims a header of 0"),
        (spoil_version, "is out of date: its version is '0'"),
    ],
    ids=["flipped", "cut", "empty", "headless", "version"],
)
def test_a_damaged_file_is_noticed_once_and_made_again(folder, cache, expected, spoil, found):
    Opening(folder, cache)
    (path,) = prepared_files(cache)
    spoil(path)
    again = Opening(folder, cache)
    assert again.has_written
    assert again.values() == expected
    (notice,) = again.notices
    assert found in notice
    assert notice.endswith("; it is made again")
    assert Opening(folder, cache).notices == []


def test_a_changed_source_is_noticed(folder, cache):
    Opening(folder, cache)
    file = folder / "model.safetensors"
    facts = file.stat()
    shutil.rmtree(folder)
    tuned = dict(random_tensors(CONFIG, 0))
    tuned["layers.0.q_weight"] = -tuned["layers.0.q_weight"]
    write_checkpoint(folder, CONFIG, tuned, "hugging-face")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    again = Opening(folder, cache)
    assert again.has_written
    assert "is out of date: its source" in again.notices[0]
    assert again.values() == Opening(folder, None).values()
    os.utime(file, ns=(0, 0))
    assert Opening(folder, cache).has_written


def forged(folder, cache, change):
    """A file that claims to be of this checkpoint, with arrays changed by the caller."""
    opening = Opening(folder, None)
    work = Repacking(opening.checkpoint, opening.ops, "test-1")
    path = prepared_path(cache, folder, "test-1")
    cache.mkdir()
    arrays = {}
    for name, tiles in work.in_memory(lambda phase, share: None).items():
        arrays |= {f"{name}.values": tiles.values, f"{name}.scales": tiles.scales}
    change(arrays)
    with prepared_writer(
        path, layout="test-1", source=work.source, model=folder, max_arrays=99
    ) as writer:
        for name, array in arrays.items():
            writer.add(name, array)
    return path


def swap(arrays):
    for kind in ("values", "scales"):
        one, other = f"layers.0.q_weight.{kind}", f"layers.0.k_weight.{kind}"
        arrays[one], arrays[other] = arrays[other], arrays[one]


def cut_an_expert(arrays):
    for kind in ("values", "scales"):
        arrays[f"layers.0.down.{kind}"] = arrays[f"layers.0.down.{kind}"][:-1]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda arrays: arrays.pop("layers.1.down.scales"), "holds other arrays"),
        (lambda arrays: arrays.update(more=np.zeros(1)), "holds other arrays"),
        (swap, "do not make"),
        (cut_an_expert, r"layers\.0\.down has another shape"),
    ],
)
def test_names_and_shapes_of_another_model_are_refused(folder, cache, expected, change, found):
    path = forged(folder, cache, change)
    opening = Opening(folder, None)
    work = Repacking(opening.checkpoint, opening.ops, "test-1")
    with pytest.raises(CheckpointError, match=f"is out of date: .*{found}"):
        work.open(path)
    assert Opening(folder, cache).values() == expected


@pytest.fixture
def closed_folder(tmp_path, cache):
    """A folder that cannot be made: even the superuser finds a file where it should be."""
    cache.write_bytes(b"")
    return cache


def test_a_folder_that_cannot_be_written_is_said_once_and_memory_serves(
    folder, closed_folder, expected
):
    opening = Opening(folder, closed_folder)
    assert opening.values() == expected
    (notice,) = opening.notices
    assert "cannot be written" in notice
    assert "--prepared-folder" in notice


def test_what_is_sound_is_opened_without_writing_anything(folder, cache, monkeypatch):
    def refused(path, on_wait):
        raise PermissionError(13, "Permission denied")

    Opening(folder, cache)
    monkeypatch.setattr(loading, "exclusive_writer", refused)
    assert Opening(folder, cache).notices == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_still_serves_what_is_in_it(folder, cache):
    Opening(folder, cache)
    cache.chmod(0o500)
    assert Opening(folder, cache).notices == []


def test_a_disk_that_is_too_small_is_refused_with_what_to_do(folder, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(CheckpointError, match=r"0\.0 GB free, but .* --no-prepare"):
        Opening(folder, cache)
    assert prepared_files(cache) == []


@pytest.mark.parametrize("has_file", [True, False])
def test_a_weight_that_is_none_is_refused_while_preparing(tmp_path, cache, has_file):
    tensors = dict(random_tensors(CONFIG, 2))
    scales, weight = tensors["layers.1.down_scales"].copy(), tensors["layers.0.q_weight"].copy()
    scales[0, 3, 1], weight[5, 7] = 255, np.nan
    for name, array, found in (
        ("layers.1.down_scales", scales, r"scale byte 255 .* at \[0, 3, 1\]"),
        ("layers.0.q_weight", weight, r"holds nan at \[5, 7\]"),
    ):
        folder = tmp_path / name
        write_checkpoint(folder, CONFIG, {**tensors, name: array}, "hugging-face")
        with pytest.raises(CheckpointError, match=found):
            Opening(folder, cache if has_file else None)
        assert prepared_files(cache) == []


def test_a_weight_too_large_for_the_backend_is_refused_by_name(tmp_path):
    tensors = dict(random_tensors(CONFIG, 2))
    weight = tensors["layers.0.q_weight"]
    tensors["layers.0.q_weight"] = (weight.astype(np.float32) * 1e30).astype(weight.dtype)
    write_checkpoint(tmp_path / "m", CONFIG, tensors, "hugging-face")
    with pytest.raises(CheckpointError, match=r"q_proj\.weight cannot be repacked: .* beyond 8e6"):
        Opening(tmp_path / "m", None)


OPEN_ONE = """
import sys
from pathlib import Path
from ossia.model import loading
from tests.model.test_loading import Opening
loading.SMALLEST_FILE = 0
sys.stdin.readline()
opening = Opening(Path(sys.argv[1]), Path(sys.argv[2]))
print(opening.has_written, opening.notices, len(opening.values()))
"""


@pytest.mark.slow
def test_two_processes_at_once_write_once(folder, cache):
    command = [sys.executable, "-c", OPEN_ONE, str(folder), str(cache)]
    pipe = subprocess.PIPE
    where = {"stdin": pipe, "stdout": pipe, "text": True, "cwd": Path(__file__).parents[2]}
    both = [subprocess.Popen(command, **where) for _ in range(2)]
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    outputs = sorted(each.communicate()[0] for each in both)
    assert outputs == ["False [] 12\n", "True [] 12\n"]
    assert len(prepared_files(cache)) == 1
