"""Speed, measured through the engine."""

import dataclasses
import json
import os
import subprocess
import sys
from itertools import product

import pytest

from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia import LLM, OpsOptions
from ossia.checkpoint import counts, write_checkpoint
from ossia.cli.commands import bench as ossia_bench
from ossia.cli.measure import token_bytes
from ossia.engine.approximate_sampler import TARGET_CANDIDATES

SMALL = ("--prefill", "8,24", "--decode", "2,4", "--batch", "1,3", "--depth", "5,70")


@pytest.fixture(scope="module")
def found(mute_folder):
    """One run as a process of its own."""
    command = [sys.executable, "-m", "ossia", "bench", "-m", str(mute_folder), "--json", *SMALL]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OSSIA_")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=env, timeout=50)
    assert ran.stderr == ""
    return json.loads(ran.stdout)


@pytest.fixture
def quick(monkeypatch, ossia, mute_folder):
    """The command in this process; memory is not measured."""
    monkeypatch.setattr(ossia_bench, "measured_apart", lambda threads: 2e10)
    return lambda *options: ossia("bench", "-m", mute_folder, *options)


@pytest.mark.slow  # it waits for the run
def test_the_report_has_what_was_asked_for(found):
    assert list(found) == [
        "model",
        "backend",
        "isa",
        "weights",
        "threads",
        "load_seconds",
        "time_to_first_token",
        "peak_rss_bytes",
        "prefill",
        "decode",
        "bytes_per_token",
        "dram_read_bytes_per_second",
        "roofline_share",
    ]
    assert 0 < found["load_seconds"] < found["time_to_first_token"]
    assert [each["tokens"] for each in found["prefill"]] == [8, 24]
    assert all(each["tokens_per_second"] > 0 for each in found["prefill"] + found["decode"])


def test_every_combination_is_written(found):
    keys = ("depth", "batch", "tokens")
    written = [tuple(each[key] for key in keys) for each in found["decode"]]
    assert written == list(product((5, 70), (1, 3), (2, 4)))


def test_memory_is_read_at_1_to_1000_gigabytes_a_second(found):
    assert 1e9 < found["dram_read_bytes_per_second"] < 1e12


def test_what_measures_memory_is_not_counted_as_the_models_memory(found):
    assert 10_000_000 < found["peak_rss_bytes"] < 500_000_000


def test_the_roofline_share_is_of_the_first_request_that_wrote_alone(found):
    rate = found["decode"][0]["tokens_per_second"]
    share = rate * found["bytes_per_token"] / found["dram_read_bytes_per_second"]
    assert found["roofline_share"] == pytest.approx(share)


def test_without_a_request_alone_there_is_no_roofline_share(quick):
    assert json.loads(quick("--json", *SMALL, "--batch", 3).out)["roofline_share"] is None


def test_people_read_the_same(quick):
    shown = quick("-q", *SMALL).out
    assert "to the first token" in shown
    assert "read 24" in shown
    assert "write 3 x 4 after 70" in shown
    assert shown.count("tokens/s") == 10


def test_thousands_may_be_written_short(quick):
    found = json.loads(quick("--json", *SMALL, "--prefill", "1k").out)
    assert [each["tokens"] for each in found["prefill"]] == [1024]


@pytest.mark.parametrize("wrong", ["8,", "0", "x", "-1", "1,,2"])
def test_what_is_no_list_of_numbers_is_refused(quick, wrong):
    ran = quick(f"--prefill={wrong}")
    assert ran.code == 2
    assert "--prefill" in ran.err


def test_too_many_requests_at_once_are_refused(quick):
    ran = quick("--batch", "1,257")
    assert ran.code == 2
    assert "at most 256" in ran.err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            ("--backend", "cpu", "--threads", 2, "--isa", "plain", "--weights", "bf16"),
            ("cpu", "plain", "bf16", 2),
        ),
        (("--backend", "reference"), ("reference", None, None, os.cpu_count())),
    ],
)
def test_what_did_the_work_is_named(quick, options, named):
    found = json.loads(quick("--json", *options, "--decode", 1, "--prefill", 1, "--depth", 1).out)
    keys = ("backend", "isa", "weights", "threads")
    assert tuple(found[key] for key in keys) == named


def test_a_context_too_short_for_the_work_is_refused(quick):
    ran = quick("-q", "--context-length", 16, *SMALL)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "raise --context-length" in ran.err


@pytest.mark.parametrize(("weights", "bits"), [("int8", 8.5), ("lean", 4.25)])
def test_rounded_attention_counts_as_it_is_kept(mute_folder, weights, bits):
    """A scale of 16 bits for 32 values, or of 8; the experts stay packed, a small head exact."""
    with LLM(str(mute_folder), backend="cpu", ops=OpsOptions(weights=weights)) as llm:
        config = llm.config
        rows = 2 * (config.num_attention_heads + config.num_key_value_heads) * config.head_dim
        attention = config.num_hidden_layers * rows * config.hidden_size
        published = counts.decoded_token_bytes(config) + 2 * config.hidden_size
        assert token_bytes(llm) == published - attention * (16 - bits) / 8


def test_a_scanned_head_counts_as_its_scan_and_the_rows_scored_exactly(tmp_path):
    def read(rows):
        config = dataclasses.replace(SHAPES["tiny"], vocab_size=rows)
        folder = tmp_path / str(rows)
        write_checkpoint(folder, config, random_tensors(config, 0), "hugging-face")
        with LLM(str(folder), backend="cpu", ops=OpsOptions(weights="int8")) as llm:
            return token_bytes(llm), config.hidden_size

    (small, width), (large, _) = read(512), read(1 << 15)
    assert (
        large - small
        == (1 << 15) * width * 17 // 32 + TARGET_CANDIDATES * width * 2 - 512 * width * 2
    )


def test_weights_as_published_are_counted_as_published(mute_folder):
    with LLM(str(mute_folder), backend="reference") as llm:
        final_norm = 2 * llm.config.hidden_size
        assert token_bytes(llm) == counts.decoded_token_bytes(llm.config) + final_norm


def test_memory_of_the_program_that_starts_it_is_not_counted(mute_folder):
    ballast = b"x" * 700_000_000  # what a fat parent holds would be inherited as the peak
    command = [sys.executable, "-m", "ossia", "bench", "-m", str(mute_folder), "--json", *SMALL[:4]]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=50)
    assert json.loads(ran.stdout)["peak_rss_bytes"] < len(ballast)
