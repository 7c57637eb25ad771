"""llama.cpp at work on a GGUF file, as its own process under its own Python: no ossia in it.

    PYTHON benchmarks/gguf_peer.py logits FILE.gguf < ids.json > logits.npy
    PYTHON benchmarks/gguf_peer.py bench FILE.gguf < work.json > found.json

PYTHON has the packages llama-cpp-python and numpy. Driven by vs_llama_cpp.py and quality.py.
"""

import argparse
import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

FLASH = {
    "auto": llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
LOAD = {"mmap": llama_cpp.LLAMA_LOAD_MODE_MMAP, "read": llama_cpp.LLAMA_LOAD_MODE_NONE}
KV_TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32}
MICRO_BATCH = 512


class Peer:
    """An opened model and at most one context, which is a size of cache."""

    def __init__(self, path: str, args: argparse.Namespace) -> None:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.load_mode = LOAD[args.load]
        params.use_extra_bufts = args.repack
        self._args = args
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self._model:
            raise SystemExit(f"llama.cpp does not open {path}")
        self.num_ids = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._context: Any = None

    @contextmanager
    def context(self, sequences: int, tokens: int, *, outputs: int = 0) -> Iterator[None]:
        """Room for so many sequences of so many tokens each."""
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = sequences * (-(-tokens // 256) * 256)
        params.n_batch = params.n_ubatch = MICRO_BATCH
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = self._args.threads
        params.flash_attn_type = FLASH[self._args.flash]
        params.type_k = params.type_v = KV_TYPES[self._args.kv]
        params.swa_full = False  # as its server does: a window's keys only
        params.kv_unified = self._args.unified
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit(f"llama.cpp has no room for {sequences} x {tokens} tokens")
        yield
        llama_cpp.llama_free(self._context)

    def forget(self) -> None:
        """Empty the cache."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)

    def read(self, ids: Sequence[int], sequence: int) -> int:
        """Read a prompt from position 0; return the likeliest next id."""
        for start in range(0, len(ids), MICRO_BATCH):
            part = ids[start : start + MICRO_BATCH]
            wanted = [start + place + 1 == len(ids) for place in range(len(part))]
            self._decode(part, range(start, start + len(part)), [sequence] * len(part), wanted)
        return int(np.argmax(self._logits(-1)))

    def write(self, last: Sequence[int], position: int) -> list[int]:
        """One more token for each sequence; all stand at the same position."""
        count = len(last)
        self._decode(last, [position] * count, range(count), [True] * count)
        return [int(np.argmax(self._logits(place))) for place in range(count)]

    def score(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after each id of one text."""
        rows = []
        for start in range(0, len(ids), MICRO_BATCH):
            part = ids[start : start + MICRO_BATCH]
            self._decode(part, range(start, start + len(part)), [0] * len(part), [True] * len(part))
            rows += [self._logits(place).copy() for place in range(len(part))]
        return np.stack(rows)

    def _decode(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        sequences: Sequence[int],
        wanted: Sequence[bool],
    ) -> None:
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for place, row in enumerate(zip(ids, positions, sequences, wanted, strict=True)):
            batch.token[place], batch.pos[place], batch.seq_id[place][0], batch.logits[place] = row
            batch.n_seq_id[place] = 1
        failed = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_batch_free(batch)
        if failed:
            raise SystemExit(f"llama_decode returns {failed} for {len(ids)} tokens")

    def _logits(self, place: int) -> NDArray[np.float32]:
        """Of one token of the last batch; overwritten by the next."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, place)
        return np.ctypeslib.as_array(pointer, (self.num_ids,))


def bench(path: str, args: argparse.Namespace, work: dict[str, Any]) -> dict[str, Any]:
    """Measure what `ossia bench` measures, on the same ids.

    Args:
        path: of the file.
        args: settings of llama.cpp.
        work: context_length; short, a prompt; prefill, prompts; decode, a list of tokens and
            prompts, which are of one length and are written on together.
    """
    began = time.perf_counter()
    peer = Peer(path, args)
    load_seconds = time.perf_counter() - began
    with peer.context(1, work["context_length"]):
        peer.read(work["short"], 0)
        first_token = time.perf_counter() - began
        prefill = [_prefill(peer, ids) for ids in work["prefill"]]
        decode = [_decode(peer, each) for each in work["decode"] if len(each["prompts"]) == 1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for each in work["decode"]:
        count, depth = len(each["prompts"]), len(each["prompts"][0])
        if count > 1:
            with peer.context(count, depth + each["tokens"] + 1):
                decode.append(_decode(peer, each))
    return {
        "build": build(),
        "load_seconds": load_seconds,
        "time_to_first_token": first_token,
        "peak_rss_bytes": peak,
        "prefill": prefill,
        "decode": decode,
        "peak_rss_bytes_of_all": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _prefill(peer: Peer, ids: list[int]) -> dict[str, Any]:
    peer.forget()
    began = time.perf_counter()
    peer.read(ids, 0)
    return {"tokens": len(ids), "tokens_per_second": len(ids) / (time.perf_counter() - began)}


def _decode(peer: Peer, work: dict[str, Any]) -> dict[str, Any]:
    peer.forget()
    prompts, tokens = work["prompts"], work["tokens"]
    depth, batch = len(prompts[0]), len(prompts)
    last = [peer.read(ids, sequence) for sequence, ids in enumerate(prompts)]
    began = time.perf_counter()
    for step in range(tokens):
        last = peer.write(last, depth + step)
    seconds = time.perf_counter() - began
    return {
        "tokens": tokens,
        "batch": batch,
        "depth": depth,
        "tokens_per_second": tokens * batch / seconds,
    }


def build() -> str:
    """Which llama.cpp this is, and what it was compiled for."""
    library = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib/libggml-base.so"))
    library.ggml_commit.restype = ctypes.c_char_p
    commit, system = library.ggml_commit().decode(), llama_cpp.llama_print_system_info().decode()
    return f"llama-cpp-python {llama_cpp.__version__}, llama.cpp {commit}; {system.strip(' |')}"


def main() -> None:
    """Read the work from stdin, write what was found to stdout; llama.cpp's own log goes away."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("logits", "bench"))
    parser.add_argument("path", metavar="FILE.gguf")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--flash", choices=FLASH, default="auto")
    parser.add_argument("--load", choices=LOAD, default="mmap")
    parser.add_argument("--kv", choices=KV_TYPES, default="f16")
    parser.add_argument("--unified", action="store_true", help="one cache for all sequences")
    parser.add_argument("--no-repack", action="store_false", dest="repack")
    parser.add_argument("--verbose", action="store_true", help="llama.cpp's log on stderr")
    args = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    if not args.verbose:
        llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    work = json.load(sys.stdin)
    if args.task == "bench":
        json.dump(bench(args.path, args, work), sys.stdout)
        return
    peer = Peer(args.path, args)
    texts = []
    for ids in work:
        with peer.context(1, len(ids)):
            texts.append(peer.score(ids))
    np.savez(sys.stdout.buffer, *texts)


if __name__ == "__main__":
    main()
