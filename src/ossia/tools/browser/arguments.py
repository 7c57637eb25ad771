"""The calls of the browser as the model writes them: JSON text -> what is asked for.

Knows the trained parameters and their bounds; -1 is how the model spells "not given".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ossia.tools.browser.backend import Failure

DEFAULT_TOPN, MAX_TOPN = 10, 20
MAX_QUERY_CHARS, MAX_PATTERN_CHARS, MAX_URL_CHARS = 2000, 500, 4096
MAX_NUMBER = 1_000_000_000

_Kind = Literal["text", "number", "flag", "link"]
_SEARCH: Mapping[str, _Kind] = {"query": "text", "topn": "number", "source": "text"}
_OPEN: Mapping[str, _Kind] = {
    "id": "link", "cursor": "number", "loc": "number", "num_lines": "number",
    "view_source": "flag", "source": "text",
}  # fmt: skip
_FIND: Mapping[str, _Kind] = {"pattern": "text", "cursor": "number"}
_EXPECTED: Mapping[_Kind, str] = {
    "text": "text",
    "number": "a whole number",
    "flag": "true or false",
    "link": "the number of a link, or a URL as text",
}


@dataclass(frozen=True, slots=True)
class SearchCall:
    """Pages about something are wanted."""

    query: str
    topn: int


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A page, or another part of one, is wanted; what is None was not given."""

    link: int | str | None
    """A number on a view, or a URL."""
    cursor: int | None
    loc: int | None
    num_lines: int | None


@dataclass(frozen=True, slots=True)
class FindCall:
    """Places on a page are wanted."""

    pattern: str
    cursor: int | None


def read_search(arguments: str) -> SearchCall:
    """Read the arguments of `search`; raises Failure."""
    given = _read(arguments, _SEARCH)
    query = _words(given, "query", MAX_QUERY_CHARS)
    return SearchCall(query, min(max(given.get("topn", DEFAULT_TOPN), 1), MAX_TOPN))


def read_open(arguments: str) -> OpenCall:
    """Read the arguments of `open`; raises Failure."""
    given = _read(arguments, _OPEN)
    link = given.get("id")
    if isinstance(link, str):
        link = _words(given, "id", MAX_URL_CHARS).strip()
    lines = _counted(given, "num_lines") or None
    return OpenCall(
        link if isinstance(link, str) else _counted(given, "id"),
        _counted(given, "cursor"),
        _counted(given, "loc"),
        lines,
    )


def read_find(arguments: str) -> FindCall:
    """Read the arguments of `find`; raises Failure."""
    given = _read(arguments, _FIND)
    return FindCall(_words(given, "pattern", MAX_PATTERN_CHARS), _counted(given, "cursor"))


def _read(arguments: str, kinds: Mapping[str, _Kind]) -> dict[str, Any]:
    """Arguments by name, without those that are null; raises Failure."""
    try:
        given = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        raise Failure("the arguments are no valid JSON; expected one JSON object") from None
    if not isinstance(given, dict):
        raise Failure("the arguments are no JSON object; write them as {...}")
    for name, value in given.items():
        if name not in kinds:
            raise Failure(f"{name!r:.60} is no argument; expected some of {', '.join(kinds)}")
        if value is not None and not _is(kinds[name], value):
            raise Failure(f"{name} is {value!r:.60}; expected {_EXPECTED[kinds[name]]}")
    return {name: value for name, value in given.items() if value is not None}


def _is(kind: _Kind, value: object) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "flag":
            return isinstance(value, bool)
        case "link":
            return isinstance(value, str) or _is("number", value)
        case "number":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool) and abs(value) <= MAX_NUMBER  # type: ignore[arg-type]


def _counted(given: Mapping[str, Any], name: str) -> int | None:
    """A number from 0; None below."""
    number = int(given.get(name, -1))
    return None if number < 0 else number


def _words(given: Mapping[str, Any], name: str, max_chars: int) -> str:
    text: str = given.get(name, "")
    if not text.strip():
        raise Failure(f"{name} is missing; expected some text")
    if len(text) > max_chars:
        raise Failure(f"{name} has {len(text)} characters; expected at most {max_chars}")
    return text
