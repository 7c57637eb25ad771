"""config.json in both spellings means one ModelConfig, and what cannot be gpt-oss is refused."""

import dataclasses
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.random_checkpoint import SHAPES
from ossia.checkpoint import ModelConfig
from ossia.checkpoint.config import read_config
from ossia.errors import CheckpointError

HUGGING_FACE = {
    "model_type": "gpt_oss",
    "num_hidden_layers": 3,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 500,
    "sliding_window": 128,
    "max_position_embeddings": 131072,
    "rope_theta": 150000,
    "rope_scaling": {
        "rope_type": "yarn",
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "original_max_position_embeddings": 4096,
        "truncate": False,
    },
    "rms_norm_eps": 1e-05,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
}
ORIGINAL = {
    "num_hidden_layers": 3,
    "num_experts": 4,
    "experts_per_token": 2,
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 96,
    "swiglu_limit": 7.0,
    "head_dim": 16,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "sliding_window": 128,
    "initial_context_length": 4096,
    "rope_theta": 150000,
    "rope_scaling_factor": 32.0,
    "rope_ntk_alpha": 1,
    "rope_ntk_beta": 32,
}
MEANT = ModelConfig(
    num_hidden_layers=3,
    num_local_experts=4,
    num_experts_per_tok=2,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=8,
    num_key_value_heads=2,
    head_dim=16,
    vocab_size=500,
    sliding_window=128,
    layer_types=("sliding_attention", "full_attention", "sliding_attention"),
    max_position_embeddings=131072,
    rope_theta=150000.0,
    rope_factor=32.0,
    rope_beta_fast=32.0,
    rope_beta_slow=1.0,
    rope_original_max_position_embeddings=4096,
    rope_truncate=False,
    rms_norm_eps=1e-5,
    swiglu_limit=7.0,
    swiglu_alpha=1.702,
)
ABSENT = object()


@pytest.fixture
def read(tmp_path):
    def write_and_read(table):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(table))
        return read_config(path)

    return write_and_read


def with_changes(table, **changes):
    return {key: value for key, value in (table | changes).items() if value is not ABSENT}


def rope(**changes):
    return with_changes(HUGGING_FACE["rope_scaling"], **changes)


VERSION_5 = with_changes(
    HUGGING_FACE,
    rope_theta=ABSENT,
    rope_scaling=ABSENT,
    rope_parameters=rope(rope_theta=150000.0),
    swiglu_alpha=1.702,
)


@pytest.mark.parametrize(
    "table",
    [
        HUGGING_FACE,
        VERSION_5,
        ORIGINAL,
        with_changes(HUGGING_FACE, layer_types=list(MEANT.layer_types)),
        with_changes(HUGGING_FACE, num_experts_per_tok=ABSENT, experts_per_token=2),
        with_changes(HUGGING_FACE, experts_per_token=2),
        with_changes(HUGGING_FACE, quantization_config=ABSENT, tie_word_embeddings=ABSENT),
        with_changes(HUGGING_FACE, rope_scaling=rope(rope_type=ABSENT, type="yarn")),
        with_changes(HUGGING_FACE, rope_scaling=rope(attention_factor=None)),
        with_changes(HUGGING_FACE, rope_parameters=rope(rope_theta=150000)),
    ],
)
def test_every_spelling_means_the_same(table, read):
    config, unknown = read(table)
    assert config == MEANT
    assert unknown == ()


def test_numbers_have_the_type_of_their_fact(read):
    config, _ = read(ORIGINAL)
    assert type(config.rope_theta) is float
    assert type(config.max_position_embeddings) is int


def test_from_file_reads_the_same(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(HUGGING_FACE))
    assert ModelConfig.from_file(tmp_path / "config.json") == MEANT


@pytest.mark.parametrize(
    "table",
    [MEANT.to_hugging_face(), MEANT.to_hugging_face(packed=False), MEANT.to_original()],
    ids=["packed", "dense", "original"],
)
def test_what_is_written_reads_back(table, read):
    assert read(table) == (MEANT, ())


def test_only_a_packed_model_is_written_as_quantised():
    assert MEANT.to_hugging_face()["quantization_config"]["quant_method"] == "mxfp4"
    assert "quantization_config" not in MEANT.to_hugging_face(packed=False)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("rms_norm_eps", 1e-6),
        ("swiglu_alpha", 1.5),
        ("rope_truncate", True),
        ("max_position_embeddings", 8192),
        ("layer_types", ("full_attention",) * 3),
    ],
)
def test_the_original_spelling_refuses_what_it_cannot_say(fact, value):
    with pytest.raises(CheckpointError, match=fact):
        dataclasses.replace(MEANT, **{fact: value}).to_original()


def test_keys_nobody_knows_are_reported_and_have_no_effect(read):
    config, unknown = read(
        with_changes(
            HUGGING_FACE,
            auto_map={"AutoModel": "evil.Model"},
            trust_remote_code=True,
            _name_or_path="https://evil.example/x",
        )
    )
    assert config == MEANT
    assert unknown == ("_name_or_path", "auto_map", "trust_remote_code")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("model_type", ABSENT, "lacks model_type; is this a gpt-oss model"),
        ("model_type", "llama", "model_type 'llama', not gpt_oss"),
        ("quantization_config", {"quant_method": "gptq"}, "quant_method 'gptq', not mxfp4"),
        ("quantization_config", {}, "lacks quant_method"),
        ("quantization_config", "mxfp4", "not a table"),
        ("tie_word_embeddings", True, "tie_word_embeddings"),
        ("num_local_experts", ABSENT, "lacks num_local_experts; is this a gpt-oss model"),
        ("num_local_experts", 1, "only 1 experts"),
        ("experts_per_token", 3, "must agree"),
        ("num_key_value_heads", 3, "multiple of num_key_value_heads, 3"),
        ("hidden_size", 65, "hidden_size is 65; .* a multiple of 32"),
        ("hidden_size", 2**20, "hidden_size is 1048576; .* to 65536"),
        ("intermediate_size", 0, "intermediate_size is 0"),
        ("head_dim", 15, "head_dim is 15; .* a multiple of 2"),
        ("vocab_size", True, "vocab_size is True"),
        ("vocab_size", 500.0, r"vocab_size is 500\.0; it must be a whole number"),
        ("vocab_size", "500", "vocab_size is '500'"),
        ("vocab_size", 10**400, "vocab_size is 1"),
        ("sliding_window", None, "sliding_window is None"),
        ("num_hidden_layers", -1, "num_hidden_layers is -1"),
        ("num_hidden_layers", 10**9, "num_hidden_layers is 1000000000"),
        ("num_hidden_layers", "3", "num_hidden_layers is '3'"),
        ("layer_types", ["full_attention"], "lists 1 layers, num_hidden_layers is 3"),
        ("layer_types", ["full_attention", "linear", []], "layer_types is"),
        ("layer_types", "full_attention", "layer_types is"),
        ("rms_norm_eps", 0, "rms_norm_eps is 0"),
        ("rms_norm_eps", "1e-5", "rms_norm_eps is '1e-5'"),
        ("rope_theta", True, "rope_theta is True"),
        ("rope_theta", 1, "rope_theta is 1"),
        ("rope_theta", ABSENT, "rope_scaling lacks rope_theta"),
        ("rope_scaling", ABSENT, "lacks rope_scaling"),
        ("rope_scaling", [], "not a table"),
        ("rope_scaling", rope(rope_type="llama3"), "rope_type 'llama3', not yarn"),
        ("rope_scaling", rope(factor=0.5), r"rope_factor is 0\.5"),
        ("rope_scaling", rope(beta_fast=1), "above beta_slow"),
        ("rope_scaling", rope(truncate=0), "rope_truncate is 0, not a boolean"),
        ("rope_scaling", rope(truncate=ABSENT), "lacks truncate"),
        ("rope_scaling", rope(mscale=1.0), "'mscale', unknown"),
        ("rope_parameters", rope(factor=16.0), "different things"),
    ],
)
def test_refuses(key, value, named, read):
    with pytest.raises(CheckpointError, match=rf"config\.json.* {named}"):
        read(with_changes(HUGGING_FACE, **{key: value}))


@pytest.mark.parametrize("value", ["4096", True, None, 0, 10**400])
@pytest.mark.parametrize("key", ["initial_context_length", "rope_scaling_factor"])
def test_refuses_an_original_stretch_by(key, value, read):
    with pytest.raises(CheckpointError, match=rf"config\.json has .*{key}"):
        read(ORIGINAL | {key: value})


def test_refuses_nan_when_built_by_hand():
    with pytest.raises(CheckpointError, match="rms_norm_eps is nan"):
        dataclasses.replace(MEANT, rms_norm_eps=math.nan)


def test_refuses_infinity_from_a_number_too_large(tmp_path):
    text = json.dumps(HUGGING_FACE).replace("150000", "1e999")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="rope_theta is inf"):
        ModelConfig.from_file(tmp_path / "config.json")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_can_be_said_in_both_spellings(shape, read):
    assert read(shape.to_hugging_face())[0] == shape
    assert read(shape.to_original())[0] == shape


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.sampled_from([HUGGING_FACE, VERSION_5, ORIGINAL]),
    changes=st.dictionaries(st.sampled_from([*HUGGING_FACE, *ORIGINAL, "layer_types"]), JSON),
)
def test_any_value_anywhere_is_read_or_refused(read, table, changes):
    try:
        config, _ = read(table | changes)
    except CheckpointError:
        return
    assert config == ModelConfig(
        **{f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    )


@pytest.mark.slow
def test_transformers_reads_and_writes_the_same_facts(read, tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").write_text(
        json.dumps(MEANT.to_hugging_face(packed=False))
    )
    theirs = transformers.GptOssConfig.from_pretrained(tmp_path / "theirs")
    theirs.save_pretrained(tmp_path / "again")
    assert read(json.loads((tmp_path / "again" / "config.json").read_text()))[0] == MEANT
