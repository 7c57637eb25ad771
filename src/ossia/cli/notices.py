"""Lines on stderr around an answer: which model this is, why it ended, how long it took."""

import sys

from ossia.chat.events import Reply
from ossia.cli.terminal.terminal import harmless

EMBEDDED = "nano"


def introduce(model: str) -> None:
    """Say of the embedded model that it is a small one, and how to get a large one."""
    if model == EMBEDDED:
        say("nano is a tiny demonstration model; for gpt-oss-20b give its folder: -m FOLDER")


def cut_short(reply: Reply, max_tokens: int | None) -> None:
    """Say that an answer was not ended by the model."""
    if reply.finish_reason == "length":
        limit = "--max-tokens" if max_tokens is not None else "--context-length"
        written = reply.usage.completion_tokens
        say(f"cut off after {written} tokens; raise {limit} for more")


def timings(reply: Reply, load_seconds: float) -> None:
    """Say how long everything took."""
    usage, timing = reply.usage, reply.timing
    waited = timing.time_to_first_token
    read = usage.prompt_tokens - usage.cached_tokens
    rate = f" ({read / waited:.0f} tokens/s)" if waited > 0 else ""
    known = f", {usage.cached_tokens} of them known" if usage.cached_tokens else ""
    say(f"load    {load_seconds:.2f} s")
    say(f"prompt  {usage.prompt_tokens} tokens{known}, first token after {waited:.2f} s{rate}")
    say(
        f"answer  {usage.completion_tokens} tokens, {usage.reasoning_tokens} of them thinking, "
        f"{timing.tokens_per_second:.1f} tokens/s; ended by {reply.finish_reason}"
    )


def say(line: str) -> None:
    """One line on stderr."""
    print(f"ossia: {harmless(line)}", file=sys.stderr, flush=True)
