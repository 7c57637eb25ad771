import numpy as np
import pytest


@pytest.fixture(params=["float32", "float16", "bfloat16"])
def table_VD(request, make):
    dtype = make.weight(1, 1).dtype if request.param == "bfloat16" else request.param
    return make.normal(37, 96).astype(dtype)


@pytest.mark.parametrize("ids", [[], [36], [0, 5, 5, 36, 1]])
def test_is_the_row_widened_exactly(backend, run, table_VD, ids):
    id_T = np.array(ids, np.int32)
    hidden_TD = run(backend, "embed", id_T, backend.prepare_embed(table_VD))
    assert hidden_TD.dtype == np.float32
    assert hidden_TD.shape == (len(ids), 96)
    np.testing.assert_array_equal(hidden_TD, table_VD[id_T].astype(np.float32))


def test_has_memory_of_its_own(backend, make):
    table = backend.prepare_embed(make.normal(4, 32))
    id_T = np.array([2], np.int32)
    before = backend.to_numpy(backend.embed(id_T, table)).copy()
    backend.to_numpy(backend.embed(id_T, table))[:] = 0
    np.testing.assert_array_equal(backend.to_numpy(backend.embed(id_T, table)), before)


@pytest.mark.parametrize("ids", [[-1], [0, 37]])
def test_refuses_an_id_without_a_row(backend, make, ids):
    table = backend.prepare_embed(make.normal(37, 32))
    with pytest.raises(ValueError, match="the table has 37 rows"):
        backend.embed(np.array(ids, np.int32), table)
