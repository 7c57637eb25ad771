"""Speed, measured through the engine."""

import json

SMALL = ("--prefill", 8, "--prefill", 24, "--decode", 4, "--batch", 1, "--batch", 3, "--depth", 5)


def test_the_report_has_what_was_asked_for(ossia, mute_folder):
    ran = ossia("bench", "-m", mute_folder, "--backend", "reference", "--json", *SMALL)
    assert ran.err == ""
    found = json.loads(ran.out)
    assert list(found) == [
        "model",
        "backend",
        "isa",
        "threads",
        "load_seconds",
        "peak_rss_bytes",
        "prefill",
        "decode",
    ]
    assert found["backend"] == "reference"
    assert found["load_seconds"] > 0
    assert found["peak_rss_bytes"] > 10_000_000
    assert [each["tokens"] for each in found["prefill"]] == [8, 24]
    keys = ("tokens", "batch", "depth")
    assert [tuple(each[key] for key in keys) for each in found["decode"]] == [(4, 1, 5), (4, 3, 5)]
    assert all(each["tokens_per_second"] > 0 for each in found["prefill"] + found["decode"])


def test_people_read_the_same(ossia, mute_folder):
    shown = ossia("bench", "-m", mute_folder, "-q", *SMALL).out
    assert "read 24" in shown
    assert "write 3 x 4 after 5" in shown
    assert shown.count("tokens/s") == 4


def test_the_cpu_backend_names_its_machine(ossia, mute_folder):
    options = ("--backend", "cpu", "--threads", 2, "--isa", "plain")
    found = json.loads(ossia("bench", "-m", mute_folder, "--json", *options, *SMALL).out)
    assert (found["backend"], found["isa"], found["threads"]) == ("cpu", "plain", 2)


def test_a_context_too_short_for_the_work_is_refused(ossia, mute_folder):
    ran = ossia("bench", "-m", mute_folder, "-q", "--context-length", 16, *SMALL)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "raise --context-length" in ran.err
