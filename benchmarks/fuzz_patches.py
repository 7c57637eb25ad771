"""Do damaged patches ever do harm? `python -m benchmarks.fuzz_patches --count N`.

Each is read or refused, and what is read fits or is refused; the difference of two random texts,
applied to the first, gives the second. Anything else ends the run with a traceback.
"""

import argparse
import difflib
import random
import sys
import time

from ossia.tools.patch.match import patched
from ossia.tools.patch.parse import PatchRefused, UpdateFile, read_patch

PIECES = (
    *("*** Begin Patch", "*** End Patch", "*** Add File: a", "*** Delete File: b/c"),
    *("*** Update File: d", "*** Move to: e", "*** End of File", "@@", "@@ x", "*** ", "***"),
    *(" x", "-x", "+x", "", " ", "\r", "{", '"', "x", "\\n", "\u2028", "*** Add File: ../a"),
)
LINES = ("", "x", " x", "x ", "\tx", "y", "@@ x", "-x", "+x", "*** End Patch", "é")


def random_text(rng: random.Random) -> list[str]:
    """A few lines, many of them alike."""
    return rng.choices(LINES, k=rng.randrange(12))


def changed(text: list[str], rng: random.Random) -> list[str]:
    """The text with some lines lost, doubled or new."""
    found = list(text)
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(found) + 1)
        found[at : at + rng.randrange(3)] = rng.choices(LINES, k=rng.randrange(3))
    return found


def difference(old: list[str], new: list[str]) -> str:
    """A patch of one hunk with everything in it, so that there is one place only."""
    lines = ["*** Begin Patch", "*** Update File: f", "@@"]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            lines += [f" {line}" for line in old[a:b]]
        else:
            lines += [f"-{line}" for line in old[a:b]] + [f"+{line}" for line in new[c:d]]
    return "\n".join((*lines, "*** End Patch"))


def damaged(patch: str, rng: random.Random) -> str:
    """The patch with some lines lost, doubled or foreign; or foreign lines alone."""
    lines = patch.split("\n")
    if rng.random() < 0.3:
        lines[1:-1] = rng.choices(PIECES, k=rng.randrange(25))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(lines) + 1)
        lines[at : at + rng.randrange(2)] = rng.choices(PIECES, k=rng.randrange(2))
    return "\n".join(lines)


def applied(patch: str, text: list[str]) -> list[str]:
    """The text after the first section of a patch that updates."""
    for section in read_patch(patch):
        if isinstance(section, UpdateFile):
            found = patched(text, section.hunks)
            return [text[each] if isinstance(each, int) else each for each in found]
    return text


def fuzz(count: int, seed: int) -> dict[str, float]:
    """Read and apply `count` patches of each kind; how many did what, and the slowest's seconds."""
    rng = random.Random(seed)
    read = refused = same = 0
    slowest = 0.0
    for _ in range(count):
        old = random_text(rng)
        new = changed(old, rng)
        if old or new:
            patch = difference(old, new)
            assert applied(patch, old) == new, (old, new)
            same += 1
        broken = damaged(difference(old, new), rng)
        began = time.perf_counter()
        try:
            applied(broken, old)
            read += 1
        except PatchRefused:
            refused += 1
        slowest = max(slowest, time.perf_counter() - began)
    return {"same": same, "read": read, "refused": refused, "slowest": slowest}


def main(arguments: list[str]) -> int:
    """Fuzz, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    found = fuzz(options.count, options.seed)
    print(
        f"{options.count} damaged patches: {found['read']:.0f} applied, {found['refused']:.0f} "
        f"refused, slowest {found['slowest'] * 1000:.1f} ms; {found['same']:.0f} differences gave "
        f"the second text; seed {options.seed}, {time.perf_counter() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
