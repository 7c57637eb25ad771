"""ModelConfig: config.json in Hugging Face's or OpenAI's form, validated once.

It does not know what the tensors or the forward pass make of them.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

from ossia.checkpoint.files import read_json, short, some
from ossia.errors import CheckpointError

MAX_CONFIG_BYTES = 2**20
MAX_LAYERS = 1024
SLIDING, FULL = "sliding_attention", "full_attention"


class Within(NamedTuple):
    """The values a fact may have, both ends included."""

    least: float
    most: float
    multiple: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of one gpt-oss model, always consistent.

    Names are those of Hugging Face's config.json, where the `rope_*` stand in a table of their own.

    Raises:
        CheckpointError: a fact of another type or out of bounds, or facts that do not agree.
    """

    num_hidden_layers: Annotated[int, Within(1, MAX_LAYERS)]
    num_local_experts: Annotated[int, Within(1, 4096)]
    num_experts_per_tok: Annotated[int, Within(1, 4096)]
    hidden_size: Annotated[int, Within(32, 65_536, multiple=32)]
    """Model width; in whole MXFP4 blocks of 32, as is the next."""
    intermediate_size: Annotated[int, Within(32, 65_536, multiple=32)]
    """Width inside one expert."""
    num_attention_heads: Annotated[int, Within(1, 4096)]
    num_key_value_heads: Annotated[int, Within(1, 4096)]
    head_dim: Annotated[int, Within(2, 1024, multiple=2)]
    """Channels of one head; even, since RoPE turns them in pairs."""
    vocab_size: Annotated[int, Within(1, 2**22)]
    sliding_window: Annotated[int, Within(1, 2**24)]
    """Keys that a sliding-window layer attends to, the query's own included; in tokens."""
    layer_types: tuple[str, ...]
    """For each layer `sliding_attention` or `full_attention`."""
    max_position_embeddings: Annotated[int, Within(1, 2**24)]
    """The longest context; in tokens."""
    rope_theta: Annotated[float, Within(1.001, 1e12)]
    rope_factor: Annotated[float, Within(1, 1e6)]
    rope_beta_fast: Annotated[float, Within(1e-3, 1e6)]
    rope_beta_slow: Annotated[float, Within(1e-3, 1e6)]
    rope_original_max_position_embeddings: Annotated[int, Within(1, 2**24)]
    """The original context, before YaRN; in tokens."""
    rope_truncate: bool
    """Whether the ends of YaRN's ramp are rounded to whole pairs; not so in gpt-oss."""
    rms_norm_eps: Annotated[float, Within(1e-12, 1)]
    swiglu_limit: Annotated[float, Within(1e-3, 1e6)]
    swiglu_alpha: Annotated[float, Within(1e-3, 1e3)]

    def __post_init__(self) -> None:
        """Validate; no other code checks again."""
        for fact in fields(self):
            match get_args(fact.type):
                case (kind, Within() as within):
                    value = _number(fact.name, getattr(self, fact.name), kind, within)
                    object.__setattr__(self, fact.name, value)
        if type(self.rope_truncate) is not bool:
            raise CheckpointError(f"rope_truncate is {short(self.rope_truncate)}, not a boolean")
        layer_types = self.layer_types
        if type(layer_types) is not tuple or not all(t in (SLIDING, FULL) for t in layer_types):
            raise CheckpointError(
                f"layer_types is {short(layer_types)}; it must list {SLIDING} and {FULL}"
            )
        if len(layer_types) != self.num_hidden_layers:
            raise CheckpointError(
                f"layer_types lists {len(layer_types)} layers, "
                f"num_hidden_layers is {self.num_hidden_layers}; they must agree"
            )
        self._check_agreement()

    def _check_agreement(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise CheckpointError(
                f"num_attention_heads is {self.num_attention_heads}; it must be a multiple of "
                f"num_key_value_heads, {self.num_key_value_heads}"
            )
        if self.num_experts_per_tok > self.num_local_experts:
            raise CheckpointError(
                f"num_experts_per_tok is {self.num_experts_per_tok}, "
                f"but there are only {self.num_local_experts} experts (num_local_experts)"
            )
        if self.rope_beta_fast <= self.rope_beta_slow:
            raise CheckpointError(
                f"rope beta_fast is {self.rope_beta_fast}; "
                f"it must be above beta_slow, {self.rope_beta_slow}"
            )

    @classmethod
    def from_file(cls, path: Path) -> "ModelConfig":
        """Read config.json in Hugging Face's or in OpenAI's original spelling.

        Raises:
            CheckpointError: no regular file, no strict JSON, another architecture, or a fact that
                is missing or impossible.
        """
        return read_config(path)[0]

    def to_hugging_face(self, *, packed: bool = True) -> dict[str, Any]:
        """The table of a Hugging Face config.json, in the spelling every version reads.

        Args:
            packed: whether the experts are stored as MXFP4.
        """
        table: dict[str, Any] = {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss"}
        facts = {fact.name: getattr(self, fact.name) for fact in fields(self)}
        rope = {theirs: facts.pop(ours) for ours, theirs in _ROPE_FACTS.items()}
        table |= facts
        table |= {
            "attention_bias": True,
            "experts_per_token": self.num_experts_per_tok,
            "hidden_act": "silu",
            "initial_context_length": self.rope_original_max_position_embeddings,
            "layer_types": list(self.layer_types),
            "rope_theta": rope.pop("rope_theta"),
            "rope_scaling": {"rope_type": "yarn"} | rope,
            "tie_word_embeddings": False,
        }
        if packed:
            table["quantization_config"] = {
                "modules_to_not_convert": [
                    "model.layers.*.self_attn",
                    "model.layers.*.mlp.router",
                    "model.embed_tokens",
                    "lm_head",
                ],
                "quant_method": "mxfp4",
            }
        return table

    def to_original(self) -> dict[str, Any]:
        """The flat table of OpenAI's original config.json.

        Raises:
            CheckpointError: this model has facts that the original spelling cannot say.
        """
        table = {original: getattr(self, fact) for fact, original in _ORIGINAL_FACTS.items()}
        reread = _read_original(_Facts(dict(table), "the original spelling"))
        lost = [fact.name for fact in fields(self) if reread[fact.name] != getattr(self, fact.name)]
        if lost:
            raise CheckpointError(
                f"the original config.json cannot say this model's {some(lost)}; "
                "write the hugging-face or the dense layout"
            )
        return table


def read_config(path: Path) -> tuple[ModelConfig, tuple[str, ...]]:
    """Read config.json; also name the unknown keys in it.

    Raises:
        CheckpointError: see `ModelConfig.from_file`.
    """
    facts = _Facts(read_json(path, MAX_CONFIG_BYTES), str(path))
    original = "model_type" not in facts.left and "num_experts" in facts.left
    values = _read_original(facts) if original else _read_hugging_face(facts)
    try:
        config = ModelConfig(**values)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return config, tuple(sorted(facts.left.keys() - _IGNORED_KEYS))


class _Facts:
    """Reads a table of config.json key by key; `left` has the unread keys."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self.left = table
        self._where = where

    def take(self, *spellings: str) -> Any:
        """Take the value of a key with several spellings; all present must agree."""
        found = {name: self.left.pop(name) for name in spellings if name in self.left}
        if not found:
            raise self.error(f"lacks {spellings[0]}; is this a gpt-oss model?")
        value, *others = found.values()
        if any(other != value for other in others):
            raise self.error(f"says {short(found)}; these mean the same and must agree")
        return value

    def take_or(self, name: str, default: Any) -> Any:
        """Take a value, or the default if the key is missing or null."""
        value = self.left.pop(name, None)
        return default if value is None else value

    def expect(self, name: str, expected: str, *spellings: str) -> None:
        """Take a value that must be the expected one."""
        value = self.take(name, *spellings)
        if value != expected:
            raise self.error(f"has {name} {short(value)}, not {expected}; only gpt-oss is read")

    def error(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self._where} {problem}")

    def table(self, name: str, value: Any) -> "_Facts":
        """Open a nested table."""
        if not isinstance(value, dict):
            raise self.error(f"has {name} {short(value)}, not a table")
        return _Facts(dict(value), f"{self._where}: {name}")


def _read_hugging_face(facts: _Facts) -> dict[str, Any]:
    facts.expect("model_type", "gpt_oss")
    if tied := facts.take_or("tie_word_embeddings", False):
        raise facts.error(f"has tie_word_embeddings {short(tied)}; gpt-oss has a head of its own")
    quantization = facts.take_or("quantization_config", None)
    if quantization is not None:
        facts.table("quantization_config", quantization).expect("quant_method", "mxfp4")
    values = {name: facts.take(name, *others) for name, others in _HUGGING_FACE_FACTS.items()}
    values["swiglu_alpha"] = facts.take_or("swiglu_alpha", 1.702)
    values["layer_types"] = _layer_types(
        facts.take_or("layer_types", None), values["num_hidden_layers"]
    )
    theta = facts.left.pop("rope_theta", None)
    ropes = [  # transformers 5 says rope_parameters, 4 says rope_scaling
        _read_rope(facts.table(name, facts.left.pop(name)), theta)
        for name in ("rope_parameters", "rope_scaling")
        if facts.left.get(name) is not None
    ]
    if not ropes:
        raise facts.error("lacks rope_scaling; is this a gpt-oss model?")
    if ropes[0] != ropes[-1]:
        raise facts.error("says different things in rope_parameters and rope_scaling")
    return values | ropes[0]


def _read_rope(rope: _Facts, theta: Any) -> dict[str, Any]:
    rope.expect("rope_type", "yarn", "type")
    if theta is not None:
        rope.left.setdefault("rope_theta", theta)
    values = {ours: rope.take(theirs) for ours, theirs in _ROPE_FACTS.items()}
    unknown = {name for name, value in rope.left.items() if value is not None}
    if unknown:  # unlike elsewhere, each of them would change the angles
        raise rope.error(f"has {some(unknown)}, unknown for gpt-oss; remove what has no meaning")
    return values


def _read_original(facts: _Facts) -> dict[str, Any]:
    values = {fact: facts.take(original) for fact, original in _ORIGINAL_FACTS.items()}
    context = values["rope_original_max_position_embeddings"]
    factor = values["rope_factor"]
    if not all(type(v) in (int, float) and 0 < v <= 2**24 for v in (context, factor)):
        raise facts.error(
            f"has initial_context_length {short(context)} and rope_scaling_factor {short(factor)}; "
            f"both must be numbers above 0 and up to {2**24}"
        )
    return values | {
        "layer_types": _layer_types(None, values["num_hidden_layers"]),
        "max_position_embeddings": round(context * factor),
        "rms_norm_eps": 1e-5,
        "rope_truncate": False,
        "swiglu_alpha": 1.702,
    }


def _layer_types(listed: Any, num_layers: Any) -> Any:
    """Return the listed types; by default sliding and full layers alternate. Not validated."""
    if isinstance(listed, list):
        return tuple(listed)
    if listed is None and type(num_layers) is int:
        return tuple((SLIDING, FULL)[i % 2] for i in range(min(num_layers, MAX_LAYERS)))
    return listed


def _number(name: str, value: Any, kind: type, within: Within) -> int | float:
    """Convert a value to the field's type; only integers may become floats."""
    is_whole = type(value) is int
    fits = (is_whole or (kind is float and type(value) is float)) and (
        within.least <= value <= within.most  # also refuses NaN
    )
    if not fits or value % within.multiple and kind is int:
        noun = "whole number" if kind is int else "number"
        steps = f", a multiple of {within.multiple}" if within.multiple > 1 else ""
        raise CheckpointError(
            f"{name} is {short(value)}; "
            f"it must be a {noun} from {within.least} to {within.most}{steps}"
        )
    return float(value) if kind is float else int(value)


_ROPE_FACTS = {
    "rope_theta": "rope_theta",
    "rope_factor": "factor",
    "rope_beta_fast": "beta_fast",
    "rope_beta_slow": "beta_slow",
    "rope_original_max_position_embeddings": "original_max_position_embeddings",
    "rope_truncate": "truncate",
}
"""Our names, and those in Hugging Face's table `rope_scaling` or `rope_parameters`."""

_HUGGING_FACE_FACTS: dict[str, tuple[str, ...]] = {
    "num_hidden_layers": (),
    "num_local_experts": ("num_experts",),
    "num_experts_per_tok": ("experts_per_token",),
    "hidden_size": (),
    "intermediate_size": (),
    "num_attention_heads": (),
    "num_key_value_heads": (),
    "head_dim": (),
    "vocab_size": (),
    "sliding_window": (),
    "max_position_embeddings": (),
    "rms_norm_eps": (),
    "swiglu_limit": (),
}
"""Our names, which are Hugging Face's, and other spellings of the same."""

_ORIGINAL_FACTS = {
    "num_hidden_layers": "num_hidden_layers",
    "num_local_experts": "num_experts",
    "num_experts_per_tok": "experts_per_token",
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "swiglu_limit": "swiglu_limit",
    "head_dim": "head_dim",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "sliding_window": "sliding_window",
    "rope_original_max_position_embeddings": "initial_context_length",
    "rope_theta": "rope_theta",
    "rope_factor": "rope_scaling_factor",
    "rope_beta_slow": "rope_ntk_alpha",
    "rope_beta_fast": "rope_ntk_beta",
}
"""Our names, and those of OpenAI's original file."""

_IGNORED_KEYS = frozenset(
    {
        "architectures",
        "attention_bias",  # without biases their tensors are missing, and that is refused
        "attention_dropout",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "hidden_act",  # says silu; what is computed is the clamped SwiGLU
        "initial_context_length",
        "initializer_range",
        "output_router_logits",
        "pad_token_id",
        "router_aux_loss_coef",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Keys of published files that change nothing here."""
