"""Reads a document in a process of its own, which is ended when it takes too long or too much.

`python -m ossia.tools.browser.reading` is that process: a line of JSON and the content come in, a
line of JSON goes out. Knows limits, no pages.
"""

import json
import signal
import subprocess
import sys

from ossia.errors import MissingExtra
from ossia.processes import limit_memory, run_module
from ossia.tools.browser.backend import Failure
from ossia.tools.browser.documents import Kind, read_document
from ossia.tools.browser.text import ReadText

SECONDS = 2.0
"""Of processor time; what else the computer does makes no page unreadable."""
MEGABYTES = 1024
"""Of address space."""

_START_SECONDS = 10.0


def read_apart(
    content: bytes, kind: Kind, url: str, charset: str | None = None, *, seconds: float = SECONDS
) -> ReadText:
    """Do `read_document` elsewhere; waits for it, so call it in a thread.

    Raises:
        Failure: it cannot be read, or not within the limits.
    """
    request = {"kind": kind, "url": url, "charset": charset, "seconds": seconds}
    try:
        done = run_module(
            "ossia.tools.browser.reading",
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
