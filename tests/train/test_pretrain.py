import hashlib
import json
import signal

import pytest

from ossia.checkpoint import open_checkpoint
from ossia.train import pretrain


@pytest.fixture
def signals_kept():
    """The command listens to signals; the tests' own listeners come back afterwards."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, listener in before.items():
        signal.signal(each, listener)


@pytest.mark.slow
def test_the_command_leaves_a_checkpoint_and_names_its_files(tmp_path, capsys, signals_kept):
    pretrain.main(["--tokens", "0", "--shape", "t0", "--workers", "2", "--out", str(tmp_path)])

    told = json.loads(capsys.readouterr().out)
    leg = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["leg"]
    assert (leg["seed"], leg["workers"], leg["shape"]) == (0, 2, "t0")
    assert leg["torch"]
    assert (tmp_path / "loss.png").exists()
    checkpoint = open_checkpoint(tmp_path / "packed")
    assert checkpoint.config == pretrain.SHAPES["t0"]
    for name, digest in told["sha256"].items():
        assert hashlib.sha256((checkpoint.folder / name).read_bytes()).hexdigest() == digest
    assert told["exact"] == {"low": 0.0, "medium": 0.0, "high": 0.0}  # nothing was learned


def test_a_run_has_one_budget():
    with pytest.raises(SystemExit):
        pretrain.main(["--out", "nowhere"])
    with pytest.raises(SystemExit):
        pretrain.main(["--out", "nowhere", "--tokens", "1", "--seconds", "1"])
