"""Converts documents of every supported kind to clean text with numbered links.

`python -m ossia.tools.browser.documents` reads one from outside, in a process that is killed when
it takes too long or too much. Knows kinds, encodings and limits; not where documents come from.
"""

import importlib
import io
import json
import re
import signal
import subprocess
import sys
from typing import Literal

from ossia.errors import MissingExtra
from ossia.processes import limit_memory, run_module
from ossia.tools.browser.backend import Failure
from ossia.tools.browser.html import read_html
from ossia.tools.browser.links import Links
from ossia.tools.browser.text import ReadText, clean_text, one_line

Kind = Literal["text", "markdown", "html", "pdf"]
MAX_TEXT_CHARS = 2_000_000
MAX_PDF_PAGES = 2000

_LINK = re.compile(
    r"(!?)\[([^\[\]\n]{1,400})\]\(<?([^()<>\s]{1,2000})>?(?:[ \t]+\"[^\"\n]{0,200}\")?\)"
)
_BARE = re.compile(r"<(https?://[^<>\s]{1,2000})>")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(\S[^\n]{0,300})", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_ENCODINGS = re.compile(
    r"utf-?8|utf-?16(?:-?[lb]e)?|(?:us-)?ascii|latin-?1|iso-?8859-?\d{1,2}|(?:windows-|cp)125\d"
    r"|gb(?:2312|k|18030)|big5|euc-(?:jp|kr)|shift_jis|koi8-[ru]|iso-2022-jp|macintosh",
    re.IGNORECASE,
)
_DECLARED = re.compile(
    rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)=[\"' ]?([\w-]{1,30})", re.I
)
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_document(content: bytes, kind: Kind, url: str, charset: str | None = None) -> ReadText:
    """Convert a document to text with numbered links.

    Args:
        content: the bytes as stored or sent.
        kind: what they are.
        url: where it comes from; stands in the first line, and relative links start there.
        charset: what the sender says of the encoding.

    Raises:
        MissingExtra: it is PDF, and what reads it is not installed.
        Exception: whatever that library makes of a broken file; so read PDF in a process apart.
    """
    if kind == "pdf":
        found = _read_pdf(content)
    else:
        text = decode(content, charset)
        if kind == "html":
            found = read_html(text, url)
        elif kind == "markdown":
            found = _read_markdown(text, url)
        else:
            found = ReadText("", clean_text(text), ())
    body = _BLANK_LINES.sub("\n\n", found.text).strip("\n")
    if len(body) > MAX_TEXT_CHARS:
        body = f"{body[:MAX_TEXT_CHARS]}\n\n(The rest of this long document is left out.)"
    return found._replace(text=f"URL: {one_line(url, MAX_TEXT_CHARS)}\n\n{body}")


def decode(content: bytes, charset: str | None = None) -> str:
    """Decode text by its byte order mark, its declared encoding, or UTF-8; never raises."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    name = charset
    if name is None and (declared := _DECLARED.search(content[:2048])):
        name = declared[1].decode("ascii", "replace")
    if name is None or not _ENCODINGS.fullmatch(name):
        name = "utf-8"  # others are no encodings of text, or slow on purpose
    try:
        return content.decode(name, "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _read_markdown(text: str, url: str) -> ReadText:
    text = clean_text(_without_comments(text))
    heading = _HEADING.search(text)
    title = heading[1].rstrip("# \t") if heading else ""
    links = Links(url)
    num_images = 0

    def marked(match: re.Match[str]) -> str:
        nonlocal num_images
        if match[1]:
            num_images += 1
            return f"[Image {num_images - 1}: {match[2]}]"
        return links.mark(match[3], match[2])

    parts = _FENCE.split(text)  # every second one stands inside a fence, and stays as it is
    fences = _FENCE.findall(text)
    for number in range(0, len(parts), 2):
        linked = _LINK.sub(marked, parts[number])
        parts[number] = _BARE.sub(lambda bare: links.mark(bare[1], bare[1]), linked)
    whole = parts[0] + "".join(
        f"{fence}{part}" for fence, part in zip(fences, parts[1:], strict=True)
    )
    return ReadText(title, whole, tuple(links.urls))


def _without_comments(text: str) -> str:
    parts, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts.append(text[at:start])
        at = end + 3
    return "".join((*parts, text[at:]))


def _read_pdf(content: bytes) -> ReadText:
    try:
        pypdf = importlib.import_module("pypdf")
    except ImportError:
        raise MissingExtra("reading PDF", "pypdf", "pdf") from None
    reader = pypdf.PdfReader(io.BytesIO(content))
    title = str((reader.metadata and reader.metadata.title) or "")
    texts: list[str] = []
    num_chars = 0
    for number, page in enumerate(reader.pages[:MAX_PDF_PAGES], 1):
        texts.append(f"[Page {number}]\n{page.extract_text()}")
        num_chars += len(texts[-1])
        if num_chars > MAX_TEXT_CHARS:
            break
    return ReadText(title, clean_text("\n\n".join(texts)), ())


SECONDS = 2.0
"""Limit of CPU time, so that a busy computer makes no page unreadable."""
MEGABYTES = 1024
"""Limit of address space."""

_START_SECONDS = 10.0


def read_apart(
    content: bytes, kind: Kind, url: str, charset: str | None = None, *, seconds: float = SECONDS
) -> ReadText:
    """Run `read_document` in a child process; blocks, so call it in a thread.

    Raises:
        Failure: it cannot be read, or not within the limits.
    """
    request = {"kind": kind, "url": url, "charset": charset, "seconds": seconds}
    try:
        done = run_module(
            "ossia.tools.browser.documents",
            content=json.dumps(request).encode() + b"\n" + content,
            timeout_seconds=3 * seconds + _START_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(url) from None
    if sys.platform != "win32" and done.returncode == -signal.SIGPROF:
        raise _too_slow(url)
    if done.returncode:
        raise Failure(f"{url} cannot be read: it is damaged, or too large")
    answer = json.loads(done.stdout)
    if "missing" in answer:
        raise Failure(answer["missing"])
    return ReadText(answer["title"], answer["text"], tuple(answer["links"]))


def _too_slow(url: str) -> Failure:
    return Failure(f"{url} takes too long to read; open another page")


def main() -> None:  # runs in the process that is ended
    """Read one document from standard input."""
    request = json.loads(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read()
    limit_memory(MEGABYTES)
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
    try:
        read = read_document(content, request["kind"], request["url"], request["charset"])
    except MissingExtra as error:
        answer: dict[str, object] = {"missing": str(error)}
    else:
        answer = read._asdict()
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
