import dataclasses

import numpy as np
import pytest

from benchmarks.random_checkpoint import SHAPES
from ossia.model.weights import yarn

PUBLISHED = SHAPES["20b"]


def test_frequencies_are_those_of_the_published_models():
    rope = yarn(PUBLISHED)
    expected = {
        0: 1.0,
        1: 0.6890443059,
        8: 0.05081327482,
        9: 0.03170569618,
        10: 0.01933500113,
        12: 0.00679495949,
        16: 4.564839192e-4,
        17: 1.293187012e-4,
        18: 3.830881237e-5,
        31: 3.023511428e-7,
    }
    found = [rope.inverse_frequency[i] for i in expected]
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-7)  # float32's own rounding
    assert rope.scale == pytest.approx(1.3465736, rel=1e-7)


@pytest.mark.parametrize(
    ("position", "channel", "cos", "sin"),
    [
        (1, 0, 0.727557, 1.133103),
        (1, 12, 1.346543, 0.009150),
        (127, 0, 0.312889, 1.309718),
        (127, 12, 0.875531, 1.023087),
        (4095, 12, -1.213118, 0.584470),
    ],
)
def test_angles_are_those_of_the_published_models(position, channel, cos, sin):
    rope = yarn(PUBLISHED)
    angle = np.float32(position) * rope.inverse_frequency[channel]
    # an angle of 28 radians is itself rounded by 1e-6
    assert np.cos(angle) * rope.scale == pytest.approx(cos, abs=3e-6)
    assert np.sin(angle) * rope.scale == pytest.approx(sin, abs=3e-6)


def test_without_a_factor_nothing_is_stretched():
    rope = yarn(dataclasses.replace(PUBLISHED, rope_factor=1.0))
    np.testing.assert_allclose(
        rope.inverse_frequency, 150_000.0 ** (-np.arange(32) / 32), rtol=1e-6
    )
    assert rope.scale == 1.0
