import json

import pytest


@pytest.mark.slow
def test_a_model_is_trained_and_can_be_asked(ossia, tmp_path, restored_signals):
    out = tmp_path / "run"
    done = ossia("train", "nano", "--out", out, "--shape", "t0", "--tokens", "1", "--workers", "1")
    assert done.code == 0
    assert set(json.loads(done.out)["sha256"]) == {
        "model.safetensors", "tokenizer.json", "config.json",
    }  # fmt: skip
    answer = ossia("run", "-m", out / "packed", "hi", "--max-tokens", "8")
    assert answer.code == 0


def test_one_budget_is_needed(ossia, tmp_path):
    for budget in ([], ["--tokens", "1", "--seconds", "1"]):
        done = ossia("train", "nano", "--out", tmp_path, *budget)
        assert done.code == 2
        assert "use either --tokens N or --seconds N" in done.err


def test_a_file_is_not_a_folder_to_train_in(ossia, tmp_path):
    (tmp_path / "file").touch()
    done = ossia("train", "nano", "--out", tmp_path / "file", "--tokens", "1")
    assert done.code == 2
    assert "file is not a folder" in done.err


def test_without_a_gpu_there_is_no_training_on_one(ossia, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = ossia("train", "nano", "--out", tmp_path, "--tokens", "1", "--device", "cuda")
    assert done.code == 1
    assert "torch finds no GPU" in done.err
    assert not list(tmp_path.iterdir())


def test_without_torch_it_says_what_to_install(ossia, tmp_path, monkeypatch):
    monkeypatch.setattr("ossia.cli.commands.train.find_spec", lambda name: None)
    done = ossia("train", "nano", "--out", tmp_path, "--tokens", "1")
    assert done.code == 1
    assert "pip install 'ossia[train]'" in done.err


def test_without_matplotlib_it_says_what_to_install_before_it_trains(ossia, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ossia.cli.commands.train.find_spec", lambda name: None if name == "matplotlib" else name
    )
    done = ossia("train", "nano", "--out", tmp_path, "--tokens", "1")
    assert done.code == 1
    assert "matplotlib" in done.err
    assert "pip install 'ossia[train]'" in done.err
    assert not list(tmp_path.iterdir())
