"""`LLM` whole: a random tiny checkpoint with a byte tokenizer, on the real engine."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from benchmarks.byte_tokenizer import NUM_IDS
from benchmarks.random_checkpoint import random_tensors
from ossia import LLM, EngineOptions, FunctionTool, OpsOptions, SamplingParams
from ossia.chat.events import Finished, PartFinished, TextDelta
from ossia.checkpoint import write_checkpoint
from ossia.errors import CheckpointError, ContextOverflow, RequestError, UnsupportedDevice
from tests.chat.conftest import CONFIG

TOOL = FunctionTool(name="f", parameters={"type": "object", "properties": {}})


@pytest.fixture(scope="module")
def llm(folder):
    exact = OpsOptions(weights="bf16")
    with LLM(str(folder), ops=exact, engine=EngineOptions(context_length=1024)) as llm:
        yield llm


def test_a_random_model_thinks_and_answers(llm):
    reply = llm.chat("Hi", params=SamplingParams(seed=1, max_tokens=300), max_analysis_tokens=20)
    assert reply.finish_reason in ("stop", "length")
    assert reply.analysis
    assert reply.text
    assert reply.usage.prompt_tokens == len(llm.render("Hi"))
    assert 20 <= reply.usage.reasoning_tokens < reply.usage.completion_tokens <= 300
    assert reply.timing.tokens_per_second > 0


def test_the_same_seed_gives_the_same_answer(llm):
    params = SamplingParams(seed=3, max_tokens=60)
    assert llm.chat("Hi", params=params).text == llm.chat("Hi", params=params).text


def test_a_stream_is_what_its_sum_is_made_of(llm):
    params = SamplingParams(seed=4, max_tokens=80)
    *events, end = llm.stream("Hi", params=params, max_analysis_tokens=0)
    assert isinstance(end, Finished)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == llm.chat("Hi", params=params, max_analysis_tokens=0).text


def test_a_closed_stream_gives_nothing_more(llm):
    stream = llm.stream("Hi", params=SamplingParams(seed=5), max_analysis_tokens=0)
    next(stream)
    stream.close()
    assert all(isinstance(event, TextDelta | PartFinished | Finished) for event in stream)
    assert llm.chat("Hi", params=SamplingParams(max_tokens=20)).usage.completion_tokens <= 20


def test_a_tool_can_be_asked_for(llm):
    found = set()
    for seed in range(12):
        params = SamplingParams(seed=seed, max_tokens=50)
        reply = llm.chat("Hi", tools=[TOOL], params=params, max_analysis_tokens=0)
        found |= {call.name for call in reply.tool_calls}
    assert found == {"f"}


def test_the_prompt_is_rendered_as_harmony(llm):
    shown = llm.tokenizer.decode(
        llm.render("Hi", effort="high", instructions="Be brief.", date="2026-01-02")
    )
    assert shown.startswith("<|start|>system<|message|>")
    assert "Reasoning: high" in shown
    assert "Current date: 2026-01-02" in shown
    assert "# Instructions\n\nBe brief." in shown
    assert shown.endswith("<|start|>user<|message|>Hi<|end|><|start|>assistant")


def test_logprobs_come_with_the_answer(llm):
    params = SamplingParams(seed=6, max_tokens=60, logprobs=2)
    reply = llm.chat("Hi", params=params, max_analysis_tokens=0)
    assert reply.logprobs
    assert all(len(one.top) == 2 and one.logprob <= 0 for one in reply.logprobs)


def test_raw_text_is_continued_without_the_harmony_format(llm):
    completion = llm.generate("abc", SamplingParams(temperature=0, max_tokens=16))
    assert len(completion.token_ids) == 16
    assert completion.text == llm.tokenizer.decode(completion.token_ids)
    assert completion.finish_reason == "length"
    ids = [*b"abc", *completion.token_ids]
    likeliest = llm.logits(ids)[2:-1, :NUM_IDS].argmax(axis=1)
    assert completion.token_ids == likeliest.tolist()


def test_raw_text_can_be_streamed(llm):
    params = SamplingParams(temperature=0, max_tokens=16)
    *pieces, end = llm.generate_stream("abc", params)
    assert "".join(piece.text for piece in pieces) == llm.generate("abc", params).text
    assert end.usage.completion_tokens == 16


def test_a_raw_stop_string_ends_before_itself(llm):
    whole = llm.generate("abc", SamplingParams(temperature=0, max_tokens=16))
    stop = whole.text[4:6]
    cut = llm.generate("abc", SamplingParams(temperature=0, max_tokens=16, stop=[stop]))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


def test_logits_are_those_of_the_judge(llm, folder):
    ids = list(b"How far is it to the moon?" * 5)
    with LLM(str(folder), backend="reference") as judge:
        # logits near 10, float32 sums in another order
        np.testing.assert_allclose(llm.logits(ids), judge.logits(ids), rtol=0, atol=2e-4)


def test_keys_in_bfloat16_stay_near(llm, folder):
    ids = list(b"How far is it to the moon?" * 5)
    options = OpsOptions(weights="bf16", kv_dtype="bfloat16")
    with LLM(str(folder), ops=options) as rounded:
        found, exact = rounded.logits(ids), llm.logits(ids)
    distance = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 0 < distance < 0.02


def test_many_threads_get_the_answers_they_would_get_alone(llm):
    params = [SamplingParams(seed=seed, max_tokens=40) for seed in range(6)]
    alone = [llm.chat("Hi", params=each).text for each in params]
    found = [""] * 6

    def ask(place):
        found[place] = llm.chat("Hi", params=params[place]).text

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_a_folder_without_a_tokenizer_opens_for_work_in_ids(tmp_path):
    write_checkpoint(tmp_path / "m", CONFIG, random_tensors(CONFIG, 1), "original")
    with LLM(str(tmp_path / "m")) as llm:
        assert llm.logits([1, 2, 3]).shape == (3, CONFIG.vocab_size)
        assert len(llm.generate([1, 2], SamplingParams(max_tokens=5)).token_ids) == 5
        with pytest.raises(RequestError, match=r"no tokenizer\.json"):
            llm.chat("Hi")


LEAVES_EARLY = """
from ossia import LLM, SamplingParams
llm = LLM({folder!r})
streams = [llm.generate_stream([1, 2], SamplingParams(seed=seed)) for seed in range(8)]
for stream in streams:
    next(stream)
{end}
"""


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "del llm"])
def test_a_program_may_end_while_answers_run(folder, end):
    script = LEAVES_EARLY.format(folder=str(folder), end=end)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_dropped_model_stops_its_engine_but_not_while_it_is_read(folder):
    stream = LLM(str(folder)).generate_stream([1, 2], SamplingParams(seed=1, max_tokens=20))
    assert list(stream)[-1].usage.completion_tokens == 20
    (thread,) = (
        each for each in threading.enumerate() if each is stream._stop.__self__._service._thread
    )
    del stream
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_refuses_what_does_not_fit(llm):
    with pytest.raises(ContextOverflow, match="shorten it"):
        llm.chat("x" * 2000)
    with pytest.raises(ContextOverflow):
        llm.logits([1] * 2000)
    with pytest.raises(RequestError, match="not one of this model's"):
        llm.logits([CONFIG.vocab_size])
    with pytest.raises(RequestError, match="max_analysis_tokens"):
        llm.chat("Hi", max_analysis_tokens=-1)
    with pytest.raises(RequestError, match="effort"):
        llm.chat("Hi", effort="maximal")


def test_refuses_a_model_that_is_not_here(tmp_path):
    with pytest.raises(CheckpointError, match="no model is called 'nothing'"):
        LLM("nothing")
    with pytest.raises(CheckpointError, match="hf download someone/something"):
        LLM("someone/something")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        LLM(str(tmp_path))


def test_refuses_a_scale_that_is_not_a_number(tmp_path):
    tensors = dict(random_tensors(CONFIG, 2))
    scales = tensors["layers.1.down_scales"].copy()
    scales[0, 3, 1] = 255
    write_checkpoint(
        tmp_path / "m", CONFIG, {**tensors, "layers.1.down_scales": scales}, "hugging-face"
    )
    with pytest.raises(CheckpointError, match=r"scale byte 255 .* at \[0, 3, 1\]"):
        LLM(str(tmp_path / "m"))


def test_refuses_a_backend_that_is_not_here(folder):
    with pytest.raises(UnsupportedDevice, match="choose reference, cpu, torch"):
        LLM(str(folder), backend="abacus")


def test_says_how_far_the_opening_is(folder):
    seen = []
    with LLM(str(folder), progress=lambda phase, share: seen.append((phase, share))):
        assert seen[0] == ("open", 0.0)
        assert seen[-1] == ("prepare", 1.0)
