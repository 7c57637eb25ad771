"""One file: what is read is what was written, and nothing but a whole safetensors file is read."""

import errno
import json
import mmap

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_safetensors import fuzz
from ossia.checkpoint.safetensors import (
    DTYPES,
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    PlannedTensor,
    SafetensorsFile,
    write_safetensors,
)
from ossia.errors import CheckpointError

ARRAYS = {
    "wide": np.arange(15, dtype=np.float32).reshape(3, 5),
    "odd": np.arange(7, dtype=np.uint8),
    "half": np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 1, 3),
    "scalar": np.array(3, np.int64),
}
NAME_OF = {dtype: name for name, dtype in DTYPES.items()}


def planned(arrays):
    return [
        PlannedTensor(name, NAME_OF[array.dtype], array.shape, lambda array=array: iter([array]))
        for name, array in arrays.items()
    ]


def file_bytes(entries, data=b"", *, header=None):
    header = json.dumps(entries).encode() if header is None else header
    return len(header).to_bytes(8, "little") + header + data


def entry(dtype="U8", shape=(4,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.fixture
def opened(tmp_path):
    def write_and_open(content):
        path = tmp_path / "some.safetensors"
        path.write_bytes(content)
        return SafetensorsFile(path)

    return write_and_open


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and bool((left == right).all())


def test_reads_back_what_it_wrote(tmp_path):
    write_safetensors(tmp_path / "a", planned(ARRAYS))
    file = SafetensorsFile(tmp_path / "a")
    assert file.entries.keys() == ARRAYS.keys()
    assert all(same(file.view(name), array) for name, array in ARRAYS.items())


def test_the_formats_own_library_reads_what_we_write(tmp_path):
    write_safetensors(tmp_path / "a", planned(ARRAYS), {"format": "pt"})
    judged = safetensors.numpy.load_file(tmp_path / "a")
    assert judged.keys() == ARRAYS.keys()
    assert all(same(judged[name], array) for name, array in ARRAYS.items())
    with safetensors.safe_open(tmp_path / "a", "numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_reads_what_the_formats_own_library_writes(tmp_path):
    safetensors.numpy.save_file(ARRAYS, tmp_path / "a", {"format": "pt"})
    file = SafetensorsFile(tmp_path / "a")
    assert file.entries.keys() == ARRAYS.keys()
    assert all(same(file.view(name), array) for name, array in ARRAYS.items())


def test_writes_the_very_bytes_of_the_formats_own_library(tmp_path):
    safetensors.numpy.save_file(ARRAYS, tmp_path / "theirs")
    write_safetensors(tmp_path / "ours", planned(ARRAYS))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_the_width_the_format_gives_it(dtype, opened):
    bits = int("".join(filter(str.isdigit, dtype.split("_")[0])) or 8)
    size = 2 * bits // 8
    file = opened(file_bytes({"a": entry(dtype, (2,), (0, size))}, bytes(size)))
    assert same(file.view("a"), np.zeros(2, DTYPES[dtype]))


def test_views_are_read_only_and_lie_in_the_mapped_file(tmp_path):
    write_safetensors(tmp_path / "a", planned(ARRAYS))
    file = SafetensorsFile(tmp_path / "a")
    view = file.view("wide")
    assert not view.flags.writeable
    assert np.shares_memory(view, file.view("wide"))
    assert file.tensor_bytes == sum(array.nbytes for array in ARRAYS.values())


def test_a_tensor_between_item_boundaries_is_copied_to_one(opened):
    entries = {"a": entry("U8", (1,), (0, 1)), "b": entry("F32", (2,), (1, 9))}
    file = opened(file_bytes(entries, b"\0" + np.array([1.5, -2], np.float32).tobytes()))
    view = file.view("b")
    assert view.flags.aligned
    assert not view.flags.writeable
    assert view.tolist() == [1.5, -2]


def test_entries_come_in_the_order_of_their_bytes(opened):
    entries = {"late": entry(offsets=(4, 8)), "early": entry(offsets=(0, 4))}
    assert list(opened(file_bytes(entries, bytes(8))).entries) == ["early", "late"]


def test_released_pages_can_be_read_again(opened):
    data = np.random.default_rng(0).integers(0, 256, 5 * mmap.PAGESIZE, np.uint8)
    entries = {
        "large": entry(shape=(data.size,), offsets=(0, data.size)),
        "small": entry(offsets=(data.size, data.size + 4)),
    }
    file = opened(file_bytes(entries, data.tobytes() + b"abcd"))
    for name in entries:
        file.release(name)
    assert same(file.view("large"), data)
    assert file.view("small").tobytes() == b"abcd"


def test_a_file_cut_while_open_is_an_error_and_not_the_end_of_the_program(tmp_path):
    path = tmp_path / "a"
    large = np.zeros(10 * mmap.PAGESIZE, np.uint8)
    write_safetensors(path, planned({"a": large}))
    file = SafetensorsFile(path)
    with open(path, "r+b") as writable:
        writable.truncate(2 * mmap.PAGESIZE)
    with pytest.raises(CheckpointError, match="cut it short"):
        file.view("a")


def test_a_file_that_cannot_be_mapped_is_an_error(opened, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(CheckpointError, match="cannot be mapped"):
        opened(file_bytes({"a": entry()}, bytes(4)))


HEADERS = {
    "empty file": b"",
    "seven bytes": b"\2\0\0\0\0\0\0",
    "length 0": file_bytes({}, b"", header=b""),
    "length of the file": (10).to_bytes(8, "little") + b"{}",
    "length 2^63": (2**63).to_bytes(8, "little") + b"{}",
    "length above the limit": (101 * 2**20).to_bytes(8, "little") + b"{}",
    "one byte short": file_bytes({"a": entry()})[:-1],
    "not JSON": file_bytes({}, header=b"{nope}"),
    "not an object": file_bytes({}, header=b"[1, 2]"),
    "a space first": file_bytes({}, bytes(4), header=b" " + json.dumps({"a": entry()}).encode()),
    "bad UTF-8": file_bytes({}, header=b'{"\xff": 1}'),
    "deep nesting": file_bytes({}, header=b'{"a":' * 5000),
    "deep but closed": file_bytes({}, header=b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"),
    "number of 5,000 digits": file_bytes({}, header=b'{"a":' + b"9" * 5000 + b"}"),
    "NaN": file_bytes({}, header=b'{"a": NaN}'),
    "no tensors": file_bytes({}),
    "only metadata": file_bytes({"__metadata__": {"format": "pt"}}),
    "metadata of numbers": file_bytes({"__metadata__": {"a": 1}, "a": entry()}, bytes(4)),
    "metadata in a list": file_bytes({"__metadata__": [], "a": entry()}, bytes(4)),
}
LINES = {
    "not a table": 7,
    "no dtype": {"shape": [4], "data_offsets": [0, 4]},
    "one key more": entry() | {"more": 1},
    "unknown dtype": entry("U7"),
    "dtype in a list": entry(["U8"]),
    "shape not a list": entry() | {"shape": 4},
    "negative extent": entry(shape=[-4]),
    "two negative extents": entry(shape=[-2, -2]),
    "extent 0": entry(shape=[0], offsets=[0, 0]),
    "extent 2^31": entry(shape=[2**31], offsets=[0, 2**31]),
    "extent 2^32": entry(shape=[2**32], offsets=[0, 4]),
    "product 2^64 and 4": entry(shape=[2**30, 2**30, 16, 4]),
    "float extent": entry(shape=[4.0]),
    "boolean extent": entry(shape=[True, 4]),
    "nine axes": entry(shape=[1] * 8 + [4]),
    "one offset": entry(offsets=[0]),
    "three offsets": entry(offsets=[0, 2, 4]),
    "negative offset": entry(offsets=[-4, 0]),
    "begin behind end": entry(offsets=[4, 0]),
    "float offset": entry(offsets=[0, 4.0]),
    "offsets wider than the shape": entry(offsets=[0, 5]),
    "offsets past the end": entry(offsets=[4, 8]),
    "a gap at the start": entry(shape=[3], offsets=[1, 4]),
    "a tail": entry(shape=[3], offsets=[0, 3]),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_refuses_a_header_with(content, opened):
    with pytest.raises(CheckpointError, match=r"some\.safetensors"):
        opened(content)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_refuses_a_tensor_described_with(line, opened):
    with pytest.raises(CheckpointError, match=r"some\.safetensors"):
        opened(file_bytes({"a": line}, bytes(4)))


@pytest.mark.parametrize("extent", [3, 5])
def test_refuses_a_shape_that_does_not_fill_its_bytes(extent, opened):
    with pytest.raises(CheckpointError, match=rf"shape \[{extent}\] needs {extent} bytes"):
        opened(file_bytes({"a": entry(shape=[extent])}, bytes(4)))


@pytest.mark.parametrize("offsets", [(3, 7), (5, 9)], ids=["overlap", "gap"])
def test_refuses_tensors_that_do_not_meet(offsets, opened):
    entries = {"a": entry(), "b": entry(offsets=offsets)}
    with pytest.raises(CheckpointError, match="no gap and no overlap"):
        opened(file_bytes(entries, bytes(offsets[1])))


def test_refuses_a_name_that_stands_twice(opened):
    line = json.dumps(entry())
    header = f'{{"a": {line}, "b": {line}, "a": {line}}}'.encode()
    with pytest.raises(CheckpointError, match="the key 'a' stands twice"):
        opened(file_bytes({}, bytes(4), header=header))


def test_refuses_a_hundred_thousand_tensors(opened):
    entries = {f"t{i}": entry(shape=(1,), offsets=(i, i + 1)) for i in range(100_000)}
    with pytest.raises(CheckpointError, match=f"not 1 to {MAX_TENSORS}"):
        opened(file_bytes(entries, bytes(100_000)))


def test_a_header_of_all_tensors_allowed_fits_its_limit():
    longest = "model.layers.1023.mlp.experts.gate_up_proj_blocks"
    line = json.dumps({longest: entry("BF16", (4096, 131_072, 2048, 16), (2**41, 2**42))})
    assert MAX_TENSORS * len(line) < MAX_HEADER_BYTES


def test_names_out_of_a_file_cannot_paint_the_terminal(opened):
    with pytest.raises(CheckpointError) as caught:
        opened(file_bytes({"\x1b[2J\n" * 50: entry("U7")}, bytes(4)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_refuses_to_write_a_name_twice(tmp_path):
    with pytest.raises(ValueError, match="twice"):
        write_safetensors(tmp_path / "a", planned(ARRAYS) * 2)


@pytest.mark.parametrize("array", [np.zeros(3, np.uint8), np.zeros(4, np.int8)])
def test_refuses_to_write_pieces_unlike_the_plan_and_leaves_nothing(array, tmp_path):
    plan = PlannedTensor("a", "U8", (4,), lambda: iter([array]))
    with pytest.raises(ValueError, match="planned"):
        write_safetensors(tmp_path / "a", [plan])
    assert list(tmp_path.iterdir()) == []


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "cut"]), st.integers(0), st.binary()),
    min_size=1,
    max_size=4,
)


def mutated(content, mutations):
    for kind, number, new in mutations:
        at = number % (len(content) + 1)
        end = {"set": at + len(new), "insert": at, "delete": at + 1, "cut": len(content)}[kind]
        content = content[:at] + (new if kind in ("set", "insert") else b"") + content[end:]
    return content


def read_or_refuse(opened, content):
    try:
        file = opened(content)
    except CheckpointError:
        return
    assert sum(file.view(name).nbytes for name in file.entries) == file.tensor_bytes


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mutations=MUTATIONS)
def test_a_mutated_file_is_read_whole_or_refused(opened, mutations):
    entries = {"a": entry("BF16", (2, 3), (0, 12)), "b": entry(offsets=(12, 16))}
    read_or_refuse(opened, mutated(file_bytes(entries, bytes(16)), mutations))


WILD = st.one_of(st.none(), st.booleans(), st.floats(), st.text(), st.integers(-5, 20))
NUMBERS = st.one_of(st.lists(st.integers(-1, 17), max_size=4), st.lists(WILD, max_size=3), WILD)
ENTRIES = st.fixed_dictionaries(
    {"dtype": st.one_of(st.sampled_from(list(DTYPES)), WILD), "shape": NUMBERS},
    optional={"data_offsets": NUMBERS, "more": WILD},
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(entries=st.dictionaries(st.text(max_size=8), st.one_of(ENTRIES, WILD), max_size=4))
def test_an_invented_header_is_read_whole_or_refused(opened, entries):
    read_or_refuse(opened, file_bytes(entries, bytes(16)))


def test_the_fuzz_command_finds_nothing_in_its_first_files(tmp_path):
    report = fuzz(2000, 0, tmp_path)
    assert report["accepted"] > 100  # else it would try only one kind of error
    assert report["refused"] > 100
