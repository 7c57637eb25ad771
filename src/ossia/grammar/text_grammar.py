"""Checks grammars of plain text in requests: Lark or one regex, and limits of size.

Checks a client's grammar before it is compiled, or refuses it with the path at fault.

* lark: rules, terminals, strings, regexes, comments, %ignore and %import of common terminals.
  Refused are other directives, names of tokens (<...>) and of other grammars (@...).
* regex: of Rust's kind, which is linear; it is the whole text, with or without anchors.
* Refused in both: look-around, back-references, word boundaries, the flags m and x.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ossia.errors import RequestError

Syntax = Literal["lark", "regex"]

MAX_BYTES = 8 << 10
MAX_NESTING = 200

_LARK = re.compile(
    r"""(?P<comment>//[^\n]*|\#[^\n]*)
    | (?P<string>"(?:\\.|[^"\\\n])*")
    | /(?P<regex>(?:\\.|[^/\\\n])+)/
    | %(?P<directive>\w*)
    | (?P<foreign>[@<])
    | (?P<bracket>[()\[\]{}])""",
    re.VERBOSE,
)
_ASIDE = r"\\.|\[(?:\\.|[^\]\\])*\]"
"""Escapes and classes, in which brackets mean themselves."""
_LOOKS_AROUND = re.compile(rf"{_ASIDE}|(\(\?<?[=!])", re.DOTALL)
_FLAGS = re.compile(rf"{_ASIDE}|(\(\?[a-zA-Z]*[mx])", re.DOTALL)
_BRACKETS = re.compile(rf"{_ASIDE}|([()])", re.DOTALL)
_SLASHES = re.compile(r"\\.|[/\n]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CheckedText:
    """A checked grammar of text, not compiled yet."""

    text: str
    """The grammar as JSON: an object with Lark text under `lark`."""
    path: str
    """Path of its definition in the request."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text: grammars with one digest mean the same."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def refused(self, fault: str, steps: Sequence[str | int]) -> RequestError:
        """The error for a kind of fault; the steps are the line it was found at, if any."""
        place = f" at its line {steps[0]}" if steps else ""
        words = {
            "unreadable": f"this grammar cannot be read{place}; correct it: see Lark's syntax",
            "pattern": f"a regex of this grammar{place} cannot be enforced; it is of Rust's kind, "
            "without look-around, back-references and word boundaries",
            "empty": "no text matches this grammar; loosen or correct it",
            "killed": "this grammar takes too long or too much memory to compile; simplify it",
        }
        fallback = f"this grammar{place} is too complex to enforce; simplify it"
        return _refusal(words.get(fault, fallback), self.path)


def checked_text(syntax: str, definition: str, *, path: str) -> CheckedText:
    """Check a grammar of text before it is compiled.

    Args:
        syntax: lark or regex.
        definition: as the client wrote it.
        path: where the definition stands in the request.

    Raises:
        RequestError: too large, too deep, or something cannot be honoured; it names the place.
    """
    if syntax not in get_args(Syntax):
        raise _refusal(f"the syntax is {syntax!r:.40}; expected lark or regex", path)
    try:
        size = len(definition.encode())
    except UnicodeEncodeError:
        raise _refusal("the grammar has a lone surrogate, which no UTF-8 can carry", path) from None
    if not definition.strip() or size > MAX_BYTES:
        raise _refusal(f"the grammar has {size} bytes; expected 1 to {MAX_BYTES}", path)
    if syntax == "regex":
        _check_regex(definition, path)
        definition = f"start: /{_SLASHES.sub(_in_slashes, definition)}/"
    else:
        _check_lark(definition, path)
    return CheckedText(json.dumps({"lark": definition}), path)


def _refusal(message: str, path: str) -> RequestError:
    return RequestError(message, param=path)


def _in_slashes(found: re.Match[str]) -> str:
    """A piece of a regex as it is written between slashes, on one line."""
    bare = {"/": r"\/", "\n": r"\n", "\\\n": r"\n", r"\/": r"\/"}
    return bare.get(found[0], found[0])


def _check_lark(definition: str, path: str) -> None:
    depth = 0
    for found in _LARK.finditer(definition):
        if (regex := found["regex"]) is not None:
            _check_regex(regex, path)
        elif (name := found["directive"]) is not None and name not in ("ignore", "import"):
            raise _refusal(f"the grammar has %{name:.40}; only %ignore and %import are known", path)
        elif (foreign := found["foreign"]) is not None:
            raise _refusal(
                f"the grammar has {foreign!r} outside of quotes; tokens and other grammars cannot "
                "be named in it",
                path,
            )
        elif (bracket := found["bracket"]) is not None:
            depth = _deeper(depth, is_open=bracket in "([{", path=path)


def _check_regex(regex: str, path: str) -> None:
    for pattern, fault in (
        (_LOOKS_AROUND, "looks around itself; say what the text is, not what is near it"),
        (_FLAGS, "sets a flag m or x; write it without"),
    ):
        if any(found[1] for found in pattern.finditer(regex)):
            raise _refusal(f"a regex {fault}", path)
    depth = 0
    for found in _BRACKETS.finditer(regex):
        if found[1]:
            depth = _deeper(depth, is_open=found[1] == "(", path=path)


def _deeper(depth: int, *, is_open: bool, path: str) -> int:
    depth += 1 if is_open else -1
    if depth > MAX_NESTING:
        raise _refusal(f"the grammar nests deeper than {MAX_NESTING} brackets; flatten it", path)
    return depth
