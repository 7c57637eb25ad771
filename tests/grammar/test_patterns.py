import json
import re

import pytest

from ossia.errors import RequestError
from ossia.grammar.patterns import MAX_NESTING, respelt

# what ECMA 262 says of a text, in Python's spelling where the two differ
MATCHING = [
    (r"^a\.b$", ["a.b"], ["axb"]),
    (r"a|b", ["xxbx", "a"], ["c", ""]),
    (r"^(?:a|b)+$", ["abba"], ["", "abc"]),
    (r"^(?<year>[0-9]{4})-(?<month>\d\d)$", ["2024-01"], ["24-01", "2024-1"]),
    (r"^(a)(b)?$", ["a", "ab"], ["b"]),
    (r"^a{2}$", ["aa"], ["a", "aaa"]),
    (r"^a{2,}$", ["aaaa"], ["a"]),
    (r"^a{1,2}?b*?$", ["ab", "aa"], ["aaa"]),
    (r"^a{,2}$", ["a{,2}"], ["a", "aa"]),
    (r"^{}]$", ["{}]"], ["}"]),
    (r"^.$", ["x", "é", "𝄞"], ["\n", "\r", "\u2028", "xx"]),
    (r"^[^]$", ["\n", "x"], [""]),
    (r"^[\s\S]$", ["\n", "x"], [""]),
    (r"^\s\S$", [" x", "\nx"], ["xx", "  "]),
    (r"^[a-c\d_-]+$", ["b7_-"], ["d", "[", "\\"]),
    (r"^[-a]$", ["-", "a"], ["b"]),
    (r"^[\w-.]$", ["-", ".", "x"], [","]),
    (r"^[a[&&~~b]$", ["[", "&", "~", "a"], ["c"]),
    (r"^[\]\\^]$", ["]", "\\", "^"], ["["]),
    (r"^[\-\b\n]$", ["-", "\b", "\n"], ["b"]),
    (r"^\x41B\u{43}\t$", ["ABC\t"], ["ABC"]),
    ("^\\uD834\\uDD1E$", ["𝄞"], ["x"]),
    (r"^\p{Lu}\P{Lu}$", ["Aa"], ["aA"]),
    (r"^\/\#\ \-@$", ["/# -@"], [""]),
    (r"^\D\W$", ["x "], ["1 ", "xx"]),
    (r"^[--0]$", ["-", ".", "0"], ["1"]),
    (r"^\S$", ["x"], ["\x85", "\ufeff", " "]),
    ("^\x01?$", [""], ["x"]),
    ("", ["", "anything"], []),
]


@pytest.mark.parametrize(("pattern", "yes", "no"), MATCHING)
def test_a_pattern_means_what_it_means_in_ecma(accepts, pattern, yes, no):
    schema = {"type": "string", "pattern": pattern}
    for text in yes:
        assert accepts(schema, json.dumps(text, ensure_ascii=False)), text
    for text in no:
        assert not accepts(schema, json.dumps(text, ensure_ascii=False)), text


@pytest.mark.parametrize("pattern", [r"^[A-Z]{2}\d{3,5}(-[a-f]+)?$", r"x+(yy|z)\.", r"^(a+)+$"])
def test_what_is_written_under_a_pattern_matches_it(written, pattern):
    for seed in range(20):
        text = written({"type": "string", "pattern": pattern, "maxLength": 40}, seed)
        assert text is None or re.search(pattern, text)


REFUSED = [
    ("(?=a)b", "looks around"),
    ("(?!a)b", "looks around"),
    ("(?<=a)b", "looks around"),
    ("(?<!a)b", "looks around"),
    ("(?i)a", "neither"),
    ("(?P<x>a)", "neither"),
    ("(?a", "neither"),
    (r"(a)\1", "refers back"),
    (r"\bfoo", "word boundary"),
    (r"\cA", "escape"),
    (r"\k<x>", "escape"),
    (r"\pL", "escape"),
    (r"a\x4", "hexadecimal"),
    (r"\u12", "hexadecimal"),
    (r"\uD834", "not a character"),
    (r"\uD834\u0041", "not a character"),
    (r"\u{110000}", "not a character"),
    ("a" + "\\", "ends in a backslash"),
    ("(a", "never closed"),
    ("a)", "never opened"),
    ("[a", "never closed"),
    ("[]", "empty class"),
    ("[z-a]", "end comes before"),
    ("*a", "repeats nothing"),
    ("a++", "repeats nothing"),
    ("(+a)", "repeats nothing"),
    ("a{1001}", "repeats more"),
    ("a{1,99999999999}", "repeats more"),
    ("a{3,2}", "at most"),
    ("(" * (MAX_NESTING + 1), "nests deeper"),
    ("a" * 8193, "longer"),
]


@pytest.mark.parametrize(("pattern", "word"), REFUSED)
def test_a_pattern_without_an_automaton_is_refused_by_its_place(pattern, word):
    with pytest.raises(RequestError, match=word) as caught:
        respelt(pattern, "text.format.schema.pattern")
    assert caught.value.param == "text.format.schema.pattern"
    assert caught.value.code == "invalid_json_schema"
    assert pattern not in str(caught.value)
