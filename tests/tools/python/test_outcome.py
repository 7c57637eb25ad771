"""What is told of a cell, and which files go along, whatever the sandbox claims."""

import base64

import pytest
from openai.types.responses.response_code_interpreter_tool_call import Output
from pydantic import TypeAdapter

from ossia.tools.python.outcome import MAX_IMAGE_BYTES, MAX_IMAGES, result
from ossia.tools.python.sandboxes import Limits

ANSWER = {
    "ended": "finished", "text": "", "files": [], "left": 0, "status": None, "is_alive": True,
}  # fmt: skip


def outcome(lost=False, **answer):
    return result({**ANSWER, **answer}, Limits(), seconds=120, lost=lost)


def file_of(name, content=b"x"):
    return {"name": name, "size": len(content), "content": base64.b64encode(content).decode()}


def test_silence_is_said():
    assert outcome().text == "(nothing was printed)"
    assert not outcome().is_error


def test_a_loss_comes_first():
    assert (
        outcome(lost=True, text="4\n").text
        == "The interpreter was restarted; variables are lost.\n4"
    )


@pytest.mark.parametrize(
    ("ended", "answer"),
    [
        ("time", "after 120 seconds"),
        ("cpu", "60 seconds of processor time"),
        ("memory", "more than 1024 MiB"),
        ("processes", "more than 32 processes"),
        ("files", "more than 65536 files"),
        ("disk", "more than 256 MiB"),
        ("output", "more than 1024 KiB"),
        ("cancelled", "not waited for"),
        ("breach", "no result"),
    ],
)
def test_each_bound_is_told_with_what_became_of_variables(ended, answer):
    alive, lost = outcome(ended=ended), outcome(ended=ended, is_alive=False)
    assert alive.is_error
    assert answer in alive.text
    assert alive.text.endswith("Variables are kept.]")
    assert lost.text.endswith("Variables are lost.]")


@pytest.mark.parametrize(
    ("status", "answer"),
    [(-11, "by signal 11"), (139, "by signal 11"), (3, "exit status 3"), (None, "without a word")],
)
def test_an_end_is_told_with_its_cause(status, answer):
    assert answer in outcome(ended="died", status=status, is_alive=False).text


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("/abs/olute", "olute"),
        ("..", "file"),
        (".hidden", "hidden"),
        ("a\nb\x1b[0m\u202ex", "a_b__0m_x"),
        ("x" * 500, "x" * 200),
    ],
)
def test_names_are_one_plain_part(claimed, name):
    result = outcome(files=[file_of(claimed)])
    assert [each.name for each in result.attachments] == [name]
    assert result.text.count("\n") == 1


def test_equal_names_are_told_apart():
    result = outcome(files=[file_of("a/x.txt"), file_of("b/x.txt")])
    assert [each.name for each in result.attachments] == ["x.txt", "2-x.txt"]


@pytest.mark.parametrize(
    "claimed",
    [{}, {"name": 3, "size": 1}, {"name": "x", "size": "1"}, {"name": None, "size": None}],
)
def test_claims_of_the_wrong_form_are_passed_over(claimed):
    assert outcome(files=[claimed]).text == "(nothing was printed)"


def test_a_file_whose_content_is_garbled_is_only_named():
    result = outcome(files=[{"name": "x", "size": 1, "content": "***"}])
    assert result.attachments == ()
    assert "/mnt/data/x (1 bytes)" in result.text


def test_many_files_are_counted():
    result = outcome(files=[{"name": str(number), "size": 1} for number in range(30)])
    assert "/mnt/data/19 (1 bytes); 10 more]" in result.text


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def test_small_pictures_stand_among_the_outputs_as_clients_show_them():
    files = [file_of("a.png", PNG), file_of("b.png", b"no picture"), file_of("c", b"\xff\xd8\xff")]
    logs, png, jpeg = outcome(text="x", files=files).details["outputs"]
    assert logs == {"type": "logs", "logs": "x"}
    assert png["type"] == "image"
    head, _, encoded = png["url"].partition(",")
    assert (head, base64.b64decode(encoded)) == ("data:image/png;base64", PNG)
    assert jpeg["url"].startswith("data:image/jpeg;base64,")
    adapter = TypeAdapter(list[Output])
    assert [each.type for each in adapter.validate_python([logs, png, jpeg])] == [
        "logs", "image", "image",
    ]  # fmt: skip


def test_large_pictures_and_what_could_run_stay_out():
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"
    large = PNG + bytes(MAX_IMAGE_BYTES)
    outputs = outcome(files=[file_of("a.svg", svg), file_of("b.png", large)]).details["outputs"]
    assert [each["type"] for each in outputs] == ["logs"]
    many = [file_of(f"{number}.png", PNG) for number in range(8)]
    assert len(outcome(files=many).details["outputs"]) == 1 + MAX_IMAGES
