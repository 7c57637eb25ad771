"""Prepared weights: whole and of this very checkpoint, or not there at all."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from ossia.checkpoint import open_checkpoint
from ossia.checkpoint.files import drop_cached, prefetch
from ossia.checkpoint.prepared import (
    ALIGNMENT,
    PAGE,
    PreparedFile,
    check_space,
    exclusive_writer,
    prepared_files,
    prepared_path,
    prepared_writer,
    remove_prepared,
    source_digest,
)
from ossia.checkpoint.safetensors import SafetensorsFile
from ossia.errors import CheckpointError

ARRAYS = {
    "a.values": np.arange(5 * PAGE, dtype=np.uint8).reshape(5, -1),
    "a.scales": np.arange(3, dtype=np.float16),
    "b": np.arange(-100, 100, dtype=np.int8),
    "c": np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3),
}


def write(path, arrays=ARRAYS, *, layout="order-1", source="s"):
    with prepared_writer(
        path, layout=layout, source=source, model=path.parent, max_arrays=len(arrays)
    ) as writer:
        for name, array in arrays.items():
            writer.add(name, array)


def reopen(path, *, layout="order-1", source="s"):
    return PreparedFile(path, layout=layout, source=source)


def damage(path, place):
    """Change one bit of the file; a negative place counts from its end."""
    with open(path, "r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.prepared"


@pytest.fixture
def header_bytes(path):
    write(path)
    return int.from_bytes(path.read_bytes()[:8], "little")


def test_what_was_written_is_mapped_again(path):
    write(path)
    file = reopen(path)
    assert file.names == tuple(ARRAYS)
    assert file.num_bytes >= sum(array.nbytes for array in ARRAYS.values())
    for name, array in ARRAYS.items():
        view = file.view(name)
        assert view.dtype == array.dtype
        assert view.shape == array.shape
        assert (view == array).all()
        assert not view.flags.writeable
    assert os.listdir(path.parent) == [path.name]


@given(
    st.lists(
        arrays_of.arrays(
            st.sampled_from([np.uint8, np.int8, np.float16]),
            arrays_of.array_shapes(max_dims=3, max_side=40),
            elements=st.integers(0, 100),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_arrays_come_back_whole_and_in_place(path, arrays):
    named = {f"n{place}": array for place, array in enumerate(arrays)}
    write(path, named)
    file = reopen(path)
    file.verify()
    for name, array in named.items():
        view = file.view(name)
        assert view.tobytes() == array.tobytes()
        assert view.ctypes.data % ALIGNMENT == 0


def test_the_first_array_begins_on_a_page(header_bytes):
    assert (8 + header_bytes) % PAGE == 0


def test_any_reader_of_safetensors_can_look_into_it(path):
    from safetensors.numpy import load_file

    write(path)
    assert (load_file(path)["b"] == ARRAYS["b"]).all()


@pytest.mark.parametrize(("first", "second"), [("x", "x"), ("gap.x", "y")])
def test_a_name_stands_once_and_is_no_gap(path, first, second):
    with pytest.raises(ValueError, match="stands twice"):
        write_pairs(path, [(first, ARRAYS["b"]), (second, ARRAYS["b"])])
    assert os.listdir(path.parent) == []


def write_pairs(path, pairs):
    with prepared_writer(
        path, layout="order-1", source="s", model=path.parent, max_arrays=len(pairs)
    ) as writer:
        for name, array in pairs:
            writer.add(name, array)


def test_a_type_that_the_format_lacks_is_refused(path):
    with pytest.raises(ValueError, match="x is complex64"):
        write(path, {"x": np.zeros(2, np.complex64)})


@pytest.mark.parametrize(
    ("other", "found"),
    [({"layout": "order-2"}, "its layout is 'order-1'"), ({"source": "t"}, "its source is 's'")],
)
def test_another_layout_or_source_is_out_of_date(path, other, found):
    write(path)
    with pytest.raises(CheckpointError, match=found):
        reopen(path, **other)


@pytest.mark.parametrize(
    ("key", "value"), [("version", "0"), ("kind", "pictures"), ("checksums", "{}")]
)
def test_a_header_that_says_something_else_is_refused(path, header_bytes, key, value):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + header_bytes])
    header["__metadata__"][key] = value
    new = json.dumps(header).encode().ljust(header_bytes)
    path.write_bytes(content[:8] + new + content[8 + header_bytes :])
    with pytest.raises(CheckpointError, match=f"its {key}"):
        reopen(path)


@pytest.mark.parametrize("checksums", ["", '{"a.values":3}', "[]"])
def test_checksums_that_are_none_are_refused(path, header_bytes, checksums):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + header_bytes])
    header["__metadata__"]["checksums"] = checksums
    new = json.dumps(header).encode().ljust(header_bytes)
    path.write_bytes(content[:8] + new + content[8 + header_bytes :])
    with pytest.raises(CheckpointError, match="checksums"):
        reopen(path)


@pytest.mark.parametrize("place", [0, PAGE - 1, 2 * PAGE + PAGE // 2, 4 * PAGE, 5 * PAGE - 1])
def test_a_damaged_byte_in_a_sampled_page_is_noticed_at_once(path, header_bytes, place):
    damage(path, 8 + header_bytes + place)
    with pytest.raises(CheckpointError, match=r"is damaged: 'a\.values' has the checksum"):
        reopen(path)


def test_a_damaged_byte_anywhere_is_noticed_by_verifying(path, header_bytes):
    damage(path, 8 + header_bytes + PAGE + 17)
    file = reopen(path)
    with pytest.raises(CheckpointError, match=r"is damaged: 'a\.values' has the checksum"):
        file.verify()


@given(st.integers(0, 2**30))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damaged_bit_passes_for_sound(path, place):
    """Spaces that fill up the header apart: a bit there makes it no JSON, or changes nothing."""
    write(path)
    before = {name: array.tobytes() for name, array in ARRAYS.items()}
    damage(path, place % path.stat().st_size)
    try:
        file = reopen(path)
        file.verify()
    except CheckpointError:
        return
    assert {name: file.view(name).tobytes() for name in file.names} == before


def test_a_file_cut_short_is_noticed(path):
    write(path)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="cut short"):
        reopen(path)


def test_verifying_names_each_array(path):
    write(path)
    seen = []
    reopen(path).verify(seen.append)
    assert seen == list(ARRAYS)


def test_asking_and_forgetting_change_nothing(path, monkeypatch):
    write(path)
    file = reopen(path)
    prefetch(path, [(0, PAGE)])
    drop_cached(path, 0, PAGE)
    monkeypatch.setattr(sys, "platform", "darwin")  # where nobody can be asked
    prefetch(path, [(0, PAGE)])
    drop_cached(path, 0, PAGE)
    assert (file.view("b") == ARRAYS["b"]).all()


def test_names_tell_folders_and_layouts_apart(tmp_path):
    one = prepared_path(tmp_path, tmp_path / "x" / "model", "order-1")
    assert one.name.startswith("model-")
    assert one == prepared_path(tmp_path, tmp_path / "x" / "y" / ".." / "model", "order-1")
    assert one != prepared_path(tmp_path, tmp_path / "y" / "model", "order-1")
    assert one != prepared_path(tmp_path, tmp_path / "x" / "model", "order-2")


def test_a_downloaded_model_is_called_as_people_know_it(tmp_path):
    folder = tmp_path / "models--openai--gpt-oss-20b" / "snapshots" / "6cee5e8"
    assert prepared_path(tmp_path, folder, "o").name.startswith("models--openai--gpt-oss-20b-")


def test_the_same_files_have_the_same_digest(save):
    files = open_checkpoint(save("hugging-face")).files
    assert source_digest(files) == source_digest(files)


def test_a_fine_tune_with_the_same_headers_and_dates_is_another_source(save):
    folder = save("hugging-face")
    (file,) = open_checkpoint(folder).files
    facts, before = file.stat(), source_digest([file])
    place = SafetensorsFile(file).entries["model.layers.1.self_attn.q_proj.weight"]
    damage(file, place.end - SafetensorsFile(file).tensor_bytes - (place.end - place.begin) // 2)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert source_digest([file]) != before


def test_a_touched_file_is_another_source(save):
    (file,) = open_checkpoint(save("hugging-face")).files
    before = source_digest([file])
    os.utime(file, ns=(0, 0))
    assert source_digest([file]) != before


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(path):
    check_space(path, 1)
    with pytest.raises(CheckpointError, match=r"the prepared weights need 1000000000\.0; free"):
        check_space(path, 10**18)


def in_another_process(body):
    code = "import sys\nfrom pathlib import Path\nimport numpy as np\n" + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


HALF_WRITTEN = """
    from ossia.checkpoint.prepared import exclusive_writer, prepared_writer
    path = Path({path!r})
    with exclusive_writer(path, lambda: None), prepared_writer(
        path, layout="order-1", source="s", model=path, max_arrays=2
    ) as writer:
        writer.add("a", np.zeros(10**6, np.uint8))
        print("half", flush=True)
        sys.stdin.read()
        writer.add("b", np.zeros(10**6, np.uint8))
"""


def test_a_killed_writer_leaves_nothing_visible_and_its_remains_are_removed(path):
    writer = in_another_process(HALF_WRITTEN.format(path=str(path)))
    assert writer.stdout.readline() == "half\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert prepared_files(path.parent) == []
    assert any(name.endswith(".partial") for name in os.listdir(path.parent))
    with exclusive_writer(path, lambda: None):
        write(path)
    reopen(path)
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.lock"]


def test_a_second_writer_waits_for_the_first(path):
    writer = in_another_process(HALF_WRITTEN.format(path=str(path)))
    assert writer.stdout.readline() == "half\n"
    calls = []

    def on_wait():
        assert not path.exists()
        calls.append("waiting")
        writer.stdin.close()

    with exclusive_writer(path, on_wait):
        assert reopen(path).names == ("a", "b")
    assert calls == ["waiting"]
    assert writer.wait() == 0
    writer.stdout.close()


def test_a_disk_that_fills_up_leaves_nothing(path):
    limit = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    from ossia.errors import CheckpointError
    try:
    """
    body = textwrap.dedent(limit) + textwrap.indent(
        textwrap.dedent(HALF_WRITTEN.format(path=str(path))), "    "
    )
    body += '\nexcept CheckpointError as error:\n    print(error, end="")\n'
    writer = in_another_process(body)
    out, _ = writer.communicate("")
    assert "cannot be written: File too large; free space or choose another folder" in out
    assert os.listdir(path.parent) == [f"{path.name}.lock"]


def test_removing_gives_back_the_space_of_one_checkpoint(tmp_path):
    folder, source, other = tmp_path / "kept", tmp_path / "m", tmp_path / "n"
    assert remove_prepared(folder, source) == 0
    for one, layout in ((source, "a"), (source, "b"), (other, "a")):
        path = prepared_path(folder, one, layout)
        with exclusive_writer(path, lambda: None):
            write(path)
    left = folder / f".{prepared_path(folder, source, 'c').name}.0f0f.partial"
    left.write_bytes(bytes(100))
    size = sum(path.stat().st_size for path in prepared_files(folder, source))
    assert remove_prepared(folder, source) == size + 100
    path = prepared_path(folder, other, "a")
    assert sorted(os.listdir(folder)) == [path.name, f"{path.name}.lock"]
    assert prepared_files(folder) == [path]


def test_what_was_evicted_is_read_again(save):
    tensors = open_checkpoint(save("hugging-face")).tensors
    before = tensors["head"].copy()
    tensors.evict("head")
    assert (tensors["head"] == before).all()
