"""Random weights, sampled at temperature 1 under the output grammar: is output ever malformed?

    python -m benchmarks.random_turns [--turns 10000] [--seed 0]

Each turn is judged twice: read back by our reader, which marks what is broken, and spelt out and
parsed by the strict parser of the published library. Turns cut by the length limit are counted
apart: what they hold must be well formed too.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from openai_harmony import HarmonyEncodingName, Role, load_harmony_encoding

from benchmarks.byte_tokenizer import NUM_IDS, write_byte_tokenizer
from benchmarks.lenient_parser import parse_messages
from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.chat.constraint import OutputConstraint
from ossia.engine.engine import Engine
from ossia.engine.options import EngineOptions, resolve
from ossia.engine.request import EngineRequest, SamplingParams
from ossia.harmony.output_grammar import OutputGrammar
from ossia.harmony.output_rules import OutputRules
from ossia.harmony.tokenizer import Tokenizer
from ossia.model.kv_cache import PAGE_TOKENS
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.select import OpsOptions, select_ops

MAX_TOKENS = 160
TOOLS = {"functions.get_weather": "json", "functions.get": "json", "python": "text"}
RULES = (
    OutputRules(recipients={}),
    OutputRules(recipients=TOOLS),
    OutputRules(recipients=TOOLS, choice="required"),
    OutputRules(recipients=TOOLS, choice="functions.get"),
    OutputRules(recipients=TOOLS, choice="none"),
    OutputRules(recipients={}, allow_analysis=False),
)


class RandomTurns:
    """Writes turns in batches and judges them."""

    def __init__(self, folder: Path, seed: int, backend: str) -> None:
        self.tokenizer: Tokenizer = write_byte_tokenizer(folder / "tokenizer.json")
        # sharper than random weights are, so that control tokens come often enough
        self.config = dataclasses.replace(SHAPES["tiny"], vocab_size=-(-NUM_IDS // 64) * 64)
        ops = select_ops(backend, OpsOptions())
        weights = prepare(self.config, ops, random_tensors(self.config, seed))
        model: Transformer[Any] = Transformer(self.config, ops, weights)
        options = EngineOptions(context_length=512, max_running=32, pool_tokens=32 * 512)
        self.engine = Engine(model, resolve(options, self.config, PAGE_TOKENS), PAGE_TOKENS)
        self.strict = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def write(self, seeds: range) -> None:
        """Sample one turn for each seed and judge it."""
        turns: dict[int, list[int]] = {}
        for seed in seeds:
            grammar = OutputGrammar(
                self.tokenizer, RULES[seed % len(RULES)], vocab_size=self.config.vocab_size
            )
            budget = None if seed % 3 else 40
            constraint = OutputConstraint(grammar, max_analysis=budget, max_tokens=MAX_TOKENS)
            prompt = np.random.default_rng(seed).integers(0, 256, 5).tolist()
            # a random model ends a text of 256 bytes too seldom: lean towards the terminators
            ids = self.tokenizer.ids
            lean = {ids.end: 3.0, ids.return_: 3.0, ids.call: 3.0}
            params = SamplingParams(seed=seed, max_tokens=MAX_TOKENS, logit_bias=lean)
            turns[self.engine.submit(EngineRequest(prompt, params, constraint))] = []
        while not self.engine.idle:
            for event in self.engine.step():
                if event.error is not None:
                    raise event.error
                assert event.sampled is not None
                turns[event.request_id].append(event.sampled.token_id)
                if event.finish_reason is not None:
                    self.counts[event.finish_reason] += 1
                    self._judge(turns.pop(event.request_id), event.finish_reason == "length")

    def _judge(self, ids: list[int], was_cut: bool) -> None:
        self.counts["tokens"] += len(ids)
        try:
            for message in parse_messages(self.tokenizer, ids):
                self.counts[f"{message.channel} {message.terminator}"] += 1
                if message.broken and not was_cut:
                    raise ValueError(message.note)
            spelt = self.tokenizer.decode(ids)
            known = self.strict.encode(spelt, allowed_special="all")
            if not was_cut:
                self.strict.parse_messages_from_completion_tokens(known, Role.ASSISTANT)
        except Exception as error:  # whatever the judge says is a finding
            self.faults.append(f"{error}: {self.tokenizer.decode(ids)!r}")


def main() -> None:
    """Print what was written and what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="cpu")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        turns = RandomTurns(Path(folder), args.seed, args.backend)
        for first in range(0, args.turns, 500):
            turns.write(range(first, min(first + 500, args.turns)))
    for fault in turns.faults[:10]:
        print(fault)
    found = {"turns": args.turns, "malformed": len(turns.faults), **turns.counts}
    print(json.dumps(found | {"seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()
