"""Measures the speed of an open model, with an engine of its own and random tokens."""

import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ossia import LLM
    from ossia.ops import Ops
    from ossia.ops.tiles import Role


SEED = 20_260_101
"""Seed of the random tokens: every run measures the same ones."""
SHORT_TOKENS = 16
"""Length of the warm-up prompt."""
LEAST_CHUNK = 64
"""The fewest prompt tokens that a step prefills."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """The speed of prefilling one prompt."""

    tokens: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Decode:
    """The speed of decoding after `depth` tokens, summed over the `batch` concurrent requests."""

    tokens: int
    batch: int
    depth: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What to measure: each prefill length, and each combination of the other three."""

    prefills: tuple[int, ...]
    decodes: tuple[int, ...]
    batches: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def written_early(self) -> int:
        """Tokens the first of a batch decodes while the last is prefilled, `LEAST_CHUNK` a step."""
        return max(self.batches) * (max(self.depths) // LEAST_CHUNK + 2)

    @property
    def longest(self) -> int:
        """Tokens of the longest request."""
        return max(SHORT_TOKENS + 1, max(self.prefills) + 1, self.longest_decode)

    @property
    def longest_decode(self) -> int:
        """Tokens of the longest request that decodes."""
        return max(self.depths) + self.written_early + max(self.decodes)


def prompt_ids(vocab_size: int, count: int, seed: int) -> list[int]:
    """Ids of one random prompt; prompts of different seeds share no prefix."""
    import numpy as np

    rng = np.random.default_rng([SEED, count, seed])
    return [int(each) for each in rng.integers(vocab_size, size=count)]


class SpeedMeter:
    """Measures one model, with an engine large enough for the workload."""

    def __init__(self, llm: "LLM", work: Workload) -> None:
        from ossia.engine.engine import Engine
        from ossia.engine.options import EngineOptions, resolve
        from ossia.model.kv_cache import PAGE_TOKENS

        batch = max(work.batches)
        options = EngineOptions(
            context_length=llm.context_length,
            max_running=batch,
            max_batch_tokens=max(EngineOptions().max_batch_tokens, 2 * batch),
            pool_tokens=llm.context_length + batch * (work.longest_decode + PAGE_TOKENS),
            max_cached_prefixes=0,  # every prompt is prefilled in full
            speculate=False,  # random weights repeat themselves, which drafts predict well
        )
        self._work = work
        self._engine = Engine(llm.model, resolve(options, llm.config, PAGE_TOKENS), PAGE_TOKENS)

    def first_token(self) -> None:
        """Warm up: prefill a short prompt and sample one token."""
        self._read(SHORT_TOKENS)

    def prefills(self) -> list[Prefill]:
        """Measure the prefill of one prompt of each length."""
        return [Prefill(count, count / self._read(count)) for count in self._work.prefills]

    def decodes(self) -> list[Decode]:
        """Measure decoding in every combination of depth, batch and number of tokens."""
        work = self._work
        return [self._decode(*each) for each in product(work.depths, work.batches, work.decodes)]

    def _submit(self, num_prompt: int, max_tokens: int, seed: int) -> int:
        """Queue a request that no stop token ends."""
        from ossia.engine.request import EngineRequest, SamplingParams, Unconstrained

        prompt = prompt_ids(self._engine.model.config.vocab_size, num_prompt, seed)
        params = SamplingParams(temperature=0, max_tokens=max_tokens)
        return self._engine.submit(
            EngineRequest(prompt, params, Unconstrained(stop_ids=frozenset()))
        )

    def _read(self, count: int) -> float:
        """Seconds to prefill a prompt and sample one token."""
        self._submit(count, 1, seed=0)
        began = time.perf_counter()
        while not self._engine.idle:
            self._engine.step()
        return time.perf_counter() - began

    def _decode(self, depth: int, batch: int, tokens: int) -> Decode:
        """Time the steps in which every request of the batch decodes."""
        room = self._engine.plan.context_length - depth
        waiting = {self._submit(depth, room, seed=1 + index) for index in range(batch)}
        running = set(waiting)
        while waiting:  # prefill is not measured here
            waiting -= {event.request_id for event in self._engine.step()}
        began = time.perf_counter()
        events = [event for _ in range(tokens) for event in self._engine.step()]
        seconds = time.perf_counter() - began
        for request_id in running:
            self._engine.cancel(request_id)
        assert all(event.finish_reason is None for event in events), "there is room for all"
        assert len(events) >= tokens * batch, "every request decodes at least one token a step"
        return Decode(tokens, batch, depth, len(events) / seconds)


BUFFER_BYTES = 1 << 30
"""Larger than any CPU cache."""


def read_bytes_per_second(threads: int, repeats: int = 3) -> float:
    """Memory bandwidth: read a buffer, a part on each thread; the best of the repeats counts."""
    import numpy as np

    parts = np.array_split(np.ones(BUFFER_BYTES // 8, np.uint64), threads)
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            began = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))  # releases the GIL while it reads
            seconds.append(time.perf_counter() - began)
    return sum(part.nbytes for part in parts) / min(seconds)


def measured_apart(threads: int) -> float:
    """Memory bandwidth, measured in a process of its own.

    Raises:
        subprocess.CalledProcessError: it failed, usually because memory was short.
    """
    command = [sys.executable, "-m", __name__, str(threads)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    print(read_bytes_per_second(int(sys.argv[1])))


FEW_ROWS = 32
"""Enough rows to see in which format a backend stores a matrix."""
EXPERTS = ("gate_up", "down")


def token_bytes(llm: "LLM") -> int:
    """Bytes of weights that decoding one token reads, as the backend stores them.

    Counts the layers (only the active experts) and the head; neither keys and values nor the one
    row of the embedding.
    """
    from ossia.model.loading import IN_EVERY_LAYER

    config, tensors = llm.config, llm.checkpoint.tensors
    in_use = config.num_experts_per_tok / config.num_local_experts
    first = "layers.0."
    rest = {name.removeprefix(first): tensors[name] for name in tensors if name.startswith(first)}
    layer = 0.0
    for name, role in IN_EVERY_LAYER.items():
        packed = [f"{name}_blocks", f"{name}_scales"]
        sources = packed if packed[0] in rest else [name if name in rest else f"{name}_weight"]
        share = in_use if name in EXPERTS else 1
        layer += share * _stored_bytes(llm.ops, role, [rest.pop(source) for source in sources])
    for name, array in rest.items():  # norms, biases, sinks and the router
        layer += array.nbytes * (in_use if name.startswith(EXPERTS) else 1)
    return round(config.num_hidden_layers * layer) + tensors["final_norm"].nbytes + _head_bytes(llm)


def _head_bytes(llm: "LLM") -> int:
    """Bytes of the head as published; or of its approximate scan and the rows scored exactly."""
    import numpy as np

    from ossia.engine.approximate_sampler import TARGET_CANDIDATES

    head, ops = llm.checkpoint.tensors["head"], llm.ops
    hidden_TD = ops.from_numpy(np.zeros((1, head.shape[1]), np.float32))
    if ops.scan(hidden_TD, np.zeros(1, np.int32), llm.model.weights.head) is None:
        return int(head.nbytes)
    return _stored_bytes(ops, "head", [head]) + TARGET_CANDIDATES * int(head[0].nbytes)


def _stored_bytes(ops: "Ops[Any]", role: "Role", arrays: list["NDArray[Any]"]) -> int:
    """Bytes in which the backend stores a matrix, float or MXFP4; from a few sample rows."""
    import numpy as np

    from ossia.ops.mxfp4 import Mxfp4
    from ossia.ops.tiles import Tiles

    first, *scales = arrays
    *outer, rows = (scales[0] if scales else first).shape[:-1]
    few = [(*[1] * len(outer), FEW_ROWS, *each.shape[len(outer) + 1 :]) for each in arrays]
    zeros = [np.zeros(shape, each.dtype) for shape, each in zip(few, arrays, strict=True)]
    tiles = ops.repack(role, Mxfp4(*zeros) if scales else zeros[0])
    if not isinstance(tiles, Tiles):
        return sum(each.nbytes for each in arrays)
    num_rows: int = rows * math.prod(outer)
    return (tiles.values.nbytes + tiles.scales.nbytes) * num_rows // FEW_ROWS
