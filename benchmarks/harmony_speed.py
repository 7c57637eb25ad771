"""How long do the language's steps take: opening, encoding, laying out a grammar, one masked step?

python -m benchmarks.harmony_speed
"""

import random
import time
from collections.abc import Callable

from benchmarks.harmony_conversations import conversation
from ossia.harmony.output_grammar import OutputGrammar, OutputRules
from ossia.harmony.render import render_prompt
from ossia.harmony.tokenizer import Tokenizer

ROWS = 201_088
TOOLS = {f"functions.tool_{number}": "json" for number in range(20)} | {"python": "text"}


def best_seconds(act: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of a few runs: what the work costs when nothing else is in the way."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return min(found)


def masked_walk(grammar: OutputGrammar, ids: list[int]) -> None:
    """What a sampler asks of the grammar for each id."""
    state = grammar.start
    for token_id in ids:
        grammar.legal(state).mask()
        state, _ = grammar.step(state, token_id)


def main() -> None:
    """Print one line for each question."""
    opening = best_seconds(Tokenizer.o200k_harmony, repeats=3)
    tokenizer = Tokenizer.o200k_harmony()
    rng = random.Random(0)
    talks = [conversation(rng) for _ in range(50)]
    prompts = [render_prompt(tokenizer, talk) for talk in talks]
    rendering = best_seconds(lambda: [render_prompt(tokenizer, talk) for talk in talks])
    rules = OutputRules(recipients=TOOLS)
    laying = best_seconds(lambda: OutputGrammar(tokenizer, rules, vocab_size=ROWS))
    grammar = OutputGrammar(tokenizer, rules, vocab_size=ROWS)
    content = [rng.randrange(199_998) for _ in range(10_000)]
    head = [tokenizer.ids.channel, *tokenizer.encode("analysis"), tokenizer.ids.message]
    masked = best_seconds(lambda: masked_walk(grammar, head + content))
    print(f"open o200k_harmony        {opening:8.2f} s")
    print(f"render a prompt           {rendering / len(talks) * 1e3:8.2f} ms for "
          f"{sum(map(len, prompts)) / len(prompts):.0f} ids")  # fmt: skip
    print(f"lay out a grammar, 21 tools {laying * 1e3:8.2f} ms")
    print(f"one masked step in content {masked / len(content) * 1e6:8.2f} us")


if __name__ == "__main__":
    main()
