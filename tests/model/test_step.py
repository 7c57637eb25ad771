import numpy as np

from ossia.model.step import Slice, Step


def test_slices_stand_end_to_end():
    step = Step.of(
        [
            Slice(ids=[5, 6, 7], past=2, pages=[9, 4], ring=[0, 1]),
            Slice(ids=[8], past=64, pages=[3], ring=[2, 3]),
        ],
        [2, 3],
        window=16,
    )
    assert step.id_T.tolist() == [5, 6, 7, 8]
    assert step.position_T.tolist() == [2, 3, 4, 64]
    assert step.row_R.tolist() == [2, 3]
    assert step.full.first_Q.tolist() == [0, 3]
    assert step.full.count_Q.tolist() == [3, 1]
    assert step.full.past_Q.tolist() == [2, 64]
    assert step.full.page_QP.tolist() == [[9, 4], [3, 0]]
    assert step.windowed.page_QP.tolist() == [[0, 1], [2, 3]]
    assert (step.full.window, step.windowed.window) == (65, 16)
    assert {step.id_T.dtype, step.position_T.dtype, step.row_R.dtype} == {np.dtype(np.int32)}


def test_a_step_alone_wants_every_row():
    step = Step.alone([[1, 2], [3]], window=4)
    assert step.row_R.tolist() == [0, 1, 2]
    assert step.position_T.tolist() == [0, 1, 0]


def test_a_step_may_be_empty():
    step = Step.of([], [], window=4)
    assert len(step.id_T) == len(step.row_R) == len(step.position_T) == 0
