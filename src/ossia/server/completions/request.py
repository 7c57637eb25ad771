"""Translates a request of the legacy Completions API to raw requests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

from pydantic import Field, WithJsonSchema

from ossia.chat.request import RawRequest
from ossia.errors import ContextOverflow, RequestError
from ossia.providers.provider import ServedModel
from ossia.server.api.choices import seeded
from ossia.server.api.fields import (
    Choices,
    GenerationArguments,
    GenerationFields,
    Identifier,
    Label,
    MaxTokens,
    StreamOptions,
    TopLogprobs,
    Unused,
    ignored,
)

MAX_PROMPTS = 8
MAX_TURNS = 32
"""Limit of prompts times candidates per request."""
DEFAULT_MAX_TOKENS = 16
"""OpenAI's default for this API."""

Prompt: TypeAlias = str | tuple[int, ...]
_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_PROMPTS}
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_LISTS = {"type": "array", "items": _IDS, "minItems": 1, "maxItems": MAX_PROMPTS}
_PROMPT_SCHEMA = {"anyOf": [{"type": "string", "minLength": 1}, _TEXTS, _IDS, _LISTS]}


class CompletionRequest(GenerationFields):
    """The body of POST /v1/completions."""

    prompt: Annotated[Any, WithJsonSchema(_PROMPT_SCHEMA)]
    model: Identifier | None = None
    n: Choices | None = None
    best_of: Choices | None = None
    echo: bool | None = None
    logprobs: TopLogprobs | None = None
    max_tokens: MaxTokens | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: Annotated[str, Field(max_length=1 << 20)] | None = None
    user: Unused[Label] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCompletionRequest:
    """A parsed request."""

    prompts: tuple[Prompt, ...]
    generation: GenerationArguments
    num_choices: int
    """Choices per prompt."""
    num_candidates: int
    """Candidates generated per prompt; the most likely are returned."""
    echoes: bool
    shows_logprobs: bool
    streams: bool
    includes_usage: bool
    ignored: tuple[str, ...]
    """Paths of ignored fields."""

    def requests(self) -> list[RawRequest]:
        """One request per candidate, grouped by prompt."""
        params = self.generation["params"]
        drawn = [seeded(params, number) for number in range(self.num_candidates)]
        return [
            replace(RawRequest(prompt=prompt, **self.generation), params=params)
            for prompt in self.prompts
            for params in drawn
        ]


def to_turns(
    form: CompletionRequest, model: ServedModel, *, allow_control_ids: bool
) -> ParsedCompletionRequest:
    """Translate a request.

    Raises:
        RequestError: fields contradict each other or are invalid; `param` is the path.
    """
    if form.suffix:
        raise RequestError(
            "suffix is given, but this model only goes on from an end; leave it out",
            param="suffix",
            code="unsupported_parameter",
        )
    num_choices = form.n or 1
    num_candidates = form.best_of or num_choices
    has_rivals = num_candidates > num_choices
    if num_candidates < num_choices or (has_rivals and form.stream):
        raise RequestError(
            f"best_of is {num_candidates}, n is {num_choices}; best_of must be at least n, and "
            "equal to it in a stream, where nothing can be taken back",
            param="best_of",
        )
    prompts = tuple(_prompts(form.prompt, model, allow_control_ids=allow_control_ids))
    if (turns := len(prompts) * num_candidates) > MAX_TURNS:
        raise RequestError(
            f"{len(prompts)} prompts with {num_candidates} candidates each are {turns} texts; at "
            f"most {MAX_TURNS} are written for one request",
            param="prompt",
        )
    if form.echo:
        _refuse_echo(form, prompts)
    logprobs = 0 if has_rivals and form.logprobs is None else form.logprobs
    max_tokens = DEFAULT_MAX_TOKENS if form.max_tokens is None else form.max_tokens
    return ParsedCompletionRequest(
        prompts=prompts,
        generation=form.to_generation(max_tokens=max_tokens, logprobs=logprobs, model=model),
        num_choices=num_choices,
        num_candidates=num_candidates,
        echoes=bool(form.echo),
        shows_logprobs=form.logprobs is not None,
        streams=bool(form.stream),
        includes_usage=not form.stream
        or bool(form.stream_options and form.stream_options.include_usage),
        ignored=ignored(form),
    )


def _refuse_echo(form: CompletionRequest, prompts: Sequence[Prompt]) -> None:
    """Refuse `echo` with token ids or with logprobs."""
    if form.logprobs is not None:
        why = "with logprobs: those of a prompt are not computed; leave one of them out"
    elif any(not isinstance(prompt, str) for prompt in prompts):
        why = "with a prompt of token ids; send it as text, or leave echo out"
    else:
        return
    raise RequestError(f"echo is given {why}", param="echo", code="unsupported_parameter")


def _prompts(value: object, model: ServedModel, *, allow_control_ids: bool) -> list[Prompt]:
    if isinstance(value, str):
        return [_text(value, "prompt")]
    if not isinstance(value, list) or not value:
        raise _no_prompt("prompt")
    control = frozenset() if allow_control_ids else frozenset(model.control_ids)
    if type(value[0]) is int:
        return [_ids(value, "prompt", model, control)]
    if len(value) > MAX_PROMPTS:
        raise RequestError(
            f"{len(value)} prompts are given; at most {MAX_PROMPTS} are taken", param="prompt"
        )
    prompts: list[Prompt] = []
    for at, one in enumerate(value):
        path = f"prompt[{at}]"
        is_ids = isinstance(one, list)
        prompts.append(_ids(one, path, model, control) if is_ids else _text(one, path))
    return prompts


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise _no_prompt(path)
    return value


def _ids(ids: list[Any], path: str, model: ServedModel, control: frozenset[int]) -> tuple[int, ...]:
    if not ids:
        raise _no_prompt(path)
    if len(ids) > model.context_length:
        raise ContextOverflow(len(ids), model.context_length)
    for at, one in enumerate(ids):
        if type(one) is not int or not 0 <= one < model.vocab_size:
            raise RequestError(
                f"{path}[{at}] is not a token id of this model; expected integers from 0 to "
                f"{model.vocab_size - 1}",
                param=f"{path}[{at}]",
            )
        if one in control:
            raise RequestError(
                f"{path}[{at}] is the control id {one}, which this server does not take; leave it "
                "out, or use the chat API",
                param=f"{path}[{at}]",
            )
    return tuple(ids)


def _no_prompt(path: str) -> RequestError:
    return RequestError(
        f"{path} is not a prompt; expected a text or a list of token ids, neither of them empty",
        param=path,
    )
