"""Translates regular expressions of JSON schemas (ECMA 262) for the grammar library.

Reads one pattern from left to right, refusing what no automaton has: look-around, back-references
and flags. Groups lose their names, lazy marks go, `.` and white space are spelt out.
"""

import re

from ossia.grammar.refusal import refusal

MAX_BYTES = 8 << 10
MAX_NESTING = 200
MAX_REPEAT = 1000
"""Highest count in braces; the published engines of other languages stop there too."""

_COUNT = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_NAMED = re.compile(r"\?<[A-Za-z_$][A-Za-z0-9_$]*>")
_PROPERTY = re.compile(r"\{[A-Za-z_]{1,40}(=[A-Za-z_]{1,40})?\}")
_LONG = re.compile(r"\{([0-9A-Fa-f]{1,6})\}")
_WORDS = {"d", "D", "w", "W"}
_LAYOUT = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_SPACE = r" \t\n\r\f\v"
# JSON strings hold raw white space beyond ASCII: every engine's idea of it is left out.
_NO_SPACE = r"[^\s\x1c-\x1f\x85\uFEFF]"
_NO_LINE_END = r"[^\n\r\u2028\u2029]"


def respelt(pattern: str, where: str) -> str:
    """Translate a pattern for the grammar library; raises RequestError if that is impossible."""
    if len(pattern.encode()) > MAX_BYTES:
        raise refusal(f"this pattern is longer than {MAX_BYTES} bytes; shorten it", where)
    return _Pattern(pattern, where).read()


def _literal(char: str) -> str:
    """One character that means itself, inside a class and outside."""
    if char.isalnum() or ord(char) > 127 or char in " _":
        return char
    return f"\\x{ord(char):02x}"


class _Pattern:
    """One reading of one pattern."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._at = 0
        self._out: list[str] = []
        self._nesting = 0
        self._may_repeat = False
        """Whether the last thing read can be repeated."""

    def read(self) -> str:
        """Read it all."""
        while (char := self._peek()) is not None:
            self._at += 1
            self._one(char)
        if self._nesting:
            raise self._fault("has a parenthesis that is never closed; close it")
        return "".join(self._out)

    def _one(self, char: str) -> None:
        match char:
            case "(":
                self._open()
            case ")":
                self._nesting -= 1
                if self._nesting < 0:
                    raise self._fault("closes a parenthesis that was never opened")
                self._put(")")
            case "|" | "^" | "$":
                self._put(char, may_repeat=False)
            case "*" | "+" | "?":
                self._repeat(char)
            case "{":
                self._braces()
            case "[":
                self._put(self._class())
            case ".":
                self._put(_NO_LINE_END)
            case "\\":
                self._put(self._escape_outside())
            case _:
                self._put(_literal(char))

    def _put(self, spelt: str, *, may_repeat: bool = True) -> None:
        self._out.append(spelt)
        self._may_repeat = may_repeat

    def _peek(self) -> str | None:
        return self._text[self._at] if self._at < len(self._text) else None

    def _take(self, expected: re.Pattern[str]) -> re.Match[str] | None:
        found = expected.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _fault(self, what: str) -> Exception:
        return refusal(f"this pattern {what}", self._where)

    def _open(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self._fault(f"nests deeper than {MAX_NESTING} parentheses; flatten it")
        if self._peek() == "?" and not self._take(_NAMED):
            kind = self._text[self._at : self._at + 3]
            if kind[1:2] in ("=", "!") or kind in ("?<=", "?<!"):
                raise self._fault("looks around itself; say what the text is, not what is near it")
            if kind[1:2] != ":":
                raise self._fault("has a group that is neither (?:...) nor (?<name>...)")
            self._at += 2
        self._put("(?:", may_repeat=False)

    def _repeat(self, mark: str) -> None:
        if not self._may_repeat:
            raise self._fault(f"repeats nothing at its place {self._at}; escape the sign")
        self._put(mark, may_repeat=False)
        if self._peek() == "?":  # lazy or greedy: the same texts
            self._at += 1

    def _braces(self) -> None:
        self._at -= 1
        counted = self._take(_COUNT)
        if not counted:
            self._at += 1
            self._put(_literal("{"))
            return
        low, high = counted[1], counted[3] or counted[1]
        if len(max(low, high, key=len)) > 4 or max(int(low), int(high)) > MAX_REPEAT:
            raise self._fault(f"repeats more than {MAX_REPEAT} times; count less, or use *")
        if int(low) > int(high):
            raise self._fault(f"repeats at least {low} and at most {high} times")
        self._repeat(counted[0])

    def _escape_outside(self) -> str:
        if self._peek() in ("b", "B"):
            raise self._fault("has a word boundary; say which characters stand there")
        if self._peek() == "s":
            self._at += 1
            return f"[{_SPACE}]"
        if self._peek() == "S":
            self._at += 1
            return _NO_SPACE
        spelt, _ = self._escape()
        return spelt

    def _escape(self) -> tuple[str, int | None]:
        """What follows a backslash: its spelling, and its code point if it is one character."""
        char = self._peek()
        if char is None:
            raise self._fault("ends in a backslash; escape the backslash")
        self._at += 1
        if char in _WORDS:
            return f"\\{char}", None
        if char in _LAYOUT:
            return f"\\{char}", ord(_LAYOUT[char])
        if char in "pP" and (named := self._take(_PROPERTY)):
            return f"\\{char}{named[0]}", None
        if char in "xu":
            point = self._code_point(4 if char == "u" else 2)
            return f"\\x{{{point:x}}}", point
        if char.isalnum():
            what = "refers back to a group" if char.isdecimal() else f"has the escape \\{char}"
            raise self._fault(f"{what}, which is not supported; spell out what is meant")
        return _literal(char), ord(char)

    def _code_point(self, digits: int) -> int:
        if digits == 4 and (named := self._take(_LONG)):
            point = int(named[1], 16)
        else:
            point = self._hex(digits)
            following = self._text[self._at : self._at + 2]
            if 0xD800 <= point < 0xDC00 and following == "\\u":
                self._at += 2
                low = self._hex(4) - 0xDC00
                point = 0x10000 + ((point - 0xD800) << 10) + low if 0 <= low < 0x400 else point
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            raise self._fault(f"names U+{point:04X}, which is not a character")
        return point

    def _hex(self, digits: int) -> int:
        spelt = self._text[self._at : self._at + digits]
        if not re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", spelt):
            raise self._fault(f"has an escape that needs {digits} hexadecimal digits")
        self._at += digits
        return int(spelt, 16)

    def _class(self) -> str:
        negated = self._peek() == "^"
        self._at += negated
        members: list[tuple[str, int | None]] = []
        while (char := self._peek()) != "]":
            if char is None:
                raise self._fault("has a bracket that is never closed; close it")
            self._at += 1
            members.append(self._member(char))
        self._at += 1
        if not members:
            if negated:
                return "(?s:.)"
            raise self._fault("has an empty class, which nothing matches")
        return f"[{'^' * negated}{self._ranges(members)}]"

    def _member(self, char: str) -> tuple[str, int | None]:
        """One member of a class; a bare dash has its code point and no spelling of its own."""
        if char == "-":
            return "-", ord("-")
        if char != "\\":
            return _literal(char), ord(char)
        following = self._peek()
        if following in ("s", "S"):
            self._at += 1
            return (_SPACE if following == "s" else r"\S"), None
        if following == "b":
            self._at += 1
            return r"\x08", 8
        return self._escape()

    def _ranges(self, members: list[tuple[str, int | None]]) -> str:
        out: list[str] = []
        at = 0
        while at < len(members):
            spelt, low = members[at]
            ends = members[at + 2] if at + 2 < len(members) else None
            if low is not None and ends and ends[1] is not None and members[at + 1][0] == "-":
                if ends[1] < low:
                    raise self._fault("has a range whose end comes before its beginning")
                out.append(f"{_bare(spelt)}-{_bare(ends[0])}")
                at += 3
            else:
                out.append(_bare(spelt))
                at += 1
        return "".join(out)


def _bare(spelt: str) -> str:
    """A member's spelling, a dash made literal."""
    return r"\x2d" if spelt == "-" else spelt
