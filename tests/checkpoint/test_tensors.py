"""No NaN, no infinity, no scale byte of 255, wherever it hides."""

import ml_dtypes
import numpy as np
import pytest

from ossia.checkpoint import check_finite, check_scales
from ossia.checkpoint import tensors as tensors_file
from ossia.errors import CheckpointError

FLOATS = [ml_dtypes.bfloat16, np.float16, np.float32]


@pytest.mark.parametrize("dtype", FLOATS)
def test_finite_values_pass_up_to_the_largest(dtype):
    largest = ml_dtypes.finfo(dtype).max
    check_finite(np.array([[0, -0.0, largest], [-largest, 1, -1]], dtype), where="x")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 7, 9])
def test_names_the_first_value_that_is_not_finite(dtype, bad, row, monkeypatch):
    monkeypatch.setattr(tensors_file, "_CHUNK_BYTES", 20)  # several chunks
    array = np.zeros((10, 3), dtype)
    array[row, 2] = array[9, 2] = bad
    with pytest.raises(CheckpointError, match=rf"^x holds {bad} at \[{row}, 2\]"):
        check_finite(array, where="x")


def test_looks_through_transposed_views():
    array = np.zeros((2, 3, 5), ml_dtypes.bfloat16)
    array[1, 2, 4] = np.nan
    with pytest.raises(CheckpointError, match=r"nan at \[1, 4, 2\]"):
        check_finite(array.swapaxes(-1, -2), where="x")


def test_scales_up_to_254_pass():
    check_scales(np.arange(255, dtype=np.uint8).reshape(3, 5, 17), where="x")


def test_names_the_first_scale_of_255(monkeypatch):
    monkeypatch.setattr(tensors_file, "_CHUNK_BYTES", 20)
    scales = np.zeros((6, 2, 3), np.uint8)
    scales[4, 1, 2] = scales[5] = 255
    with pytest.raises(CheckpointError, match=r"^x holds the scale byte 255 .* at \[4, 1, 2\]"):
        check_scales(scales, where="x")
