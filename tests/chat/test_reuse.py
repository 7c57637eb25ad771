"""What a conversation has read already is not read again, whichever way it goes on."""

import dataclasses

import pytest

from ossia import LLM, EngineOptions, FunctionTool, SamplingParams
from ossia.chat.events import Timing
from ossia.harmony.render import num_instruction_tokens

PARAMS = SamplingParams(temperature=0, max_tokens=30)


@pytest.fixture
def llm(folder):
    with LLM(str(folder), engine=EngineOptions(context_length=2048)) as llm:
        yield llm


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def test_the_next_turn_reads_what_came_after_the_last_question(llm):
    first = llm.chat([user("Hi")], params=PARAMS)
    assert first.usage.cached_tokens == 0
    longer = [user("Hi"), assistant("Hello."), user("And now?")]
    second = llm.chat(longer, params=PARAMS)
    assert first.usage.prompt_tokens <= second.usage.cached_tokens
    third = llm.chat([*longer, assistant("Bye."), user("Why?")], params=PARAMS)
    assert second.usage.prompt_tokens <= third.usage.cached_tokens


def test_another_conversation_shares_what_the_model_is_told(llm):
    llm.chat("What is a fugue?", params=PARAMS, instructions="Be brief.")
    other = llm.chat("Hi", params=PARAMS, instructions="Be brief.")
    spoken = llm.conversation("Hi", instructions="Be brief.")
    assert other.usage.cached_tokens == num_instruction_tokens(llm.tokenizer, spoken)


def test_the_same_question_again_is_answered_at_once_and_alike(llm):
    first, again = (llm.chat("Hi", params=PARAMS) for _ in range(2))
    assert again.usage.cached_tokens >= again.usage.prompt_tokens - 1
    assert (again.text, again.analysis) == (first.text, first.analysis)


def test_a_raw_text_goes_on_after_its_answer(llm):
    first = llm.generate([5] * 70, PARAMS)
    more = llm.generate([5] * 70 + first.token_ids + [6], PARAMS)
    assert more.usage.cached_tokens == 70 + len(first.token_ids) - 1


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_turns_under_the_output_grammar_are_the_same_with_guesses_and_without(folder, temperature):
    tool = FunctionTool(name="f", parameters={"type": "object", "properties": {}})
    found = []
    for speculate in (True, False):
        options = EngineOptions(context_length=2048, speculate=speculate)
        with LLM(str(folder), engine=options) as llm:
            found.append(
                [
                    dataclasses.replace(
                        llm.chat(
                            "la la la la la " * 4,
                            params=SamplingParams(
                                temperature=temperature, seed=seed, max_tokens=80, logprobs=1
                            ),
                            max_analysis_tokens=30,
                            tools=[tool],
                        ),
                        timing=Timing(),
                        tool_calls=[],  # their names are drawn anew each time
                    )
                    for seed in range(4)
                ]
            )
    assert found[0] == found[1]
