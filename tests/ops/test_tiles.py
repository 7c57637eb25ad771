"""Tiles hold the numbers of the matrix, in their order, and nothing else."""

import numpy as np
import pytest

from ossia.ops.mxfp4 import E2M1, Mxfp4, unpack
from ossia.ops.tiles import Tiles, tile_int8, tile_mxfp4, tile_rounded


def spread_out(tiles: Tiles) -> np.ndarray:
    """Back to [..., O, I], group rows in tile order, by the formula of each byte's place."""
    *outer, groups, blocks, _ = tiles.values.shape
    wide = np.zeros((*outer, groups * 16, blocks * 32), np.float32)
    for r in range(16):
        for q in range(32):
            if tiles.is_packed:
                byte = tiles.values[..., 64 * (q >> 3) + 4 * r + (q & 3)]
                number = E2M1[byte >> 4 if q & 4 else byte & 15]
                unit = np.ldexp(np.float32(1), tiles.scales[..., r].astype(int) - 127)
            else:
                number = tiles.values[..., 64 * (q >> 2) + 4 * r + (q & 3)].astype(np.float32)
                unit = tiles.scales[..., r].astype(np.float32)
            wide[..., r::16, q::32] = number * unit
    return wide


@pytest.mark.parametrize("rows", [16, 48, 37])
def test_packed_tiles_hold_the_same_numbers(make, rows):
    packed = make.packed(2, rows, 96)
    tiles = tile_mxfp4(packed)
    wide = spread_out(tiles)
    assert tiles.shape == packed.shape
    np.testing.assert_array_equal(wide[:, :rows], unpack(packed))
    assert not wide[:, rows:].any()


@pytest.mark.parametrize("channels", [16, 32, 21])
def test_sixteen_gates_stand_before_their_ups(make, channels):
    packed = make.packed(2, 2 * channels, 64)
    wide = spread_out(tile_mxfp4(packed, gates_and_ups=True)).reshape(2, -1, 2, 16, 64)
    law = unpack(packed)
    for part, first in enumerate((0, 1)):
        ours = wide[:, :, part].reshape(2, -1, 64)
        np.testing.assert_array_equal(ours[:, :channels], law[:, first::2])
        assert not ours[:, channels:].any()


@pytest.mark.parametrize(("rows", "columns"), [(16, 32), (40, 100), (33, 64)])
def test_int8_tiles_are_near(make, rows, columns):
    weight = make.weight(rows, columns)
    tiles = tile_int8(weight)
    wide = spread_out(tiles)
    law = np.zeros_like(wide)
    law[:rows, :columns] = weight.astype(np.float32)
    largest = np.abs(law.reshape(len(law), -1, 32)).max(axis=-1)
    bound = np.repeat(largest / 127 * 0.51 + 1e-12, 32, axis=-1).reshape(law.shape)
    assert tiles.shape == (rows, columns)
    assert (np.abs(wide - law) <= bound).all()


def test_rounded_tiles_are_the_nearest_mxfp4(make):
    weight = make.weight(32, 80)
    tiles = tile_rounded(weight)
    wide = spread_out(tiles)[:, :80]
    error = np.linalg.norm(wide - weight.astype(np.float32)) / np.linalg.norm(weight.astype("f"))
    assert tiles.shape == (32, 80)
    assert 0.05 < error < 0.2


def test_zeros_stay_zeros():
    assert not spread_out(tile_int8(np.zeros((16, 32), np.float32))).any()


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e8])
def test_what_int8_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="int8 can hold"):
        tile_int8(np.full((1, 32), value, np.float32))


def test_arrays_that_do_not_belong_together_are_refused(make):
    tiles = tile_int8(make.weight(16, 32))
    for rows, columns in [(40, 32), (16, 64), (17, 32)]:
        with pytest.raises(ValueError, match="do not make"):
            Tiles(tiles.values, tiles.scales, rows, columns)
    with pytest.raises(ValueError, match="do not make"):
        Tiles(
            tiles.values, Mxfp4(np.zeros((1, 1, 16), "u1"), np.zeros((1, 1), "u1")).scales, 16, 32
        )
