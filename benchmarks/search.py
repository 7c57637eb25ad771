"""How fast is the local corpus? `python -m benchmarks.search [--pages 10000] [--queries 500]`.

Pages of Markdown and HTML are made of invented words, common and rare as in any language, indexed
as `ossia index` does, then searched and opened through the browser tool as a model does it, its
display and its count of tokens included. The pages and the index lie in a temporary folder.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate
from pathlib import Path

from ossia.harmony.tokenizer import Tokenizer
from ossia.tools.browser.corpus import Corpus
from ossia.tools.browser.indexing import Index
from ossia.tools.browser.toolkit import BrowserToolkit
from ossia.tools.tool import ToolResult

NUM_WORDS = 40_000
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in ("a", "e", "i", "o", "u", "ar", "en")]
COMMON = ("the", "of", "and", "to", "in", "is", "that", "it", "for", "was")


class Language:
    """Invented words; the n-th is n times as rare as the first."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        invented = {self._word() for _ in range(NUM_WORDS)}
        self.words = [*COMMON, *sorted(invented, key=lambda word: (len(word), word))]
        self._weights = list(accumulate(1 / rank for rank in range(1, len(self.words) + 1)))

    def _word(self) -> str:
        return "".join(self.random.choices(SYLLABLES, k=self.random.randint(1, 4)))

    def some(self, count: int) -> list[str]:
        """Words as they come in a text."""
        return self.random.choices(self.words, cum_weights=self._weights, k=count)

    def page(self, number: int) -> tuple[str, str]:
        """Name and text of a page of 100 to 2,000 words, some of them links."""
        title = " ".join(self.some(3)).title()
        paragraphs = [" ".join(self.some(80)) for _ in range(self.random.randint(1, 24))]
        other = self.random.randrange(max(number, 1))
        if number % 3:
            link = f"[{' '.join(self.some(2))}]({other}.md)"
            return f"{number}.md", "\n\n".join((f"# {title}", *paragraphs, link))
        body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
        link = f"<a href='{other}.html'>{' '.join(self.some(2))}</a>"
        return f"{number}.html", f"<title>{title}</title><script>x</script>{body}{link}"

    def query(self) -> str:
        """One to six words; common ones among them."""
        return " ".join(self.some(self.random.randint(1, 6)))


def write_pages(folder: Path, language: Language, count: int) -> int:
    """Write the corpus; gives its bytes."""
    size = 0
    for number in range(count):
        name, text = language.page(number)
        place = folder / str(number % 100)
        place.mkdir(parents=True, exist_ok=True)
        size += (place / name).write_text(text)
    return size


def milliseconds(seconds: Sequence[float]) -> str:
    """Median, 99th percentile and longest."""
    cuts = statistics.quantiles(seconds, n=100)
    return f"{1e3 * cuts[49]:.2f} ms median, {1e3 * cuts[98]:.2f} p99, {1e3 * max(seconds):.2f} max"


async def timed(call: Callable[[str], Awaitable[ToolResult]], **arguments: object) -> float:
    """Seconds of one call, which must succeed."""
    start = time.perf_counter()
    result = await call(json.dumps(arguments))
    seconds = time.perf_counter() - start
    if result.is_error:
        raise SystemExit(f"{arguments} failed: {result.text}")
    return seconds


async def measure(corpus: Corpus, language: Language, count: int) -> None:
    """Search, open the first result, find in it; print how long each took."""
    tokenizer = Tokenizer.o200k_harmony()

    def count_tokens(text: str) -> int:
        return len(tokenizer.encode(text))

    bare, searches, opens, finds = [], [], [], []
    for _ in range(count):
        session = await BrowserToolkit(corpus, count_tokens=count_tokens).open()
        search, open_, find = (tool.call for tool in session.tools)
        query = language.query()
        start = time.perf_counter()
        hits = await corpus.search(query, 10)
        bare.append(time.perf_counter() - start)
        searches.append(await timed(search, query=query))
        if hits:
            opens.append(await timed(open_, id=0))
            finds.append(await timed(find, pattern=query.split()[-1]))
    print(f"search alone, 10 results  {milliseconds(bare)}")
    print(f"browser.search            {milliseconds(searches)}")
    print(f"browser.open              {milliseconds(opens)}")
    print(f"browser.find              {milliseconds(finds)}")


def main() -> None:
    """Make, index, search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    language = Language(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder, path = Path(temporary) / "pages", Path(temporary) / "index"
        size = write_pages(folder, language, args.pages)
        path.touch()
        with Index(path) as index:
            name = index.add(folder)
            start = time.perf_counter()
            done = index.refresh(name)
            built = time.perf_counter()
            index.refresh(name)
            again = time.perf_counter()
        print(f"{done.num_added} pages, {size / 1e6:.1f} MB of text; {sys.platform}")
        rate = done.num_added / (built - start)
        print(
            f"index built in {built - start:.1f} s ({rate:.0f} pages/s),"
            f" {path.stat().st_size / 1e6:.1f} MB; refreshed unchanged in {again - built:.2f} s"
        )
        corpus = Corpus.open(path)
        asyncio.run(measure(corpus, language, args.queries))
        corpus.close()


if __name__ == "__main__":
    main()
