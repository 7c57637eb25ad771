"""Does reading survive any ids, show all that was meant for the user, and nothing else?

    python -m benchmarks.harmony_fuzz --streams 1000000 --seed 0

Streams are well-formed turns with mutations, and plain noise. What must be shown is found by one
regular expression over the same ids, which shares no code with the reader.
"""

import argparse
import random
import re
import time
from collections.abc import Callable, Sequence

from benchmarks.lenient_parser import ParsedMessage, parse_messages
from ossia.harmony.tokenizer import Tokenizer

_HEADERS = (
    ("channel", "analysis"), ("channel", "final"), ("channel", "final"), ("channel", "commentary"),
    ("channel", "commentary", " to=functions.f"), ("channel", "analysis", " to=python", " code"),
    (" to=functions.f", "channel", "commentary", " json"), ("channel", "final", " json"),
    ("channel", "commentary", " to=functions.f", " ", "constrain", "json"),
    ("channel", "final", " ", "constrain", "json"), ("channel", "finale"), ("channel",), (),
    ("channel", "commentary", "channel", "final"), ("channel", "fin", "al"), (":bob",),
)  # fmt: skip
_BODIES = ("Hello", " world", "42", '{"a":1}', "<|end|>", " 🦊", "é", "\n\n", "final", "assistant")
_ROLES = ("assistant", "assistant", "assistant", "user", "system", "functions.f", "", " assistant")


class Streams:
    """Makes random streams of ids; the same seed makes the same ones."""

    def __init__(self, tokenizer: Tokenizer, rng: random.Random) -> None:
        ids = tokenizer.ids
        self._rng = rng
        self._tokenizer = tokenizer
        self._controls = [ids.start, ids.message, ids.channel, ids.constrain, ids.end, ids.return_,
                          ids.call]  # fmt: skip
        self._ends = self._controls[-3:]
        self._strange = [
            ids.endoftext,
            ids.startoftext,
            tokenizer.size,
            1 << 40,
            -1,
            -tokenizer.size,
        ]
        self._headers = [
            [each for part in header for each in self._spelt(part)] for header in _HEADERS
        ]
        self._bodies = [tokenizer.encode(text) for text in _BODIES] + [[9552 % tokenizer.size]]
        self._roles = [tokenizer.encode(role) for role in _ROLES]
        self._num_text = min(tokenizer.control.values())

    def _spelt(self, part: str) -> list[int]:
        named: int | None = getattr(self._tokenizer.ids, part, None)
        return self._tokenizer.encode(part) if named is None else [named]

    def turn(self) -> list[int]:
        """A few messages, mostly as a model would write them."""
        rng, ids = self._rng, self._tokenizer.ids
        stream: list[int] = []
        for nth in range(rng.randint(1, 4)):
            if nth:
                stream += [ids.start, *rng.choice(self._roles)]
            stream += [*rng.choice(self._headers), ids.message]
            for _ in range(rng.randrange(6)):
                stream += rng.choice(self._bodies)
            stream.append(rng.choice(self._ends))
        return stream

    def noise(self) -> list[int]:
        """Control ids and text in no order."""
        rng = self._rng
        return [self._any() for _ in range(rng.randrange(60))]

    def _any(self) -> int:
        rng, at = self._rng, self._rng.random()
        if at < 0.5:
            return rng.choice(self._controls)
        if at < 0.6:
            return rng.choice(self._strange)
        return rng.randrange(self._num_text) if at < 0.8 else rng.choice(rng.choice(self._bodies))

    def mutated(self, stream: list[int]) -> list[int]:
        """The same with up to four ids dropped, doubled, put in, replaced, or the end cut off."""
        rng = self._rng
        for _ in range(rng.randrange(5)):
            at = rng.randrange(len(stream) + 1)
            kind = rng.randrange(6)
            if kind == 0:
                del stream[at : at + rng.randint(1, 3)]
            elif kind == 1:
                stream[at:at] = stream[at : at + rng.randint(1, 4)]
            elif kind == 2:
                stream.insert(at, self._any())
            elif kind == 3:
                stream[at : at + 1] = [self._any()]
            elif kind == 4:
                del stream[at:]
            else:
                stream[at:at] = self.turn()[: rng.randrange(12)]
        return stream

    def one(self) -> list[int]:
        """Noise one time in ten, else a turn with mutations."""
        return self.noise() if self._rng.random() < 0.1 else self.mutated(self.turn())


def shown_by_pattern(tokenizer: Tokenizer) -> Callable[[Sequence[int]], list[str]]:
    """Make the judge: what of a stream is meant for the user, by a regular expression."""
    ids = tokenizer.ids
    letters = dict(
        zip(
            (ids.start, ids.message, ids.channel, ids.constrain, ids.end, ids.return_, ids.call),
            "\ue000\ue001\ue002\ue003\ue004\ue005\ue006",
            strict=True,
        )
    )
    header = (
        "(?:^|\ue000assistant)\ue002(?:final|commentary)"
        "(?: ?\ue003[!-~]{0,67}| (?!to=)[!-~]{1,80})?\ue001"
    )
    shown = re.compile(header + "([^\ue000\ue004\ue005\ue006]*)")
    prompt = re.compile("\ue000(?:system|developer|user)(?=[: ]|[\ue000-\uefff]|$)")

    def judge(stream: Sequence[int]) -> list[str]:
        spelt = "".join(
            tokenizer.bytes_of(each).decode("latin-1")
            if tokenizer.is_text(each)
            else letters.get(each, "\ue007")
            for each in stream
        )
        if prompt.match(spelt):
            return []
        bodies = (re.sub("[\ue000-\ue007]", "", found[1]) for found in shown.finditer(spelt))
        return [body.encode("latin-1").decode("utf-8", "replace") for body in bodies]

    return judge


def shown(messages: Sequence[ParsedMessage]) -> list[str]:
    """What the reader would show the user."""
    return [message.text for message in messages if message.is_shown]


def main() -> None:
    """Read as many streams as asked for; stop at the first one read wrongly."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tokenizer = Tokenizer.o200k_harmony()
    streams, judge = Streams(tokenizer, random.Random(options.seed)), shown_by_pattern(tokenizer)
    began, num_ids, num_shown, num_broken, reading = time.perf_counter(), 0, 0, 0, 0.0
    for number in range(options.streams):
        stream = streams.one()
        at = time.perf_counter()
        messages = parse_messages(tokenizer, stream)
        reading += time.perf_counter() - at
        if shown(messages) != judge(stream):
            raise SystemExit(f"stream {number} of seed {options.seed} is read wrongly: {stream}\n"
                             f"read {shown(messages)}\nexpected {judge(stream)}")  # fmt: skip
        num_ids += len(stream)
        num_shown += len(shown(messages))
        num_broken += sum(message.broken for message in messages)
    print(f"{options.streams} streams of {num_ids / max(1, options.streams):.1f} ids on average, "
          f"seed {options.seed}: none raised, {num_shown} shown messages all found and no other, "
          f"{num_broken} broken ones hidden or marked; {reading:.0f} s reading "
          f"({reading / max(1, num_ids) * 1e6:.2f} us an id), "
          f"{time.perf_counter() - began:.0f} s in all")  # fmt: skip


if __name__ == "__main__":
    main()
