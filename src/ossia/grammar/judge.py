"""The process that tries a schema, which may be killed: `python -m ossia.grammar.judge`.

Reads one JSON string per line, a checked schema's text, and answers a line each: the fault and its
place, or nulls. Exits when its input ends.
"""

import json
import signal
import sys
import threading
from collections.abc import Iterable
from typing import TextIO

from ossia.grammar.compiling import blamed, byte_tokenizer, matcher_of
from ossia.processes import limit_memory

_STACK_BYTES = 1 << 20
"""Stack size, smaller than any engine thread's: what fits here fits there."""


def judge(lines: Iterable[str], answers: TextIO, *, seconds: float) -> None:
    """Try schemas until there are no more; dies by an alarm where one takes far too long."""
    tokenizer = byte_tokenizer()
    for line in lines:
        _alarm(2 * seconds + 1)  # for when nobody is left to do it
        text: str = json.loads(line)
        found = matcher_of(tokenizer, text)
        answer: list[object] = [None, []]
        if isinstance(found, str):
            answer = [found, list(blamed(tokenizer, text, found))]
        _alarm(0)
        print(json.dumps(answer), file=answers, flush=True)


def _alarm(seconds: float) -> None:
    if sys.platform != "win32":  # pragma: no branch - no alarms there
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:  # pragma: no cover - runs in the process that is killed
    """Try the schemas from standard input."""
    limit_memory(int(sys.argv[2]))
    threading.stack_size(_STACK_BYTES)
    work = threading.Thread(
        target=judge, args=(sys.stdin, sys.stdout), kwargs={"seconds": float(sys.argv[1])}
    )
    work.start()
    work.join()


if __name__ == "__main__":  # pragma: no cover - the same
    main()
