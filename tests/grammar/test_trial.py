import io
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

from ossia.errors import RequestError
from ossia.grammar import trial as trial_file
from ossia.grammar.json_schema import CheckedSchema, checked
from ossia.grammar.judge import judge
from ossia.grammar.trial import Trial

GOOD = checked({"type": "object"}, path="text.format.schema")


def fault_of(trial, schema):
    with pytest.raises(RequestError) as caught:
        trial.judge(checked(schema, path="tools[0].parameters"))
    assert caught.value.code == "invalid_json_schema"
    return caught.value.param, str(caught.value)


def test_a_good_schema_passes(trial):
    trial.judge(GOOD)


def test_a_fault_is_told_by_its_place_and_never_in_the_engines_words(trial):
    where, message = fault_of(trial, {"properties": {"a": {"type": "string", "pattern": "x^y"}}})
    assert where == "tools[0].parameters.properties.a.pattern"
    assert "x^y" not in message
    assert "regex" not in message


def test_a_verdict_is_remembered_and_told_of_each_place(trial):
    schema = {"type": "integer", "minimum": 3, "maximum": 2}
    for path in ("a", "b"):
        with pytest.raises(RequestError) as caught:
            trial.judge(checked(schema, path=path))
        assert caught.value.param == path


def test_only_so_many_verdicts_are_kept(monkeypatch):
    monkeypatch.setattr(trial_file, "MAX_VERDICTS", 2)
    with Trial() as one:
        for limit in range(4):
            one.judge(checked({"type": "string", "maxLength": limit}, path=""))
        assert len(one._verdicts) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_process_that_does_not_answer_is_killed_and_replaced():
    with Trial(seconds=0.3) as one:
        one.judge(GOOD)
        stopped = one._judges[0].process
        os.kill(stopped.pid, signal.SIGSTOP)
        os.waitpid(stopped.pid, os.WUNTRACED)
        where, message = fault_of(one, {"type": "string"})
        assert stopped.poll() is not None
        assert (where, "too long" in message) == ("tools[0].parameters", True)
        one.judge(checked({"type": "integer"}, path=""))
        assert one._judges[0].process.pid != stopped.pid


def test_a_process_that_died_is_replaced():
    with Trial() as one:
        one.judge(GOOD)
        dead = one._judges[0].process
        dead.kill()
        dead.wait()
        one.judge(checked({"type": "string"}, path=""))
        assert one._judges[0].process.pid != dead.pid


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_process_that_dies_at_work_takes_its_schema_with_it():
    with Trial(seconds=20) as one:
        one.judge(GOOD)
        busy = one._judges[0].process
        os.kill(busy.pid, signal.SIGSTOP)
        os.waitpid(busy.pid, os.WUNTRACED)
        end = threading.Timer(0.2, busy.kill)
        end.start()
        fault_of(one, {"type": "string"})
        end.join()
        one.judge(checked({"type": "string"}, path=""))  # tried anew


def test_an_interrupt_at_the_terminal_is_not_for_it(trial):
    trial.judge(checked({"type": "null"}, path=""))
    assert os.getsid(trial._judges[0].process.pid) != os.getsid(0)


def test_a_process_that_cannot_start_is_said_to_be_our_fault(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Trial() as one, pytest.raises(RuntimeError, match="did not start"):
        one.judge(GOOD)


def test_a_closed_trial_starts_again_when_asked():
    one = Trial()
    one.judge(GOOD)
    process = one._judges[0].process
    one.close()
    assert process.poll() is not None
    one.judge(checked({"type": "string"}, path=""))
    one.close()


def test_threads_take_turns(trial):
    passed = []

    def ask(limit):
        trial.judge(checked({"type": "string", "maxLength": 100 + limit}, path=""))
        passed.append(limit)

    threads = [threading.Thread(target=ask, args=(limit,)) for limit in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == list(range(8))


def test_the_judge_answers_line_by_line():
    bad = checked({"type": "integer", "minimum": 3, "maximum": 2}, path="").text
    answers = io.StringIO()
    judge([json.dumps(GOOD.text), json.dumps(bad)], answers, seconds=20)
    assert [json.loads(line) for line in answers.getvalue().splitlines()] == [
        [None, []],
        ["empty", ["0"]],
    ]


HOSTILE = [
    {"type": "string", "pattern": "(a+)+$"},
    {"type": "string", "pattern": "^(x{1,1000}){1,1000}$"},
    {"type": "string", "pattern": "^" + "a?" * 2000 + "a" * 2000 + "$"},
    {"type": "string", "pattern": "(.*a.{20}){3}"},
    {"anyOf": [{"type": "object", "properties": {f"p{i}": {"const": j} for i in range(100)}}
               for j in range(20)]},
    {"allOf": [{"anyOf": [{"type": "string", "pattern": f"a{i}|b{j}"} for i in range(12)]}
               for j in range(8)]},
    {"properties": {f"p{i}": {"type": "string"} for i in range(1000)}},
    {"type": "array", "minItems": 4096, "maxItems": 4096,
     "items": {"type": "array", "maxItems": 4096, "minItems": 4096}},
    {"enum": [f"value {i}" for i in range(3000)]},
    {"allOf": [{"type": "integer", "multipleOf": step} for step in (9973, 9967, 9949, 9941)]},
]  # fmt: skip


@pytest.mark.parametrize("schema", HOSTILE)
def test_a_hostile_schema_is_judged_in_time_by_a_process_that_may_die(trial, schema):
    checked_schema = checked(schema, path="text.format.schema")
    started = time.monotonic()
    with suppress(RequestError):
        trial.judge(checked_schema)
    trial.judge(checked({"type": "object", "title": "new"}, path=""))
    assert time.monotonic() - started < 6  # 2 s of trial, and a new process on a busy machine


# past the door, where each of these is refused
BEYOND = {
    "time": {"type": "integer", "multipleOf": 999_983},
    "stack": {"type": "object", "properties": {f"p{i}": True for i in range(5_000)}},
    "memory": {"enum": [f"v{i}" for i in range(500_000)]},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beyond", "seconds", "megabytes"),
    [("time", 0.3, 512), ("stack", 30, 512), ("memory", 30, 140)],
)
def test_a_schema_beyond_a_limit_costs_only_its_process(beyond, seconds, megabytes):
    text = json.dumps({"$ref": "#/$defs/0", "$defs": {"0": BEYOND[beyond]}})
    with Trial(seconds=seconds, megabytes=megabytes) as one:
        with pytest.raises(RequestError, match="too long or too much memory"):
            one.judge(CheckedSchema(text, "s", ("s",)))
        one.judge(GOOD)
