import json
import math
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from ossia.errors import MissingExtra
from ossia.train.plot import losses, main, plot_losses, read_log, smooth

LINE = np.array([0x1E, 0x3C, 0x8C]) / 255


def write_log(folder, values, end=""):
    lines = [json.dumps({"tokens": 1e5 * n, "loss": value}) for n, value in enumerate(values)]
    (folder / "log.jsonl").write_text("\n".join([*lines, end]))


def line_pixels(picture):
    """Rows and columns of the smoothed line."""
    return np.nonzero((np.abs(imread(picture)[..., :3] - LINE) < 0.02).all(axis=2))


def test_a_falling_loss_is_a_falling_line(tmp_path):
    write_log(tmp_path, [6 - n / 2 for n in range(11)])
    picture = plot_losses(tmp_path)
    rows, columns = line_pixels(picture)
    assert picture == tmp_path / "loss.png"
    assert rows[columns.argmin()] < rows[columns.argmax()]
    assert columns.max() - columns.min() > imread(picture).shape[1] // 2


def test_the_log_is_read_and_validations_are_left_out(tmp_path):
    lines = [{"tokens": 2_000_000, "loss": 1.5}, {"step": 3, "validation_loss": 1.0}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert losses(read_log(tmp_path / "log.jsonl")) == [(2.0, 1.5)]
    main([str(tmp_path)])
    assert imread(tmp_path / "loss.png").ndim == 3


def test_a_cut_line_and_a_loss_that_is_no_number_are_passed_over(tmp_path):
    write_log(tmp_path, [4.0, math.nan, 3.0, math.inf, 2.0], end='{"tokens": 600000, "lo')
    assert len(losses(read_log(tmp_path / "log.jsonl"))) == 5
    rows, _ = line_pixels(plot_losses(tmp_path))
    assert len(rows)


def test_smoothing_goes_on_behind_what_is_not_finite():
    assert smooth([4.0, math.nan, 4.0]) == [4.0, 4.0, 4.0]
    assert smooth([math.nan, 3.0])[1] == 3.0
    assert smooth([1.0, 2.0])[1] == pytest.approx(1.2)


def test_an_empty_log_is_an_empty_picture(tmp_path):
    write_log(tmp_path, [])
    assert not len(line_pixels(plot_losses(tmp_path))[0])


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"ossia\[train\]"):
        plot_losses(tmp_path)
