"""Small pages of facts about invented things, shown as the browser tool shows them.

Knows the display: `[CURSOR] TITLE (URL)`, the lines shown, `L{n}: text`, links `【id†text†host】`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap
from urllib.parse import quote, unquote

import numpy as np

from ossia.tasks.nano.words import NAMES, digits, invented, load
from ossia.tasks.task import pick, pick_some

COLUMNS = 80
HEADED_SHARE, INVENTED_SHARE = 0.6, 0.15
"""Of pages, with a heading; of relations, with invented names."""
HOSTS = ("facts", "notes", "wiki", "docs", "library")


@dataclass(frozen=True, slots=True)
class Fact:
    """A relation of an entity and its value."""

    relation: str
    value: str


@dataclass(frozen=True, slots=True)
class FactPage:
    """A page of a corpus about one entity."""

    host: str
    entity: str
    kind: str
    facts: tuple[Fact, ...]
    lines: tuple[str, ...]
    """The sentences, one a fact, after the first, which says what it is; perhaps a heading."""

    @property
    def file(self) -> str:
        """Its name in the corpus."""
        return f"{self.entity.lower()}.md"

    @property
    def url(self) -> str:
        """The address of the page in the corpus."""
        return f"corpus://{self.host}/{quote(self.file)}"

    @property
    def title(self) -> str:
        """Its heading, or else its file's name."""
        return self.entity if self.lines[0].startswith("# ") else self.file

    @property
    def summary(self) -> str:
        """What a search shows of a page as short as these: all of it."""
        return " ".join(filter(None, self.lines))


_DATA = load("pages")
KINDS: Mapping[str, tuple[str, ...]] = _DATA["kinds"]
HELD_OUT = ("population", "publisher", "teacher", "discoverer")
"""Relations that no training question is about."""
SENTENCES: tuple[str, ...] = _DATA["sentences"]
FILLERS: tuple[str, ...] = _DATA["fillers"]
_NUMBERS = {
    "height": (3, " m"), "length": (3, " km"), "age": (2, " years"), "population": (4, ""),
    "year": (4, ""), "size": (3, " km"),
}  # fmt: skip
_JOBS: tuple[str, ...] = _DATA["jobs"]
_COLOURS = ("red", "blue", "green", "white", "grey", "brown")


def draw_page(random: np.random.Generator, host: str) -> FactPage:
    """A page about a new entity with two to four facts."""
    kind = pick(random, tuple(KINDS))
    entity = invented(random)
    if random.random() < 0.25:
        entity += f" {invented(random)}"
    facts = tuple(
        Fact(
            invented(random).lower() if random.random() < INVENTED_SHARE else relation,
            _value(random, relation),
        )
        for relation in pick_some(random, KINDS[kind], int(random.integers(2, 5)))
    )
    lines = [f"{entity} is a {kind}."]
    for fact in facts:
        sentence = pick(random, SENTENCES)
        line = sentence.format(relation=fact.relation, entity=entity, value=fact.value)
        lines.append(line[0].upper() + line[1:])
    if random.random() < 0.5:
        lines.insert(int(random.integers(1, len(lines) + 1)), pick(random, FILLERS))
    if random.random() < HEADED_SHARE:
        lines[:0] = [f"# {entity}", ""]
    return FactPage(host, entity, kind, facts, tuple(lines))


def draw_host(random: np.random.Generator) -> str:
    """The name of a corpus."""
    return pick(random, HOSTS) if random.random() < 0.7 else invented(random).lower()


def open_view(page: FactPage, cursor: int) -> tuple[str, dict[str, int]]:
    """A page as it is displayed, and the line on which each fact stands."""
    text, place = [f"URL: {page.url}", ""], {}
    for line in page.lines:
        for fact in page.facts:
            if fact.value in line and fact.relation in line.lower():
                place[fact.relation] = len(text)
        text += _wrapped(line) or [""]
    return _display(f"{page.title} ({unquote(page.url)})", text, cursor), place


def search_view(
    query: str, hits: list[tuple[FactPage, str]], cursor: int, *, with_url: bool
) -> tuple[str, list[int]]:
    """Results with a summary each as they are displayed, and the line on which each begins."""
    text = ["URL: ", ""] if with_url else []
    text += ["# Search Results", ""]
    places = []
    for nth, (page, summary) in enumerate(hits):
        places.append(len(text))
        text += _wrapped(f"  * 【{nth}†{page.title}†{page.host}】 {summary}")
    if not hits:
        text.append("No results found.")
    return _display(query, text, cursor), places


def line_of(view: str, begin: int, fact: Fact) -> int | None:
    """The line, from `begin` on, on which a result says the fact; None if it does not."""
    lines = [line.partition(": ")[2] for line in view.split("\n\n", 1)[1].split("\n")]
    text, numbers = "", list[int]()
    for number, line in enumerate(lines[begin:], start=begin):
        if number > begin and line.startswith("  * "):
            break
        text += line
        numbers += [number] * len(line)
    named = text.lower().find(fact.relation, text.find("】"))
    at = text.find(fact.value, named) if named >= 0 else -1
    return numbers[at] if at >= 0 else None


def _wrapped(line: str) -> list[str]:
    return wrap(line, COLUMNS, drop_whitespace=False, replace_whitespace=False)


def _display(title: str, text: list[str], cursor: int) -> str:
    last = len(text) - 1
    shown = "\n".join(f"L{nth}: {line}" for nth, line in enumerate(text))
    return f"[{cursor}] {title}\n**viewing lines [0 - {last}] of {last}**\n\n{shown}"


def _value(random: np.random.Generator, relation: str) -> str:
    if relation in _NUMBERS:
        length, unit = _NUMBERS[relation]
        return f"{digits(random, length)}{unit}"
    if relation == "job":
        return pick(random, _JOBS)
    if relation == "colour":
        return pick(random, _COLOURS)
    return pick(random, NAMES) if random.random() < 0.15 else invented(random)
