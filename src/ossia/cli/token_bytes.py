"""How many bytes of weights a model reads for one token. Knows sizes only; reads no weight."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ossia import LLM
    from ossia.ops import Ops
    from ossia.ops.tiles import Role

FEW_ROWS = 32
"""Enough for a backend to show how it keeps a matrix."""
EXPERTS = ("gate_up", "down")


def token_bytes(llm: "LLM") -> int:
    """Bytes that one token of one request reads, as the backend keeps them.

    The layers, of the experts those in use, and the head. Keys and values are not among them, nor
    is the one row of the embedding.
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
        layer += share * _kept_bytes(llm.ops, role, [rest.pop(source) for source in sources])
    for name, array in rest.items():  # norms, biases, sinks and the router
        layer += array.nbytes * (in_use if name.startswith(EXPERTS) else 1)
    return round(config.num_hidden_layers * layer) + tensors["final_norm"].nbytes + _head_bytes(llm)


def _head_bytes(llm: "LLM") -> int:
    """The head as published; or its scan, and the rows that are then scored exactly."""
    import numpy as np

    from ossia.engine.approximate_sampler import TARGET_CANDIDATES

    head, ops = llm.checkpoint.tensors["head"], llm.ops
    hidden_TD = ops.from_numpy(np.zeros((1, head.shape[1]), np.float32))
    if ops.scan(hidden_TD, np.zeros(1, np.int32), llm.model.weights.head) is None:
        return int(head.nbytes)
    return _kept_bytes(ops, "head", [head]) + TARGET_CANDIDATES * int(head[0].nbytes)


def _kept_bytes(ops: "Ops[Any]", role: "Role", arrays: list["NDArray[Any]"]) -> int:
    """How large the backend keeps a float matrix, or MXFP4 blocks and scales: by an example."""
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
