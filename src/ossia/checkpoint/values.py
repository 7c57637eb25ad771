"""Looks at every value of a tensor for what no weight may be: NaN, infinity, a scale of 255.

It does not know files; whoever calls says where the values come from.
"""

from collections.abc import Iterator

import ml_dtypes
import numpy as np

from ossia.checkpoint.safetensors import Array
from ossia.errors import CheckpointError

SCALE_NAN = 255
"""The scale byte that is not a number in the OCP MX format; gpt-oss never uses it."""
_CHUNK_BYTES = 2**24


def check_finite(values: Array, *, where: str) -> None:
    """Refuse NaN and infinity.

    Args:
        values: bfloat16, float16, float32 or float64, of any shape and strides; read in chunks.
        where: file and tensor, for the message.

    Raises:
        CheckpointError: a value is not finite; the message names the first.
    """
    for start, chunk in _chunks(values):
        if chunk.dtype == ml_dtypes.bfloat16:  # on the bits: ten times as fast
            bad = (chunk.view(np.uint16) & 0x7F80) == 0x7F80
        else:
            bad = ~np.isfinite(chunk)
        if bad.any():
            index = np.argwhere(bad)[0]
            index[0] += start
            raise CheckpointError(
                f"{where} holds {float(values[tuple(index)])} at {index.tolist()}; every weight "
                "must be finite: fetch the file again, or repair the fine-tune that wrote it"
            )


def check_scales(scales_NOB: Array, *, where: str) -> None:
    """Refuse MXFP4 scale bytes that are not a number.

    Args:
        scales_NOB: uint8, one for each block of 32 values; read in chunks.
        where: file and tensor, for the message.

    Raises:
        CheckpointError: a scale byte is 255.
    """
    for start, chunk in _chunks(scales_NOB):
        if chunk.max() == SCALE_NAN:
            index = np.argwhere(chunk == SCALE_NAN)[0]
            index[0] += start
            raise CheckpointError(
                f"{where} holds the scale byte {SCALE_NAN} (not a number) at {index.tolist()}; "
                "0 to 254 have a meaning: fetch the file again"
            )


def _chunks(values: Array) -> Iterator[tuple[int, Array]]:
    """The array in runs of its first axis, with the index at which each begins."""
    step = max(1, _CHUNK_BYTES * len(values) // values.nbytes)
    for start in range(0, len(values), step):
        yield start, values[start : start + step]
