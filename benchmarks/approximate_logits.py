"""Do approximate logits choose what exact ones choose, and what do they save?

    python -m benchmarks.approximate_logits --model FOLDER [--positions 10000]

At every position of random texts: the likeliest id by approximate logits beside the exact one, the
distance (KL) of the distribution that is drawn from at temperature 1, how often the candidates were
not trusted and all was scored, and how much mass lies outside of them. Then both ways are timed.
"""

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np

from ossia import LLM, EngineOptions, SamplingParams
from ossia.engine.approximate_sampler import refine_candidates, sample_approximate
from ossia.model.forward_batch import ForwardBatch, SequenceSlice
from ossia.model.kv_cache import PAGE_TOKENS, KvCache
from ossia.model.logits import RowLogits, StepLogits

TEXT_TOKENS, CHUNK = 512, 64
GREEDY, DRAWN = SamplingParams(temperature=0), SamplingParams(temperature=1)


def log_softmax(logits_V: np.ndarray) -> np.ndarray:
    """In float64."""
    wide_V = logits_V.astype(np.float64) - logits_V.max()
    return wide_V - np.log(np.exp(wide_V).sum())


def compare(row: RowLogits) -> dict[str, float]:
    """One position."""
    exact = log_softmax(row.exact_V)
    refined_V, id_N = refine_candidates(row, DRAWN, None, (), {})
    found = {"trusted": float(id_N is not None)}
    if id_N is None:
        return found
    mixed = log_softmax(refined_V)
    return found | {
        "same": float(id_N[refined_V[id_N].argmax()] == exact.argmax()),
        "kl": float(np.sum(np.exp(exact) * (exact - mixed))),
        "outside": float(1 - np.exp(mixed[id_N]).sum()),
        "candidates": len(id_N),
    }


def steps(llm: LLM, positions: int) -> Any:
    """Scores of every position of random texts, a chunk at a time; a new text every 512 tokens."""
    model, random = llm.model, np.random.default_rng(0)
    window = model.config.sliding_window
    for past in range(0, positions, CHUNK):
        if past % TEXT_TOKENS == 0:
            pages = range(TEXT_TOKENS // PAGE_TOKENS)
            cache = KvCache(model.config, model.ops, num_pages=len(pages), num_windows=1)
        ids = random.integers(model.config.vocab_size, size=CHUNK).tolist()
        one = SequenceSlice(
            ids=ids, past=past % TEXT_TOKENS, pages=pages, window_pages=cache.window_pages(0)
        )
        batch = ForwardBatch.from_slices([one], range(CHUNK), window=window)
        yield StepLogits(model, model.hidden(batch, cache), batch.row_R)


def milliseconds(llm: LLM, hidden_TD: Any, params: SamplingParams, exact: bool) -> float:
    """Of choosing one id, head included."""
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        row = RowLogits(StepLogits(llm.model, hidden_TD, np.array([0], np.int32)), 0)
        if exact:
            row.exact_V.argmax()
        else:
            generator = np.random.default_rng(0)
            sample_approximate(
                row, params, allowed=None, prompt=(), output_token_counts={}, generator=generator
            )
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1e3


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prepared-folder", default="auto")
    parser.add_argument("--positions", type=int, default=10_000)
    args = parser.parse_args()
    options = EngineOptions(context_length=TEXT_TOKENS)
    with LLM(args.model, prepared=args.prepared_folder, engine=options) as llm:
        rows: list[dict[str, float]] = []
        for logits in steps(llm, args.positions):
            if logits.approximate_RV is None:
                raise SystemExit("this model's head is too small to be scanned")
            exact_RV = logits.exact_RV
            for place, exact_V in enumerate(exact_RV):
                row = RowLogits(logits, place)
                row.__dict__["exact_V"] = exact_V  # scored together, once
                rows.append(compare(row))
        trusted = [row for row in rows if row["trusted"]]
        hidden_TD = logits._hidden_TD[:1].copy()
        found = {
            "model": args.model,
            "positions": len(rows),
            "trusted": len(trusted) / len(rows),
            "same_likeliest_id": sum(row["same"] for row in trusted),
            "of": len(trusted),
            "mean_kl": statistics.fmean(row["kl"] for row in trusted),
            "largest_kl": max(row["kl"] for row in trusted),
            "mean_mass_outside": statistics.fmean(row["outside"] for row in trusted),
            "mean_candidates": statistics.fmean(row["candidates"] for row in trusted),
            "milliseconds": {
                "all exactly": milliseconds(llm, hidden_TD, GREEDY, exact=True),
                "approximate, temperature 0": milliseconds(llm, hidden_TD, GREEDY, exact=False),
                "approximate, temperature 1": milliseconds(llm, hidden_TD, DRAWN, exact=False),
            },
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
