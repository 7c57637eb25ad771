import json
import time

import pytest

from ossia.errors import RequestError
from ossia.grammar.content import GrammarCompiler
from ossia.grammar.text_grammar import checked_text
from tests.grammar.conftest import is_whole

BYTES = [bytes([byte]) for byte in range(256)]
PATH = "tools[2].format.definition"

PATCH = r"""
// what a file becomes, hunk by hunk
start: "*** Begin" LF hunk+ "*** End" LF?
hunk: ("+" | "-" | " ") line LF -> change
line: /[^\n]*/
%import common.LF
"""
NUMBERS = 'start: INT ("," INT)*\n%ignore / +/\n%import common.INT\n'


@pytest.fixture(scope="module")
def holds(grammars):
    """Whether a text is whole under a grammar, each of its bytes legal in its place."""

    return lambda syntax, definition, text: is_whole(
        grammars.compile_text(syntax, definition, path=PATH), text
    )


def refused(grammars, syntax, definition):
    with pytest.raises(RequestError) as caught:
        grammars.compile_text(syntax, definition, path=PATH)
    assert caught.value.param == PATH
    assert caught.value.code == "invalid_value"
    assert len(str(caught.value)) < 200
    assert "0x" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("syntax", "definition", "whole", "others"),
    [
        ("lark", PATCH, ["*** Begin\n+a\n-\n*** End", "*** Begin\n \n*** End\n"], ["", "+a\n"]),
        ("lark", NUMBERS, ["1", "1, 23 ,4"], ["1,", "a", ""]),
        ("lark", 'start: "é" ["a"] "b"i', ["éab", "éB"], ["éa"]),
        ("lark", 'start: "(@<%json" /[@<"]/ // @ <', ["(@<%json<"], ["x"]),
        ("regex", "^(a|b)+$", ["a", "abba"], ["", "c", "^a$"]),
        ("regex", "a/b", ["a/b"], ["a", r"a\/b"]),
        ("regex", r"a\/b\\", ["a/b\\"], ["a/b"]),
        ("regex", "a\nb", ["a\nb"], ["ab"]),
        ("regex", "a\\\nb", ["a\nb"], ["ab"]),
        ("regex", r"(?P<day>\d{1,2})\.(?i:jan|feb)", ["3.Jan", "31.FEB"], ["3", "3.mar"]),
        ("regex", r"[(?=]\(\?=[(\]]", ["=(?=]"], ["="]),
        ("regex", "(a+)+$", ["a", "aaaa"], ["", "ab"]),
    ],
)
def test_a_text_is_held_to_its_grammar(holds, syntax, definition, whole, others):
    assert [holds(syntax, definition, text) for text in whole] == [True] * len(whole)
    assert [holds(syntax, definition, text) for text in others] == [False] * len(others)


def test_what_can_only_end_ends(grammars):
    matcher = grammars.compile_text("regex", "ab?", path=PATH).start()
    assert not matcher.may_end
    matcher.accept(ord("a"))
    assert (matcher.may_end, matcher.must_end) == (True, False)
    matcher.accept(ord("b"))
    assert (matcher.may_end, matcher.must_end) == (True, True)


@pytest.mark.parametrize(
    ("syntax", "definition", "refusal"),
    [
        ("bnf", "a", "expected lark or regex"),
        ("regex", "", "has 0 bytes; expected 1 to 8192"),
        ("lark", " \n", "has 2 bytes; expected 1 to 8192"),
        ("lark", "start: /a/ // " + "é" * 4090, "has 8194 bytes"),
        ("regex", "\ud800", "lone surrogate"),
        ("regex", "(" * 30_000 + "a" + ")" * 30_000, "has 60001 bytes"),
        ("lark", "start: " + "(" * 30_000 + '"a"' + ")" * 30_000, "bytes; expected 1 to 8192"),
        ("regex", "(" * 201 + "a" + ")" * 201, "nests deeper than 200 brackets"),
        ("lark", "start: " + "(" * 201 + '"a"' + ")" * 201, "nests deeper than 200 brackets"),
        ("lark", "start: /" + "(" * 201 + "a" + ")" * 201 + "/", "nests deeper than 200"),
        ("lark", "start: " + "(" * 100 + '"a"' + ")" * 100, "at its line 1 is too complex"),
        ("regex", "(?=a)b", "looks around itself"),
        ("regex", "a(?!b)", "looks around itself"),
        ("regex", "(?<=a)b", "looks around itself"),
        ("lark", "start: /(?<!a)b/", "looks around itself"),
        ("regex", "(?x) a # b", "sets a flag m or x"),
        ("regex", r"(a)\1", "cannot be enforced; it is of Rust's kind"),
        ("regex", r"\bfoo\b", "without look-around, back-references and word boundaries"),
        ("regex", "[a", "a regex of this grammar at its line 1 cannot be enforced"),
        ("lark", 'start: a\na: /[a/', "a regex of this grammar at its line 2 cannot be enforced"),
        ("lark", "start: a\n", "cannot be read at its line 1; correct it"),
        ("lark", 'start: "a"\nb "c"\n', "cannot be read at its line 2; correct it"),
        ("lark", 'x: "a"', "cannot be read; correct it"),
        ("lark", "start: start", "no text matches this grammar"),
        ("lark", "start: A\nA: B\nB: A", "cannot be read at its line"),
        ("lark", 'start: %json {"type": "object"}', "has %json; only %ignore and %import"),
        ("lark", '%llguidance {"no_forcing": false}\nstart: "a"', "has %llguidance; only"),
        ("lark", "start: <|end|>", "has '<' outside of quotes"),
        ("lark", "start: <[5]>", "has '<' outside of quotes"),
        ("lark", "start: @body", "has '@' outside of quotes"),
        ("lark", "%import python.NAME\nstart: NAME", "cannot be read at its line 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_soon_and_by_its_place(
    grammars, syntax, definition, refusal
):
    started = time.thread_time()
    assert refusal in refused(grammars, syntax, definition)
    assert time.thread_time() - started < 0.5


BOMBS = {
    "counted twice": ("regex", "(x{1,1000}){1,1000}"),
    "exponential automaton": ("regex", "(a|b)*a" + "(a|b)" * 500),
    "optional chain": ("regex", "a?" * 2000 + "a" * 2000),
    "ambiguous": ("lark", 'start: s\ns: s s | s s s | "a" |'),
    "doubling": (
        "lark",
        "\n".join(["start: a0", *(f"a{n}: a{n + 1} a{n + 1}" for n in range(400)), 'a400: "x"?']),
    ),
    "many cases": ("lark", "start: " + " | ".join(f'"{n}"' for n in range(1000))),
    "counted widely": ("lark", 'start: a{1,1000000}\na: "x"'),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_or_held_within_bounds(grammars, bomb):
    syntax, definition = BOMBS[bomb]
    try:
        matcher = grammars.compile_text(syntax, definition, path=PATH).start()
        for _ in range(50):
            started = time.thread_time()
            legal = matcher.mask().nonzero()[0]
            assert time.thread_time() - started < 1.0
            if matcher.must_end:
                break
            matcher.accept(int(legal[0]))
    except RequestError as error:
        assert "simplify it" in str(error)  # noqa: PT017 - either will do


def test_what_takes_too_long_to_compile_is_told_as_a_grammar():
    text = checked_text("regex", "a", path=PATH)
    error = text.refused("killed", ())
    assert "this grammar takes too long" in str(error)
    assert error.param == PATH


def test_a_token_of_several_bytes_is_legal_where_all_of_them_are(trial):
    with GrammarCompiler(lambda: [*BYTES, b"ab"], vocab_size=260, trial=trial) as compiler:
        matcher = compiler.compile_text("regex", "ab|b", path=PATH).start()
        assert [at for at in range(257) if matcher.mask()[at]] == [97, 98, 256]


def test_a_grammar_is_compiled_once(grammars):
    one = grammars.compile_text("regex", "abc", path="a")
    assert grammars.compile_text("regex", "abc", path="b") is one
    assert json.loads(checked_text("regex", "a/b", path="").text) == {"lark": r"start: /a\/b/"}
