import numpy as np

from ossia.model.forward_batch import ForwardBatch, SequenceSlice


def test_slices_stand_end_to_end():
    batch = ForwardBatch.from_slices(
        [
            SequenceSlice(ids=[5, 6, 7], past=2, pages=[9, 4], window_pages=[0, 1]),
            SequenceSlice(ids=[8], past=64, pages=[3], window_pages=[2, 3]),
        ],
        [2, 3],
        window=16,
    )
    assert batch.id_T.tolist() == [5, 6, 7, 8]
    assert batch.position_T.tolist() == [2, 3, 4, 64]
    assert batch.row_R.tolist() == [2, 3]
    assert batch.full.first_Q.tolist() == [0, 3]
    assert batch.full.count_Q.tolist() == [3, 1]
    assert batch.full.past_Q.tolist() == [2, 64]
    assert batch.full.page_QP.tolist() == [[9, 4], [3, 0]]
    assert batch.windowed.page_QP.tolist() == [[0, 1], [2, 3]]
    assert (batch.full.window, batch.windowed.window) == (65, 16)
    assert {batch.id_T.dtype, batch.position_T.dtype, batch.row_R.dtype} == {np.dtype(np.int32)}


def test_a_step_alone_wants_every_row():
    batch = ForwardBatch.without_cache([[1, 2], [3]], window=4)
    assert batch.row_R.tolist() == [0, 1, 2]
    assert batch.position_T.tolist() == [0, 1, 0]


def test_a_step_may_be_empty():
    batch = ForwardBatch.from_slices([], [], window=4)
    assert len(batch.id_T) == len(batch.row_R) == len(batch.position_T) == 0
