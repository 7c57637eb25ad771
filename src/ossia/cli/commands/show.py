"""`ossia show`: the facts of one model, from its files."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ossia.cli.options import AsJson, ModelOptions, spread
from ossia.cli.terminal.progress import loading
from ossia.cli.terminal.terminal import as_bytes, as_count, as_table, harmless

if TYPE_CHECKING:
    from ossia.checkpoint import Checkpoint, ModelConfig

EXAMPLES = """
ossia show
ossia show -m FOLDER --verify
"""

PLANNED_TOKENS = 8192
"""Default context length of the memory plan."""


@spread
def command(
    *,
    model: ModelOptions,
    as_json: AsJson = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every weight and refuse NaN and infinity.")
    ] = False,
) -> None:
    """Show the shape of a model and the memory it needs."""
    from ossia.checkpoint import open_checkpoint, verify_values
    from ossia.checkpoint.find import find_model

    checkpoint = open_checkpoint(find_model(model.model))
    if verify:
        names = list(checkpoint.tensors)
        with loading(quiet=model.quiet) as progress:
            done = iter(range(1, len(names) + 1))
            verify_values(checkpoint, lambda name: progress("verify", next(done) / len(names)))
    facts = facts_of(checkpoint, model) | {"verified": verify}
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        typer.echo(harmless(as_table(_lines(facts))))


def facts_of(checkpoint: "Checkpoint", model: ModelOptions) -> dict[str, Any]:
    """Everything that `show` prints, by name; sizes in bytes."""
    from ossia.checkpoint import counts
    from ossia.ops.select import OpsOptions

    config = checkpoint.config
    context = model.context_length or PLANNED_TOKENS
    planned = min(context, config.max_position_embeddings)
    kv_dtype = OpsOptions(weights=model.weights, kv_dtype=model.kv_dtype).resolved_kv_dtype
    return {
        "name": model.model,
        "folder": str(checkpoint.folder),
        "layout": checkpoint.layout,
        "files": [path.name for path in checkpoint.files],
        "has_tokenizer": checkpoint.tokenizer_path is not None,
        "parameters": counts.parameters(config),
        "active_parameters": counts.active_parameters(config),
        "tensor_bytes": checkpoint.total_bytes,
        "context_length": config.max_position_embeddings,
        "vocabulary_size": config.vocab_size,
        "layers": config.num_hidden_layers,
        "experts": config.num_local_experts,
        "active_experts": config.num_experts_per_tok,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "attention_heads": config.num_attention_heads,
        "key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "sliding_window": config.sliding_window,
        "memory": {
            "weight_bytes": checkpoint.total_bytes,
            "context_tokens": planned,
            "kv_dtype": kv_dtype,
            "kv_bytes": kv_bytes(config, planned, kv_dtype),
        },
        "unknown_config_keys": list(checkpoint.unknown_keys),
    }


def kv_bytes(config: "ModelConfig", tokens: int, dtype: str) -> int:
    """Bytes of one request's KV cache; sliding-window layers hold only their window."""
    from ossia.model.kv_cache import PAGE_TOKENS
    from ossia.ops.api import pages_per_window

    pages = {
        "full_attention": -(-tokens // PAGE_TOKENS),
        "sliding_attention": pages_per_window(config.sliding_window, PAGE_TOKENS),
    }
    num_cached = sum(pages[kind] for kind in config.layer_types) * PAGE_TOKENS
    width, scale = {"float32": (4, 0), "bfloat16": (2, 0), "int8": (1, 2)}[dtype]
    return 2 * num_cached * config.num_key_value_heads * (config.head_dim * width + scale)


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    memory = facts["memory"]
    needed = memory["weight_bytes"] + memory["kv_bytes"]
    shown = {
        "name": facts["name"],
        "folder": facts["folder"],
        "layout": f"{facts['layout']}, {len(facts['files'])} file(s)",
        "parameters": f"{as_count(facts['parameters'])}, "
        f"{as_count(facts['active_parameters'])} of them active for a token",
        "tensors": as_bytes(facts["tensor_bytes"]),
        "context": f"{facts['context_length']:,} tokens",
        "vocabulary": f"{facts['vocabulary_size']:,} rows, "
        + ("with tokenizer.json" if facts["has_tokenizer"] else "no tokenizer.json"),
        "layers": f"{facts['layers']}, each with {facts['experts']} experts, "
        f"{facts['active_experts']} active",
        "width": f"{facts['hidden_size']}, inside an expert {facts['intermediate_size']}",
        "heads": f"{facts['attention_heads']} of {facts['head_dim']} channels, "
        f"{facts['key_value_heads']} for keys and values",
        "window": f"{facts['sliding_window']} tokens in every windowed layer",
        "memory": f"{as_bytes(needed)}: weights {as_bytes(memory['weight_bytes'])}, keys and "
        f"values of {memory['context_tokens']:,} tokens {as_bytes(memory['kv_bytes'])} "
        f"in {memory['kv_dtype']}",
    }
    if facts["unknown_config_keys"]:
        shown["not read"] = f"in config.json: {', '.join(facts['unknown_config_keys'])}"
    if facts["verified"]:
        shown["verified"] = "every byte was read; all values are numbers"
    return shown
