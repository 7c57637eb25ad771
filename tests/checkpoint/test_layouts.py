"""The names of three layouts, and the one set of names they become."""

import io

import pytest

from benchmarks.random_checkpoint import SHAPES
from ossia.checkpoint import LAYOUTS, our_shapes
from ossia.checkpoint.layouts import BYTES, detect_layout, is_packed, stored_tensors
from ossia.checkpoint.safetensors import PlannedTensor, stream_safetensors
from ossia.errors import CheckpointError


@pytest.mark.parametrize(
    ("shape", "layout", "number"),
    [
        ("20b", "hugging-face", 459),
        ("120b", "hugging-face", 687),
        ("20b", "original", 363),
        ("120b", "original", 543),
        ("20b", "dense", 411),
    ],
)
def test_the_number_of_tensors_is_as_published(shape, layout, number):
    assert len(list(stored_tensors(SHAPES[shape], layout))) == number


def test_the_header_of_the_original_20b_file_has_its_published_length(tmp_path):
    """13,761,300,984 bytes in all: every name, shape, type and offset must be right for that."""

    class HeaderWritten(Exception):
        """Stops the writer before the first value."""

    def stop():
        raise HeaderWritten

    plans = [
        PlannedTensor(tensor.name, "U8" if tensor.dtypes == BYTES else "BF16", tensor.shape, stop)
        for tensor in stored_tensors(SHAPES["20b"], "original")
    ]
    header = io.BytesIO()
    with pytest.raises(HeaderWritten):
        stream_safetensors(header, plans)
    tensor_bytes = sum(plan.num_bytes for plan in plans)
    assert tensor_bytes + len(header.getvalue()) == 13_761_300_984


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_each_of_our_tensors_once(layout, config):
    shapes = our_shapes(config, packed=is_packed(layout))
    parts = [part.name for stored in stored_tensors(config, layout) for part in stored.parts]
    assert sorted(parts) == sorted(shapes)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_known_by_its_names(layout, config):
    names = {stored.name for stored in stored_tensors(config, layout)}
    assert detect_layout(names, "here") == layout


def test_names_of_another_model_are_refused():
    with pytest.raises(CheckpointError, match="here holds neither .* is this a gpt-oss model"):
        detect_layout({"transformer.wte.weight"}, "here")


@pytest.mark.slow
def test_transformers_has_the_names_and_shapes_of_the_dense_layout(config, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    table = config.to_hugging_face(packed=False)
    with torch.device("meta"):
        model = transformers.GptOssForCausalLM(transformers.GptOssConfig(**table))
    theirs = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    ours = {stored.name: stored.shape for stored in stored_tensors(config, "dense")}
    assert ours == theirs
