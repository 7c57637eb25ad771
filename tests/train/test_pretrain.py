import hashlib
import json

import pytest

from ossia.checkpoint import open_checkpoint
from ossia.train import plot, pretrain
from ossia.train.pretrain import PretrainOptions


@pytest.mark.slow
def test_a_run_leaves_a_checkpoint_and_names_its_files(tmp_path, restored_signals):
    summary = pretrain.run(PretrainOptions(tokens=0, shape="t0", out=tmp_path))

    record = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["run"]
    assert (record["seed"], record["workers"], record["shape"]) == (0, 2, "t0")
    assert record["torch"]
    assert (tmp_path / "loss.png").exists()
    checkpoint = open_checkpoint(tmp_path / "packed")
    assert checkpoint.config == pretrain.SHAPES["t0"]
    for name, digest in summary["sha256"].items():
        assert hashlib.sha256((checkpoint.folder / name).read_bytes()).hexdigest() == digest
    assert summary["exact"] == {"low": 0.0, "medium": 0.0, "high": 0.0}  # nothing was learned


@pytest.mark.slow
def test_a_plot_that_fails_costs_no_checkpoint(tmp_path, restored_signals, monkeypatch):
    def fail(folder):
        raise OSError("no space left")

    monkeypatch.setattr(pretrain, "plot_losses", fail)
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": NaN, "tokens": 1}\n{"step": 2, "lo')
    with pytest.raises(OSError, match="no space"):
        pretrain.run(PretrainOptions(tokens=0, shape="t0", workers=1, out=tmp_path))
    assert open_checkpoint(tmp_path / "packed").config == pretrain.SHAPES["t0"]
    plot.plot_losses(tmp_path)
    assert (tmp_path / "loss.png").exists()


def test_a_run_has_one_budget(tmp_path):
    with pytest.raises(ValueError, match="one of them"):
        PretrainOptions(out=tmp_path)
    with pytest.raises(ValueError, match="one of them"):
        PretrainOptions(out=tmp_path, tokens=1, seconds=1)
