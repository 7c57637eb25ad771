"""The facts of a model, told from its files."""

import json
import shutil

import pytest

from benchmarks.random_checkpoint import SHAPES
from ossia.cli.commands.show import kv_bytes


def test_facts_are_those_of_the_files(ossia, folder):
    found = json.loads(ossia("show", "-m", folder, "--json").out)
    config = SHAPES["tiny"]
    assert found["name"] == found["folder"] == str(folder)
    assert found["layout"] == "hugging-face"
    assert found["has_tokenizer"]
    assert found["vocabulary_size"] == config.vocab_size
    assert found["context_length"] == config.max_position_embeddings
    assert found["tensor_bytes"] < (folder / "model.safetensors").stat().st_size
    assert found["memory"]["context_tokens"] == 8192
    assert found["memory"]["kv_dtype"] == "bfloat16"
    assert not found["verified"]


def test_people_read_the_same_facts(ossia, folder, mute_folder):
    shown = ossia("show", "-m", folder).out
    assert "131,072 tokens" in shown
    assert "with tokenizer.json" in shown
    assert "no tokenizer.json" in ossia("show", "-m", mute_folder).out


def test_the_plan_is_for_the_context_and_type_that_were_asked_for(ossia, folder):
    def memory(*args):
        return json.loads(ossia("show", "-m", folder, "--json", *args).out)["memory"]

    exact, plain, small = memory("--weights", "bf16"), memory(), memory("--kv-dtype", "int8")
    assert [each["kv_dtype"] for each in (exact, plain, small)] == ["float32", "bfloat16", "int8"]
    assert exact["kv_bytes"] == 2 * plain["kv_bytes"]
    assert plain["kv_bytes"] / 2 < small["kv_bytes"] < plain["kv_bytes"] / 1.5
    assert memory("--context-length", "16k")["kv_bytes"] > 1.9 * plain["kv_bytes"]


@pytest.mark.parametrize(("tokens", "billions"), [(131_072, 6.44), (8192, 0.41)])
def test_windowed_layers_of_20b_keep_no_more_than_they_see(tokens, billions):
    full_layers_alone = 12 * 2 * tokens * 8 * 64 * 4
    planned = kv_bytes(SHAPES["20b"], tokens, "float32")
    assert full_layers_alone < planned < 1.03 * full_layers_alone
    assert planned / 1e9 == pytest.approx(billions, rel=0.03)


def test_verify_reads_every_byte(ossia, folder, tmp_path):
    assert json.loads(ossia("show", "-m", folder, "--verify", "--json").out)["verified"]
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = broken / "model.safetensors"
    content = bytearray(weights.read_bytes())
    header = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + header])
    begin, end = entries["model.layers.0.mlp.experts.gate_up_proj_scales"]["data_offsets"]
    content[8 + header + begin] = 255  # no scale: it would stand for NaN
    weights.write_bytes(content)
    assert ossia("show", "-m", broken).code == 0
    ran = ossia("show", "-m", broken, "--verify")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "gate_up_proj_scales" in ran.err
