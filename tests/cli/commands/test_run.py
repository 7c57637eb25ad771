"""One question, one answer, from end to end on a tiny random model."""

import json
import signal
import subprocess
import sys

import pytest

FEW = ("--max-tokens", 40, "--seed", 1)
FOREVER = ("--temperature", "0")


def test_the_answer_is_on_stdout_and_the_thinking_on_stderr(ossia, folder):
    ran = ossia("run", "Hi", "-m", folder, *FEW)
    assert ran.code == 0
    assert ran.out.strip()
    assert ran.err.startswith("thinking:\n")
    assert "cut off after 40 tokens; raise --max-tokens" in ran.err
    assert ran.out.strip() not in ran.err


def test_json_is_one_object_with_exactly_these_keys(ossia, folder):
    ran = ossia("run", "Hi", "-m", folder, "--json", *FEW)
    assert (ran.err, ran.out.count("\n")) == ("", 1)
    found = json.loads(ran.out)
    assert list(found) == [
        "model", "text", "analysis", "tool_runs", "finish_reason", "usage", "timing",
    ]  # fmt: skip
    assert list(found["usage"]) == [
        "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens",
    ]  # fmt: skip
    assert list(found["timing"]) == ["time_to_first_token", "tokens_per_second"]
    assert found["model"] == str(folder)
    assert found["usage"]["completion_tokens"] == 40
    assert found["finish_reason"] == "length"
    assert min(found["timing"].values()) > 0


def test_the_same_seed_gives_the_same_answer_streamed_or_not(ossia, folder):
    streamed = ossia("run", "Hi", "-m", folder, *FEW)
    whole = json.loads(ossia("run", "Hi", "-m", folder, "--json", *FEW).out)
    assert streamed.out.rstrip("\n") == whole["text"].rstrip("\n")
    assert whole["analysis"] in streamed.err
    other = json.loads(ossia("run", "Hi", "-m", folder, "--json", *FEW[:3], 2).out)
    assert other["text"] != whole["text"]


def test_piped_text_is_read_with_the_argument(ossia, folder):
    def prompt_tokens(*args, stdin=""):
        ran = ossia("run", *args, "-m", folder, "--json", *FEW, stdin=stdin)
        return json.loads(ran.out)["usage"]["prompt_tokens"]

    both = prompt_tokens("Hi", stdin="there\n")
    assert both == prompt_tokens("Hi\n\nthere") == prompt_tokens(stdin="Hi\n\nthere")
    assert both == prompt_tokens("Hi") + len("\n\nthere")  # one token a byte


def test_raw_sends_the_text_alone(ossia, folder):
    ran = ossia("run", "abc", "-m", folder, "--raw", "--json", *FEW)
    found = json.loads(ran.out)
    assert found["usage"]["prompt_tokens"] == 3
    assert found["analysis"] == ""
    streamed = ossia("run", "abc", "-m", folder, "--raw", *FEW)
    assert streamed.out.rstrip("\n") == found["text"].rstrip("\n")


def test_instructions_effort_and_date_reach_the_prompt(ossia, folder):
    def prompt_tokens(*args):
        ran = ossia("run", "Hi", "-m", folder, "--json", *FEW, *args)
        return json.loads(ran.out)["usage"]["prompt_tokens"]

    plain = prompt_tokens()
    assert prompt_tokens("--effort", "low") == plain - len("medium") + len("low")
    assert prompt_tokens("--system", "Be short.") > plain + len("Be short.")
    assert prompt_tokens("--date", "2026-02-03") > plain + len("2026-02-03")


def test_thinking_can_be_cut_and_hidden(ossia, folder):
    none = json.loads(
        ossia("run", "Hi", "-m", folder, "--json", "--max-analysis-tokens", 0, *FEW).out
    )
    assert none["analysis"] == ""
    assert ossia("run", "Hi", "-m", folder, "--hide-thinking", "-q", *FEW).err == ""


def test_quiet_says_nothing_but_the_answer(ossia, folder):
    ran = ossia("run", "Hi", "-m", folder, "-q", *FEW)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip()


def test_verbose_says_how_long_it_took(ossia, folder):
    ran = ossia("run", "Hi", "-m", folder, "--verbose", *FEW)
    assert all(f"ossia: {what} " in ran.err for what in ("load", "prompt", "answer"))
    assert "ended by length" in ran.err


def test_a_stop_string_ends_the_answer(ossia, folder):
    whole = json.loads(ossia("run", "Hi", "-m", folder, "--json", *FEW).out)["text"]
    letter = next(one for one in whole[3:] if one.isalnum() and one not in whole[:3])
    cut = json.loads(ossia("run", "Hi", "-m", folder, "--json", *FEW, "--stop", letter).out)
    assert cut["text"] == whole.partition(letter)[0]
    assert cut["finish_reason"] == "stop"


def test_a_prompt_that_does_not_fit_is_refused_in_one_line(ossia, folder):
    ran = ossia("run", "x" * 300, "-m", folder, "-q", "--context-length", 128)
    assert (ran.code, ran.out) == (1, "")
    assert "but the context window holds 128" in ran.err
    assert ran.err.count("\n") == 1


def test_a_context_beyond_the_model_is_refused(ossia, folder):
    ran = ossia("run", "x", "-m", folder, "-q", "--context-length", "1m")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "1048576; this model takes 1 to 131072" in ran.err


def test_a_folder_without_a_tokenizer_is_refused_in_one_line(ossia, mute_folder):
    ran = ossia("run", "x", "-m", mute_folder)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "has no tokenizer.json" in ran.err


def test_the_embedded_model_says_what_it_is(ossia):
    ran = ossia("run", "What is 1 + 1?", "--max-tokens", 8)
    assert ran.code == 0
    assert "nano is a tiny demonstration model" in ran.err
    assert "demonstration" not in ossia("run", "Hi", "-q", "--max-tokens", 8).err


@pytest.mark.slow
def test_an_interruption_ends_with_status_130_and_no_trace(endless_folder):
    command = [sys.executable, "-m", "ossia", "run", "Hi", *FOREVER, "-m", str(endless_folder)]
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **how) as process:
        assert process.stderr.readline() == "thinking:\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err + out


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_in_peace(endless_folder):
    options = ("--raw", "-q", *FOREVER, "-m", str(endless_folder))
    command = [sys.executable, "-m", "ossia", "run", "Hi", *options]
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **how) as process:
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == b""
