"""What speculative decoding brings and costs: `python -m benchmarks.speculation --model FOLDER`.

Each case is written by two engines over one model in turns, A without drafts and B with them;
the ratios of their rates are reported, and that both wrote the same. Cases:

- copies: sampling is biased to the words of the prompt, in which a passage stands several times.
- cycle: greedy after random ids; random weights soon write in circles, trained ones do not.
- coins: two words at random, so that 8 of them often stood together before, and what followed
  says nothing. The worst case: every draft is a coin toss, and one in two is wrong.
- free: drawn at temperature 1 from the whole vocabulary: nothing repeats itself.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from ossia import LLM, OpsOptions
from ossia.engine.engine import Engine
from ossia.engine.options import EngineOptions, resolve
from ossia.engine.request import EngineRequest, SamplingParams, Unconstrained
from ossia.model.kv_cache import PAGE_TOKENS

SEED = 7
PROMPT = 192


@dataclass(frozen=True, slots=True)
class Case:
    """One request."""

    prompt: list[int]
    params: SamplingParams


@dataclass(frozen=True, slots=True)
class Written:
    """One answer."""

    rate: float
    """Tokens a second after the first."""
    cpu_rate: float
    """The same by processor time."""
    steps: int
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class Found:
    """Rates in tokens a second, written after the first token; medians of all turns."""

    plain: float
    drafting: float
    ratio: float
    least_ratio: float
    most_ratio: float
    cpu_ratio: float
    """Of the rates by processor time: what a busy machine disturbs less, with one thread."""
    tokens_per_step: float
    same_tokens: bool


def cases(vocab_size: int, tokens: int) -> Mapping[str, Case]:
    """The requests, each `tokens` long."""
    rng = np.random.default_rng(SEED)
    ids = rng.integers(10, min(vocab_size, 900), PROMPT).tolist()
    passage = ids[:24]
    one, other = ids[:2]

    def params(temperature: float, bias: Mapping[int, float]) -> SamplingParams:
        return SamplingParams(
            temperature=temperature, seed=SEED, max_tokens=tokens, logit_bias=bias
        )

    return {
        "copies": Case(passage * (PROMPT // 24), params(0, dict.fromkeys(passage[:1], 100.0))),
        "cycle": Case(ids, params(0, {})),
        "coins": Case(ids, params(2.0, {one: 100.0, other: 100.0})),
        "free": Case(ids, params(1.0, {})),
    }


def written(engine: Engine, case: Case) -> Written:
    """Let one request be answered."""
    engine.submit(EngineRequest(case.prompt, case.params, Unconstrained()))
    tokens: list[int] = []
    while not tokens:
        tokens += _step(engine)
    began, began_cpu, steps = time.perf_counter(), time.process_time(), 0
    while not engine.idle:
        tokens += _step(engine)
        steps += 1
    later = len(tokens) - 1
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    return Written(later / seconds, later / cpu_seconds, steps, tokens)


def _step(engine: Engine) -> list[int]:
    events = engine.step()
    assert all(event.sampled for event in events), "no request fails here"
    return [event.sampled.token_id for event in events if event.sampled]


def compare(engines: tuple[Engine, Engine], case: Case, rounds: int) -> Found:
    """A B A B: `rounds` times each, after one that is not counted."""
    plain, drafting = engines
    first, again = written(plain, case), written(drafting, case)
    turns = [(written(plain, case), written(drafting, case)) for _ in range(rounds)]
    ratios = [b.rate / a.rate for a, b in turns]
    return Found(
        plain=statistics.median(a.rate for a, _ in turns),
        drafting=statistics.median(b.rate for _, b in turns),
        ratio=statistics.median(ratios),
        least_ratio=min(ratios),
        most_ratio=max(ratios),
        cpu_ratio=statistics.median(b.cpu_rate / a.cpu_rate for a, b in turns),
        tokens_per_step=(len(again.tokens) - 1) / again.steps,
        same_tokens=first.tokens == again.tokens,
    )


def main() -> None:
    """Print one line a case, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of the CPU; as many as it has")
    parser.add_argument("--cases", default="copies,cycle,coins,free")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {}
    ops = OpsOptions(threads=args.threads)
    with LLM(args.model, ops=ops, engine=EngineOptions(context_length=64)) as llm:
        engines = []
        for speculate in (False, True):
            options = EngineOptions(
                context_length=PROMPT + args.tokens + 1, max_cached_prefixes=0, speculate=speculate
            )
            plan = resolve(options, llm.config, PAGE_TOKENS)
            engines.append(Engine(llm.model, plan, PAGE_TOKENS))
        every = cases(llm.config.vocab_size, args.tokens)
        for name in args.cases.split(","):
            one = compare((engines[0], engines[1]), every[name], args.rounds)
            found[name] = asdict(one)
            if not args.json:
                print(
                    f"{name:8} {one.plain:9.1f} -> {one.drafting:9.1f} tokens/s, "
                    f"x{one.ratio:.3f} ({one.least_ratio:.3f} to {one.most_ratio:.3f}), "
                    f"x{one.cpu_ratio:.3f} by processor time, "
                    f"{one.tokens_per_step:.2f} tokens a step, "
                    f"{'the same' if one.same_tokens else 'OTHER'} tokens",
                    flush=True,
                )
    if args.json:
        print(json.dumps(found, indent=2))
    sys.exit(0 if all(each["same_tokens"] for each in found.values()) else 1)


if __name__ == "__main__":
    main()
