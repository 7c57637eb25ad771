"""Memory of mapped tables is given back, and nobody notices but the system."""

import mmap

import numpy as np
import pytest

from ossia.ops.cpu import CpuOps
from ossia.ops.cpu.storage import MappedRows

MAX_RESIDENT = 100


@pytest.fixture
def mapped(tmp_path, make):
    """A bfloat16 table that begins in the midst of a page of a mapped file."""
    table = make.weight(3000, 64)
    path = tmp_path / "table"
    path.write_bytes(b"\0" * 1000 + table.tobytes())
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = np.frombuffer(whole, np.uint8, offset=1000).view(table.dtype).reshape(table.shape)
    return table, view


def resident_pages(path_part):
    """Kilobytes of the mapping that are resident, from the kernel's own account."""
    kilobytes, inside = 0, False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            if "-" in line.split(" ")[0] and ":" not in line.split(" ")[0]:
                inside = line.rstrip().endswith(path_part)
            elif inside and line.startswith("Rss:"):
                kilobytes += int(line.split()[1])
    return kilobytes


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system has no such call")
def test_pages_are_given_back_after_so_many_rows(mapped):
    _, view = mapped
    rows = MappedRows(view, MAX_RESIDENT)
    assert float(view.astype(np.float32).sum()) == pytest.approx(
        float(mapped[0].astype(np.float32).sum())
    )
    before = resident_pages("/table")
    rows.count_read(MAX_RESIDENT - 1)
    assert resident_pages("/table") == before > 300
    rows.count_read(1)
    assert resident_pages("/table") <= 8  # the pages at both ends belong to others, too
    np.testing.assert_array_equal(view, mapped[0])


def test_a_table_in_memory_is_left_alone(make):
    table = make.weight(300, 64)
    copy = table.copy()
    MappedRows(table, MAX_RESIDENT).count_read(10 * MAX_RESIDENT)
    MappedRows(table[3:9], MAX_RESIDENT).count_read(10 * MAX_RESIDENT)
    np.testing.assert_array_equal(table, copy)


def test_a_mapping_that_may_be_written_is_left_alone():
    memory = mmap.mmap(-1, 1 << 16)
    table = np.frombuffer(memory, np.float32).reshape(-1, 64)
    table[:] = 7
    MappedRows(table, MAX_RESIDENT).count_read(10 * MAX_RESIDENT)
    assert (table == 7).all()


def test_embedding_and_head_read_on(mapped):
    table, view = mapped
    ops = CpuOps(1, weights="int8")
    ids = np.arange(3000, dtype=np.int32)
    handle = ops.prepare_embed(view)
    for _ in range(3):
        np.testing.assert_array_equal(ops.embed(ids, handle), table.astype(np.float32))
    head = ops.prepare_unembed(np.ones(64, np.float32), view, 1e-5)
    hidden = np.ones((1, 64), np.float32)
    first = ops.unembed_ids(hidden, 0, ids, head)
    for _ in range(3):
        np.testing.assert_array_equal(ops.unembed_ids(hidden, 0, ids, head), first)
