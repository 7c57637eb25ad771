"""How much slower one stream writes after a long text: `python -m benchmarks.depth --model FOLDER`.

The keys of the text are whatever the memory holds: speed does not depend on them, and reading 16k
tokens first would take ten minutes of a CPU. Depths take turns; the median of the steps counts.
"""

import argparse
import json
import statistics
import time

from ossia import LLM, EngineOptions, OpsOptions
from ossia.model.forward_batch import ForwardBatch, SequenceSlice
from ossia.model.kv_cache import PAGE_TOKENS, KvCache

ROUNDS, STEPS = 3, 8


def main() -> None:
    """Print one JSON object: tokens a second at each depth, and the share of the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prepared-folder", default="auto")
    parser.add_argument("--kv-dtype")
    parser.add_argument("--depths", type=int, nargs="+", default=[1024, 16_384])
    args = parser.parse_args()
    room = max(args.depths) + ROUNDS * STEPS + 1
    with LLM(
        args.model,
        prepared=args.prepared_folder,
        ops=OpsOptions(kv_dtype=args.kv_dtype),
        engine=EngineOptions(context_length=room),
    ) as llm:
        model = llm.model
        pages = range(-(-room // PAGE_TOKENS))
        cache = KvCache(model.config, model.ops, num_pages=len(pages), num_windows=1)
        seconds: dict[int, list[float]] = {depth: [] for depth in args.depths}
        for turn in range(ROUNDS):
            for depth, found in seconds.items():
                for index in range(STEPS):
                    place = depth + turn * STEPS + index
                    one = SequenceSlice(
                        ids=[place], past=place, pages=pages, window_pages=cache.window_pages(0)
                    )
                    batch = ForwardBatch.from_slices([one], [0], window=model.config.sliding_window)
                    began = time.perf_counter()
                    hidden_TD = model.hidden(batch, cache)
                    if model.ops.scan(hidden_TD, batch.row_R, model.weights.head) is None:
                        model.ops.unembed(hidden_TD, batch.row_R, model.weights.head)
                    found.append(time.perf_counter() - began)
        rates = {depth: 1 / statistics.median(found) for depth, found in seconds.items()}
        first = rates[args.depths[0]]
        shares = {depth: rate / first for depth, rate in rates.items()}
        print(json.dumps({"tokens_per_second": rates, "share_of_the_first": shares}))


if __name__ == "__main__":
    main()
