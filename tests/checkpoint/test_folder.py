"""A folder opens if it is one whole checkpoint, and otherwise says what is wrong with it."""

import json
import os
import shutil
import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from benchmarks.random_checkpoint import random_tensors
from ossia.checkpoint import LAYOUTS, counts, open_checkpoint, our_shapes, verify_values
from ossia.checkpoint import folder as folder_file
from ossia.checkpoint.folder import INDEX
from ossia.errors import CheckpointError

WAYS = [(layout, shards) for layout in LAYOUTS for shards in (1, 4)]


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and bool((left == right).all())


def change_json(path, change):
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def change_tensors(path, change):
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    path.unlink()
    safetensors.numpy.save_file(tensors, path)


@pytest.mark.parametrize(("layout", "shards"), WAYS)
def test_every_layout_gives_the_same_tensors(layout, shards, save, config):
    folder = save(layout, shards=shards)
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.layout == layout
    assert checkpoint.config == config
    tensors = random_tensors(config, 7, packed=layout != "dense")
    assert list(checkpoint.tensors) == list(tensors)
    assert all(same(checkpoint.tensors[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_are_views_and_in_the_shapes_we_promise(layout, save, config):
    checkpoint = open_checkpoint(save(layout))
    shapes = our_shapes(config, packed=layout != "dense")
    assert {name: array.shape for name, array in checkpoint.tensors.items()} == shapes
    assert len(checkpoint.tensors) == len(shapes)
    for name, array in checkpoint.tensors.items():
        assert not array.flags.writeable
        assert np.shares_memory(array, checkpoint.tensors[name])
        turned = name.endswith(("gate_up_weight", "down_weight"))
        assert array.flags.c_contiguous == (not turned)


def test_dense_experts_are_turned_round(save, config):
    folder = save("dense")
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    ours = open_checkpoint(folder).tensors
    for i in range(config.num_hidden_layers):
        there = f"model.layers.{i}.mlp.experts"
        assert same(
            ours[f"layers.{i}.gate_up_weight"], stored[f"{there}.gate_up_proj"].swapaxes(1, 2)
        )
        assert same(ours[f"layers.{i}.down_weight"], stored[f"{there}.down_proj"].swapaxes(1, 2))


def test_the_fused_rows_are_query_then_key_then_value(save):
    folder = save("original")
    fused = safetensors.numpy.load_file(folder / "model.safetensors")["block.1.attn.qkv.weight"]
    ours = open_checkpoint(folder).tensors
    assert same(np.concatenate([ours[f"layers.1.{letter}_weight"] for letter in "qkv"]), fused)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bytes_are_counted(layout, save, config):
    checkpoint = open_checkpoint(save(layout, shards=3))
    packed = layout != "dense"
    assert checkpoint.total_bytes == counts.checkpoint_bytes(config, packed=packed)
    assert [path.name for path in checkpoint.files] == [
        f"model-0000{i}-of-00002.safetensors" for i in range(3)
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_fine_tunes_may_store_some_tensors_in_other_floats(dtype, save, config):
    folder = save("hugging-face")
    name = "model.layers.0.mlp.router.weight"
    change_tensors(
        folder / "model.safetensors",
        lambda tensors: tensors.update({name: tensors[name].astype(dtype)}),
    )
    assert open_checkpoint(folder).tensors["layers.0.router_weight"].dtype == dtype


def test_a_folder_without_a_tokenizer_opens(save):
    assert open_checkpoint(save("original")).tokenizer_path is None


def test_the_tokenizer_is_found_and_not_read(save):
    folder = save("original")
    (folder / "tokenizer.json").write_bytes(b"not read here")
    assert open_checkpoint(folder).tokenizer_path == folder / "tokenizer.json"


def test_unknown_keys_of_the_config_are_reported(save):
    folder = save("dense")
    change_json(folder / "config.json", lambda table: table.update(auto_map={}))
    assert open_checkpoint(folder).unknown_keys == ("auto_map",)


def test_opens_only_config_index_tokenizer_and_safetensors(save):
    folder = save("hugging-face", shards=2)
    (folder / "tokenizer.json").write_bytes(b"{}")
    for name in (
        "modeling.py",
        "pytorch_model.bin",
        "chat_template.jinja",
        "generation_config.json",
    ):
        (folder / name).write_bytes(b"import os; os.abort()")
    opened = []
    watching = True

    def watch(event, arguments):
        if watching and event == "open" and not isinstance(arguments[0], int):
            opened.append(os.path.basename(str(arguments[0])))

    sys.addaudithook(watch)  # cannot be removed: it is told to look away below
    open_checkpoint(folder)
    watching = False
    assert set(opened) == {
        "config.json",
        INDEX,
        "tokenizer.json",
        "model-00000-of-00001.safetensors",
        "model-00001-of-00001.safetensors",
    }


def test_opens_in_the_hugging_face_cache(save, tmp_path):
    folder = save("hugging-face", shards=2)
    snapshot = tmp_path / "models--x" / "snapshots" / "abc"
    blobs = tmp_path / "models--x" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.move(folder, blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert open_checkpoint(snapshot).layout == "hugging-face"


def test_hidden_files_are_no_weights(save):
    folder = save("original")
    (folder / "._model.safetensors").write_bytes(b"left by another system")
    assert open_checkpoint(folder).layout == "original"


# What is wrong with a folder: (layout, shards, what was done to it, what the message says)


def remove(name):
    return lambda folder: (folder / name).unlink()


def replace_by_device(folder):
    remove("model.safetensors")(folder)
    (folder / "model.safetensors").symlink_to("/dev/zero")


def replace_by_fifo(folder):
    remove("model.safetensors")(folder)
    os.mkfifo(folder / "model.safetensors")


def tokenizer_folder(folder):
    (folder / "tokenizer.json").mkdir()


def truncate(name):
    def cut(folder):
        os.truncate(folder / name, (folder / name).stat().st_size - 1)

    return cut


def config_with(**changes):
    return lambda folder: change_json(folder / "config.json", lambda t: t.update(changes))


def index_with(**changes):
    return lambda folder: change_json(folder / INDEX, lambda t: t.update(changes))


def moved_to(shard):
    def change(table):
        table["weight_map"]["lm_head.weight"] = shard

    return lambda folder: change_json(folder / INDEX, change)


def tensors_with(change, name="model.safetensors"):
    return lambda folder: change_tensors(folder / name, change)


def copy_of_a_shard(folder):
    shutil.copy(folder / "model.safetensors", folder / "again.safetensors")


SCALES = "model.layers.1.mlp.experts.down_proj_scales"
SHARD = "model-00001-of-00002.safetensors"
WRONG = {
    "no config": ("dense", 1, remove("config.json"), "has no config.json"),
    "another architecture": (
        "dense",
        1,
        config_with(model_type="llama"),
        "config.json has model_type",
    ),
    "another shape": (
        "dense",
        1,
        config_with(vocab_size=130),
        r"shape \[131, 64\], .* \[130, 64\]",
    ),
    "another depth": (
        "original",
        1,
        config_with(num_hidden_layers=1),
        r"has 'block\.1\.attn\.norm\.scale', .* and \d+ more, unknown for gpt-oss",
    ),
    "no weights": ("dense", 1, remove("model.safetensors"), "holds neither .* nor any"),
    "a truncated file": (
        "dense",
        1,
        truncate("model.safetensors"),
        "model.safetensors has .* bytes",
    ),
    "a truncated shard": ("hugging-face", 3, truncate(SHARD), f"{SHARD} has .* bytes of tensors"),
    "a missing shard": ("hugging-face", 3, remove(SHARD), f"{SHARD} is missing"),
    "a device": ("original", 1, replace_by_device, "model.safetensors is a link that leads out"),
    "a FIFO": ("original", 1, replace_by_fifo, "model.safetensors is a FIFO"),
    "a tokenizer that is a folder": ("original", 1, tokenizer_folder, "tokenizer.json is a folder"),
    "a tensor in two files": ("original", 1, copy_of_a_shard, "model.safetensors holds .* too"),
    "index without a map": ("hugging-face", 3, index_with(weight_map=[]), "has the weight_map"),
    "index with an empty map": ("hugging-face", 3, index_with(weight_map={}), "has the weight_map"),
    "index without metadata": ("hugging-face", 3, index_with(metadata=None), "total_size None"),
    "index with another size": (
        "hugging-face",
        3,
        index_with(metadata={"total_size": 1}),
        f"{INDEX} has the total_size 1, but its files hold",
    ),
    "index naming another shard": ("hugging-face", 3, moved_to(SHARD), f"{SHARD} lacks 'lm_head"),
    "index naming a missing file": (
        "hugging-face",
        3,
        moved_to("x.safetensors"),
        "x.safetensors is missing",
    ),
    "index naming a parent": (
        "hugging-face",
        3,
        moved_to("../x.safetensors"),
        "names the file '../x",
    ),
    "index naming a root": ("hugging-face", 3, moved_to("/x.safetensors"), "names the file '/x"),
    "index naming a device": (
        "hugging-face",
        3,
        moved_to("/dev/zero"),
        "names the file '/dev/zero'",
    ),
    "index naming a pickle": ("hugging-face", 3, moved_to("x.bin"), r"names the file 'x\.bin'"),
    "index naming a number": ("hugging-face", 3, moved_to(7), "names the file 7"),
    "index naming a NUL": ("hugging-face", 3, moved_to("a\0.safetensors"), "names the file"),
    "a tensor the index does not list": (
        "hugging-face",
        3,
        tensors_with(lambda t: t.update(more=np.zeros(3, np.float32)), SHARD),
        f"{SHARD} holds 'more', which {INDEX} does not list there",
    ),
    "an unknown tensor": (
        "dense",
        1,
        tensors_with(lambda t: t.update(more=np.zeros(3, np.float32))),
        "has 'more', unknown for gpt-oss",
    ),
    "a missing tensor": (
        "dense",
        1,
        tensors_with(lambda t: t.pop("lm_head.weight")),
        r"lacks 'lm_head\.weight'; config\.json asks for exactly",
    ),
    "blocks without scales": (
        "hugging-face",
        1,
        tensors_with(lambda t: t.pop(SCALES)),
        rf"lacks '{SCALES}'",
    ),
    "a renamed tensor": (
        "dense",
        1,
        tensors_with(lambda t: t.update(head=t.pop("lm_head.weight"))),
        r"lacks 'lm_head\.weight' and has 'head', unknown",
    ),
    "names of another model": (
        "dense",
        1,
        tensors_with(lambda t: t.pop("model.embed_tokens.weight")),
        "holds neither .* nor",
    ),
    "a transposed tensor": (
        "dense",
        1,
        tensors_with(lambda t: t.update({"lm_head.weight": t["lm_head.weight"].T.copy()})),
        r"lm_head\.weight has the shape \[64, 131\], but config\.json makes it \[131, 64\]",
    ),
    "scales of another type": (
        "hugging-face",
        1,
        tensors_with(lambda t: t.update({SCALES: t[SCALES].view(np.int8)})),
        f"{SCALES} is of I8, not U8",
    ),
    "integers for weights": (
        "dense",
        1,
        tensors_with(lambda t: t.update({"lm_head.weight": t["lm_head.weight"].view(np.uint16)})),
        r"lm_head\.weight is of U16, not BF16 or F16 or F32",
    ),
}


@pytest.mark.parametrize(("layout", "shards", "spoil", "message"), WRONG.values(), ids=WRONG)
def test_refuses(layout, shards, spoil, message, save):
    folder = save(layout, shards=shards)
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(folder)
    assert str(folder) in str(caught.value)


def test_refuses_more_files_than_any_checkpoint_has(save, monkeypatch):
    monkeypatch.setattr(folder_file, "MAX_FILES", 2)
    with pytest.raises(CheckpointError, match="3 weight files"):
        open_checkpoint(save("original", shards=3))


@pytest.mark.parametrize("name", ["nowhere", "a\0b"])
def test_a_folder_that_is_not_there_is_an_error(name, tmp_path):
    with pytest.raises(CheckpointError, match="is not a folder that can be read"):
        open_checkpoint(tmp_path / name)


def test_a_file_in_place_of_a_folder_is_an_error(save):
    with pytest.raises(CheckpointError, match="is a file; give the folder"):
        open_checkpoint(save("dense") / "model.safetensors")


@pytest.mark.parametrize("name", ["sinks", "attention_norm", "router_weight", "gate_up_bias"])
def test_small_tensors_are_checked_when_opening(name, save, config):
    tensor = random_tensors(config, 7)[f"layers.1.{name}"]
    tensor[-1] = np.nan
    folder = save("original", **{f"layers.1.{name}": tensor})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: block\.1\..* holds nan at"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("embedding", ml_dtypes.bfloat16(np.inf), r"model\.embed_tokens\.weight holds inf at \[1"),
        ("layers.0.k_weight", ml_dtypes.bfloat16(np.nan), r"k_proj\.weight holds nan at \[1"),
        (
            "layers.1.down_scales",
            255,
            r"down_proj_scales holds the scale byte 255 .* at \[1, 63, 0",
        ),
    ],
)
def test_large_tensors_are_checked_on_request(name, bad, message, save, config):
    tensor = random_tensors(config, 7)[name]
    tensor.reshape(tensor.shape[0], -1)[1, -1] = bad
    checkpoint = open_checkpoint(save("hugging-face", **{name: tensor}))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.tensors.verify(name)
    with pytest.raises(CheckpointError, match=message):
        verify_values(checkpoint)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_verifying_a_sound_checkpoint_tells_every_name(layout, save):
    checkpoint = open_checkpoint(save(layout))
    passed = []
    verify_values(checkpoint, passed.append)
    assert passed == list(checkpoint.tensors)
    verify_values(checkpoint)


def test_a_tensor_says_where_it_lies(save):
    folder = save("original")
    source = open_checkpoint(folder).tensors.source("layers.1.k_bias")
    assert source == f"{folder / 'model.safetensors'}: block.1.attn.qkv.bias"
