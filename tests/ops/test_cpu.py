"""What only the C++ backend promises: its options, its threads, and weights read in place."""

import multiprocessing
import os
import threading

import ml_dtypes
import numpy as np
import pytest

from ossia.errors import UnsupportedDevice
from ossia.ops.api import AttentionMetadata
from ossia.ops.cpu import CpuOps, isas, usable_cores
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.select import OpsOptions, select_ops


def test_the_fastest_instruction_set_is_chosen_first():
    assert CpuOps(1).machine.isa == isas()[0]
    assert isas()[-1] == "plain"


def test_a_slower_one_can_be_forced():
    ops = select_ops("cpu", OpsOptions(isa="plain", threads=3))
    assert (ops.machine.isa, ops.machine.threads) == ("plain", 3)


def test_all_cores_that_are_ours_work():
    assert CpuOps().machine.threads == usable_cores() == len(os.sched_getaffinity(0))


def test_refuses_an_instruction_set_this_cpu_lacks():
    with pytest.raises(UnsupportedDevice, match=f"for 'altivec' here; choose {isas()[0]}"):
        CpuOps(isa="altivec")


def test_refuses_an_unknown_type_of_keys():
    with pytest.raises(ValueError, match="kv_dtype is 'int3'; expected one of float32, bfloat16"):
        CpuOps(kv_dtype="int3")


@pytest.mark.parametrize("threads", [0, -1])
def test_refuses_to_work_with_no_threads(threads):
    with pytest.raises(ValueError, match="expected at least 1"):
        CpuOps(threads)


def reads_in_place(make_score, path, array):
    """Whether a change of the file, after the weights were prepared, is seen by the kernel."""
    array.tofile(path)
    mapped = np.memmap(path, array.dtype, "r+", shape=array.shape)
    score = make_score(mapped)
    before = score()
    mapped[:] = 0
    return bool(before.any()) and not score().any()


def test_bfloat16_is_read_from_the_mapped_file(make, tmp_path):
    ops, hidden_TD = CpuOps(1), make.normal(1, 64)

    def make_score(bits):
        head = ops.prepare_unembed(np.ones(64, np.float32), bits.view(ml_dtypes.bfloat16), 1e-5)
        return lambda: ops.unembed(hidden_TD, np.zeros(1, np.int32), head)

    assert reads_in_place(make_score, tmp_path / "head", make.weight(8, 64).view(np.uint16))


def test_packed_experts_are_read_from_the_mapped_file(make, tmp_path):
    ops, weights = CpuOps(1), make.experts(2, 64, 32)
    weights = weights._replace(down_bias_ND=np.zeros((2, 64), np.float32))
    routing = (make.normal(1, 64), np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32))

    def make_score(blocks):
        down = Mxfp4(blocks, weights.down_NDF.scales)
        experts = ops.prepare_experts(weights._replace(down_NDF=down))
        return lambda: ops.moe(np.zeros((1, 64), np.float32), routing, experts)

    assert reads_in_place(make_score, tmp_path / "down", weights.down_NDF.blocks)


def test_rows_that_lie_at_odd_addresses_are_copied(make):
    head_VD = make.weight(8, 64)
    shifted = np.frombuffer(b"\0" + head_VD.tobytes(), np.uint8)[1:].view(np.uint16)
    assert not shifted.flags.aligned
    ops, hidden_TD, row_R = CpuOps(1), make.normal(1, 64), np.zeros(1, np.int32)
    norm_D = np.ones(64, np.float32)
    ours, law = (
        ops.unembed(hidden_TD, row_R, ops.prepare_unembed(norm_D, head, 1e-5))
        for head in (shifted.reshape(8, 64).view(ml_dtypes.bfloat16), head_VD)
    )
    np.testing.assert_array_equal(ours, law)


def test_threads_of_python_take_turns(make):
    ops, head_VD = CpuOps(2, alone_below=0), make.weight(64, 256)
    head = ops.prepare_unembed(np.ones(256, np.float32), head_VD, 1e-5)
    hidden_TD, row_R = make.normal(5, 256), np.arange(5, dtype=np.int32)
    law = ops.unembed(hidden_TD, row_R, head)
    wrong = []

    def many():
        for _ in range(100):
            if not np.array_equal(ops.unembed(hidden_TD, row_R, head), law):
                wrong.append(1)

    workers = [threading.Thread(target=many) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def ask(ops, answers):
    try:
        ops.embed(np.zeros(1, np.int32), ops.prepare_embed(np.ones((1, 32), np.float32)))
    except RuntimeError as error:
        answers.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork; this system has none")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_the_child_is_told_rather_than_left_waiting():
    fork = multiprocessing.get_context("fork")
    ops, answers = CpuOps(2), fork.Queue()
    child = fork.Process(target=ask, args=(ops, answers))
    child.start()
    assert "stayed behind in a fork" in answers.get(timeout=30)
    child.join(30)
    assert child.exitcode == 0


def test_refuses_a_page_that_is_not_there(make):
    attention = make.attention(3, (1, 1, 16), 128)
    ops = CpuOps(1)
    one = np.zeros(1, np.int32)
    metadata = AttentionMetadata(
        first_Q=one, count_Q=one + 3, past_Q=one, page_QP=np.array([[2]], np.int32), window=128
    )
    pages = ops.new_pages(2, 64, 1, 16)
    with pytest.raises(ValueError, match="no such page"):
        ops.attend(*attention.activations, metadata, pages, ops.prepare_sinks(attention.sink_H, 1))


def test_refuses_an_expert_that_is_not_there(make):
    ops = CpuOps(1)
    routing = (make.normal(1, 64), np.array([[2]], np.int32), np.ones((1, 1), np.float32))
    with pytest.raises(ValueError, match="no such expert"):
        ops.moe(make.normal(1, 64), routing, ops.prepare_experts(make.experts(2, 64, 32)))


def test_refuses_a_row_that_is_not_there(make):
    ops = CpuOps(1)
    head = ops.prepare_unembed(np.ones(64, np.float32), make.weight(4, 64), 1e-5)
    with pytest.raises(ValueError, match="no such row"):
        ops.unembed(make.normal(2, 64), np.array([2], np.int32), head)
