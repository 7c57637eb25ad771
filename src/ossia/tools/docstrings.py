"""What a docstring says of a function and of each argument: Google, NumPy and reST styles.

Knows text only; what a function really takes is read from its signature.
"""

import inspect
import re
from dataclasses import dataclass

_GOOGLE = re.compile(r"(?P<name>[A-Z][A-Za-z ]{2,20}):\s*")
_UNDERLINE = re.compile(r"-{3,}\s*")
_ENTRY = re.compile(r"\*{0,2}(?P<name>\w+)\s*(\([^)]*\)+)?\s*:\s*(?P<text>.*)")
_NUMPY_ENTRY = re.compile(r"(?P<names>\w+(\s*,\s*\w+)*)\s*(:.*)?")
_REST = re.compile(r":(?P<kind>\w+)(?P<words>(\s+[^:]+)?):\s*(?P<text>.*)")
_REST_ARGUMENT = frozenset(("param", "parameter", "arg", "argument", "key", "keyword"))
_ARGUMENTS = frozenset(
    ("args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "attributes")
)
_OTHER = frozenset(
    (
        *("returns", "return", "yields", "yield", "raises", "raise", "examples", "example"),
        *("note", "notes", "references", "see also", "warnings", "warning", "warns", "source"),
        *("todo", "other parameters", "methods"),
    )
)


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring, taken apart."""

    description: str
    """Everything before and after the sections."""
    arguments: dict[str, str]
    """Each described argument's text, on one line."""


class _Reader:
    """Goes down the lines, and knows which section it stands in."""

    def __init__(self) -> None:
        self.description: list[str] = []
        self.arguments: dict[str, list[str]] = {}
        self._section = ""
        self._is_numpy = False
        self._entry_indent = 0
        self._names: list[str] = []
        self._in_rest = False

    def line(self, line: str, following: str) -> None:
        """Take one line, knowing the next."""
        indent = len(line) - len(line.lstrip())
        if section := _section(line, following):
            self._section, self._is_numpy = section, bool(_UNDERLINE.fullmatch(following))
            self._entry_indent, self._names, self._in_rest = -1, [], False
        elif indent == 0 and (field := _REST.fullmatch(line)):
            self._rest(field)
        elif self._in_rest and indent > 0:
            self._add(line)
        elif self._section and (not line.strip() or indent > 0 or self._is_numpy):
            self._in_section(line, indent)
        else:
            self._section, self._in_rest = "", False
            self.description.append(line)

    def _rest(self, field: re.Match[str]) -> None:
        words = field["words"].split()
        is_argument = field["kind"] in _REST_ARGUMENT and words
        self._names, self._in_rest, self._section = [words[-1]] if is_argument else [], True, ""
        self._add(field["text"])

    def _in_section(self, line: str, indent: int) -> None:
        if self._section not in _ARGUMENTS or _UNDERLINE.fullmatch(line) or not line.strip():
            return
        if self._entry_indent < 0:
            self._entry_indent = indent
        if indent > self._entry_indent:
            self._add(line)
        elif self._is_numpy:
            entry = _NUMPY_ENTRY.fullmatch(line.strip())
            self._names = re.split(r"\s*,\s*", entry["names"]) if entry else []
        elif entry := _ENTRY.fullmatch(line.strip()):
            self._names = [entry["name"]]
            self._add(entry["text"])
        else:
            self._names = []

    def _add(self, text: str) -> None:
        for name in self._names:
            self.arguments.setdefault(name, []).extend(text.split())


def _section(line: str, following: str) -> str:
    """The section that a line opens, in lower case; empty if none."""
    if line[:1].isspace():
        return ""
    if _UNDERLINE.fullmatch(following):
        name = line.strip().lower()
        return name if name in _ARGUMENTS | _OTHER else ""
    heading = _GOOGLE.fullmatch(line)
    name = heading["name"].lower() if heading else ""
    return name if name in _ARGUMENTS | _OTHER else ""


def read_docstring(text: str) -> Docstring:
    """Take a docstring apart; text of no known style is all description."""
    lines = inspect.cleandoc(text).split("\n")
    reader = _Reader()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        reader.line(line, following)
    return Docstring(
        description=re.sub(r"\n{3,}", "\n\n", "\n".join(reader.description)).strip(),
        arguments={name: " ".join(words) for name, words in reader.arguments.items() if words},
    )
