"""The model in the package: whole, reproducible in its bytes, and as good as its card says."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import ossia
from ossia import LLM, SamplingParams
from ossia.checkpoint import open_checkpoint, write_checkpoint
from ossia.harmony.messages import Conversation, Message
from ossia.harmony.render import render_prompt
from ossia.harmony.tokenizer import Tokenizer
from ossia.model.forward_batch import ForwardBatch
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.mxfp4 import Mxfp4, pack, unpack
from ossia.ops.reference import ReferenceOps
from ossia.ops.torch import TorchOps
from ossia.tasks.nano.arithmetic import draw_problem
from ossia.train.pretrain import SHAPES

FOLDER = Path(ossia.__file__).parent / "models" / "nano"
SHAPE = SHAPES["t1c"]
GREEDY = SamplingParams(temperature=0, max_tokens=300)


@pytest.fixture(scope="module")
def checkpoint():
    return open_checkpoint(FOLDER)


@pytest.fixture(scope="module")
def llm():
    with LLM("nano") as opened:
        yield opened


def test_it_has_the_shape_its_card_names(checkpoint):
    assert checkpoint.config == SHAPE
    assert Tokenizer.from_file(FOLDER / "tokenizer.json").size == SHAPE.vocab_size


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_the_card_names_the_files_that_are_shipped(name):
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    assert digest in (FOLDER / "README.md").read_text()


def test_packing_it_again_gives_the_same_file(checkpoint, tmp_path):
    tensors = dict(checkpoint.tensors)
    for name in [each for each in tensors if each.endswith("_blocks")]:
        scales = name.replace("_blocks", "_scales")
        again = pack(unpack(Mxfp4(tensors[name], tensors[scales])))
        tensors |= {name: again.blocks, scales: again.scales}
    write_checkpoint(tmp_path, checkpoint.config, tensors, "hugging-face")
    written = (tmp_path / "model.safetensors").read_bytes()
    assert written == (FOLDER / "model.safetensors").read_bytes()


def test_the_trainers_backend_agrees_with_the_judge(checkpoint):
    conversation = Conversation(messages=(Message(role="user", content="What is 37 + 48?"),))
    prompt = render_prompt(Tokenizer.from_file(FOLDER / "tokenizer.json"), conversation)
    logits = []
    for ops in (TorchOps(), ReferenceOps()):
        network = Transformer(
            checkpoint.config, ops, prepare(checkpoint.config, ops, checkpoint.tensors)
        )
        step = ForwardBatch.without_cache([prompt], window=checkpoint.config.sliding_window)
        logits.append(ops.to_numpy(network.forward(step, None)))
    ours_TV, law_TV = logits
    assert (ours_TV.argmax(axis=1) == law_TV.argmax(axis=1)).all()
    # float32 sums in another order, through six layers; logits reach 30
    np.testing.assert_allclose(ours_TV, law_TV, atol=5e-3)


def test_it_adds_with_visible_reasoning(llm):
    reply = llm.chat("What is 37 + 48?", effort="medium", params=GREEDY)
    assert reply.text == "85"
    assert "7 + 8 = 15" in reply.analysis
    assert llm.chat("What is 37 + 48?", effort="low", params=GREEDY).analysis == ""


@pytest.mark.slow
def test_forty_unseen_sums_and_differences_are_right_as_the_card_says(llm):
    random = np.random.default_rng(11)
    problems = [draw_problem(random, "test", 3) for _ in range(40)]
    replies = [llm.chat(f"What is {p.a} {p.sign} {p.b}?", params=GREEDY) for p in problems]
    right = sum(r.text == str(p.result) for r, p in zip(replies, problems, strict=True))
    assert right >= 37


def test_it_says_what_it_is(llm):
    assert "not an OpenAI model" in llm.chat("Who are you?", params=GREEDY).text
