"""MXFP4, the format of the experts' weights: 32 four-bit floats that share a power of two.

Knows nothing of files or layers. Letters: O output rows, I input columns, J = I/32 blocks.
Source: OCP Microscaling Formats (MX) specification 1.0; nibble order as in the gpt-oss checkpoint.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
"""The value of each four-bit code: bit 3 is the sign."""
SCALE_BIAS = 127
NEAREST_REACH = 7.25
"""Normal weights: 11.17 % error in place of 11.51 %; the better scale of each block gives 11.17."""
_MIDPOINTS = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], np.float32)


@dataclass(frozen=True, slots=True)
class Mxfp4:
    """Packed matrices: byte k of a block holds value 2k in its low and 2k+1 in its high nibble."""

    blocks: NDArray[np.uint8]
    """[..., O, J, 16]"""
    scales: NDArray[np.uint8]
    """[..., O, J]: s means 2^(s - 127)."""

    def __post_init__(self) -> None:
        """Check that blocks and scales fit together."""
        if self.blocks.shape != (*self.scales.shape, BLOCK // 2):
            raise ValueError(
                f"MXFP4 blocks {list(self.blocks.shape)} do not fit scales "
                f"{list(self.scales.shape)}; expected [..., rows, n, 16] and [..., rows, n]"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the unpacked matrices: [..., O, I]."""
        *outer, blocks = self.scales.shape
        return (*outer, blocks * BLOCK)


def unpack(packed: Mxfp4) -> NDArray[np.float32]:
    """Widen to float32, exactly: [..., O, I]."""
    code = np.stack([packed.blocks & 0xF, packed.blocks >> 4], axis=-1)
    value = E2M1[code.reshape(*packed.scales.shape, BLOCK)]
    exponent = packed.scales.astype(np.int32) - SCALE_BIAS
    return np.ldexp(value, exponent[..., None]).reshape(packed.shape)


def pack(weight: NDArray[np.float32], reach: float = 8.0) -> Mxfp4:
    """Round [..., O, I] to MXFP4: scale 2^(floor(log2(largest)) - 2), nearest code, ties to even.

    A block whose largest value exceeds `reach` scales, of 4 to 8 possible ones, takes the next
    scale: 8 never does, as in the standard; `NEAREST_REACH` has the least error.

    Zeros are written as +0, so that packing unpacked values yields the same bytes.

    Raises:
        ValueError: the input axis is not a multiple of 32, or a value is not finite.
    """
    if weight.shape[-1] % BLOCK or not np.isfinite(weight).all():
        raise ValueError(
            f"cannot pack {list(weight.shape)}: need finite values, columns by {BLOCK}"
        )
    block = weight.reshape(*weight.shape[:-1], -1, BLOCK).astype(np.float32)
    largest = np.abs(block).max(axis=-1)
    exponent = np.where(largest > 0, np.frexp(largest)[1] - 3, -SCALE_BIAS)
    exponent = exponent + (np.ldexp(largest, -exponent) > reach)
    exponent = np.clip(exponent, -SCALE_BIAS, SCALE_BIAS)
    unit = np.ldexp(block, -exponent[..., None])
    code = round_to_code(unit)
    blocks = code[..., 0::2] | (code[..., 1::2] << np.uint8(4))
    return Mxfp4(blocks, (exponent + SCALE_BIAS).astype(np.uint8))


def round_to_code(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the nearest E2M1 codes of scaled values; clipped at 6."""
    size = np.abs(unit)
    # a tie goes to the even code: up from codes 1, 3, 5 ("right"), down from 0, 2, 4, 6 ("left")
    up = np.searchsorted(_MIDPOINTS, size, side="right").astype(np.uint8)
    down = np.searchsorted(_MIDPOINTS, size, side="left").astype(np.uint8)
    code = np.where(up % 2 == 0, up, down).astype(np.uint8)
    sign = np.where((unit < 0) & (code > 0), 8, 0).astype(np.uint8)
    return code | sign
