"""Fields common to all requests: types, bounds, and their translation to SamplingParams.

Knows no path of the API and no form of conversation.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypedDict, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from ossia.engine.request import MAX_BIASED_TOKENS, SAMPLING_FIELDS, SamplingParams
from ossia.errors import RequestError
from ossia.harmony import messages as harmony
from ossia.providers.provider import ServedModel

MAX_MESSAGES = 2000
MAX_TOOLS = 128
MAX_PARTS = 1000
MAX_CHOICES = 8
MAX_STOPS = 4
MAX_STOP_BYTES = 256
MAX_TEXT = 8 << 20
"""Characters; the limit of a whole body in bytes."""


def _at_most(limit: int) -> BeforeValidator:
    """Limit the number of fields before validation: each invalid one costs an error object."""

    def count(value: object) -> object:
        if isinstance(value, dict) and len(value) > limit:
            raise ValueError(f"it has {len(value)} entries; expected at most {limit}")
        return value

    return BeforeValidator(count)


def _short_enough(stop: str) -> str:
    if (size := len(stop.encode())) > MAX_STOP_BYTES:
        raise ValueError(f"a stop string has {size} bytes; expected at most {MAX_STOP_BYTES}")
    return stop


def _bounds(name: str) -> Any:
    """Return the bounds of a field of `SamplingParams`."""
    parameter = SAMPLING_FIELDS[name]
    limits: dict[str, Any] = dict(parameter.bounds)
    if parameter.type is float:
        limits["allow_inf_nan"] = False
    return Field(**limits)


MaxTokens = Annotated[int, _bounds("max_tokens")]
TopLogprobs = Annotated[int, _bounds("logprobs")]
ReasoningTokens = Annotated[int, Field(ge=0, le=1 << 20)]
Choices = Annotated[int, Field(ge=1, le=MAX_CHOICES)]
StopText = Annotated[
    str, Field(min_length=1, max_length=MAX_STOP_BYTES), AfterValidator(_short_enough)
]
Stop = StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS, fail_fast=True)]
Bias = Annotated[float, _bounds("logit_bias")]
TokenKey = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}$")]
LogitBias = Annotated[dict[TokenKey, Bias], _at_most(MAX_BIASED_TOKENS)]
MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], _at_most(16)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Label = Annotated[str, Field(max_length=512)]
"""A short text that is only stored, compared or echoed: a user, a model's name, a cache key."""
Identifier = Annotated[str, Field(min_length=1, max_length=256)]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
JsonObject = dict[str, Any]
"""Not validated here; its user validates it."""


class _Unused:
    """Marks a field without effect."""


T = TypeVar("T")
Unused = Annotated[T | None, _Unused()]
"""A field whose type is checked, that has no effect, and that a header reports as ignored."""


class Form(BaseModel):
    """Part of a request: strict types, null means absent, unknown fields in `model_extra`."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, protected_namespaces=())


class GenerationArguments(TypedDict):
    """Keyword arguments of `GenerationRequest` and its subclasses."""

    params: SamplingParams


class SamplingFields(Form):
    """The sampling parameters of every route, with the defaults of `SamplingParams`.

    A new parameter is added here and in `SamplingParams`, nowhere else.
    """

    temperature: Annotated[float, _bounds("temperature")] | None = None
    top_p: Annotated[float, _bounds("top_p")] | None = None
    top_k: Annotated[int, _bounds("top_k")] | None = None
    min_p: Annotated[float, _bounds("min_p")] | None = None
    presence_penalty: Annotated[float, _bounds("presence_penalty")] | None = None
    frequency_penalty: Annotated[float, _bounds("frequency_penalty")] | None = None
    logit_bias: LogitBias | None = None
    seed: Annotated[int, _bounds("seed")] | None = None
    stop: Stop | None = None

    def to_sampling_params(
        self, *, max_tokens: int | None, logprobs: int | None, model: ServedModel
    ) -> SamplingParams:
        """Convert to SamplingParams.

        Args:
            max_tokens: limit of generated tokens, reasoning included.
            logprobs: number of top log probabilities per token; None: report none.
            model: the served model; its control ids cannot be biased.

        Raises:
            RequestError: `logit_bias` names a control id or an id outside the vocabulary.
        """
        values = {name: getattr(self, name) for name in SamplingFields.model_fields}
        values["logit_bias"] = _biases(self.logit_bias or {}, model)
        values["stop"] = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        set_values = {name: value for name, value in values.items() if value is not None}
        return SamplingParams(max_tokens=max_tokens, logprobs=logprobs, **set_values)


class GenerationFields(SamplingFields):
    """Fields of every request for a generation."""

    def to_generation(
        self, *, max_tokens: int | None, logprobs: int | None, model: ServedModel
    ) -> GenerationArguments:
        """Return the keyword arguments of `GenerationRequest`.

        Args and Raises: see `to_sampling_params`.
        """
        params = self.to_sampling_params(max_tokens=max_tokens, logprobs=logprobs, model=model)
        return {"params": params}


class TurnFields(GenerationFields):
    """Fields of every request for a turn, in Chat Completions and Responses."""

    model: Identifier | None = None
    stream: bool | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    tools: list[Any] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    top_logprobs: TopLogprobs | None = None
    service_tier: Unused[Label] = None
    prompt_cache_retention: Unused[Label] = None
    prompt_cache_options: Unused[JsonObject] = None
    moderation: Unused[JsonObject] = None


class SchemaFields(Form):
    """The JSON schema that constrains the answer."""

    name: FunctionName | None = None
    description: Text | None = None
    schema_: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = None

    def to_dict(self) -> JsonObject:
        """Return these fields alone, as OpenAI spells them."""
        return {
            "name": self.name,
            "description": self.description,
            "schema": self.schema_,
            "strict": self.strict,
        }


class StreamOptions(Form):
    """`stream_options`: extra content of a stream."""

    include_usage: bool | None = None
    include_obfuscation: Unused[bool] = None


def _biases(biases: Mapping[str, float], model: ServedModel) -> dict[int, float]:
    for key in biases:
        if int(key) >= model.vocab_size or int(key) in model.control_ids:
            raise RequestError(
                f"logit_bias names token {key}, which stands for no text in this model; leave it "
                "out",
                param=f"logit_bias.{key}",
            )
    return {int(key): bias for key, bias in biases.items()}


_EFFORTS: Final[Mapping[Effort, harmony.Effort]] = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def effort_of(effort: Effort | None) -> tuple[harmony.Effort, bool]:
    """Return the effort in harmony's terms, and whether reasoning is allowed: not with `none`."""
    return _EFFORTS[effort or "medium"], effort != "none"


def day(seconds: float) -> str:
    """Convert seconds since 1970 to the prompt's date, YYYY-MM-DD in UTC."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


IGNORED_HEADER = "x-ossia-ignored"
_MAX_IGNORED = 32
_PLAIN = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}")


def ignored(form: Form) -> tuple[str, ...]:
    """Return the paths of ignored fields that are not null, at most 32."""
    found: list[str] = []
    _note_ignored(form, "", found)
    return tuple(found[:_MAX_IGNORED])


def ignored_header(names: tuple[str, ...]) -> dict[str, str]:
    """Return the header that lists ignored fields; empty if there are none."""
    return {IGNORED_HEADER: ", ".join(names)} if names else {}


def _note_ignored(value: object, path: str, found: list[str]) -> None:
    if len(found) >= _MAX_IGNORED:
        return
    if isinstance(value, list):
        for place, item in enumerate(value):
            _note_ignored(item, f"{path}[{place}]", found)
    if not isinstance(value, Form):
        return
    dot = f"{path}." if path else ""
    for name, field in type(value).model_fields.items():
        if (inner := getattr(value, name)) is None:
            continue
        if any(isinstance(mark, _Unused) for mark in field.metadata):
            found.append(dot + name)
        else:
            _note_ignored(inner, dot + name, found)
    for name, inner in (value.model_extra or {}).items():
        if inner is not None and _PLAIN.fullmatch(name):  # safe in a header
            found.append(dot + name)
