"""The body of POST /v1/responses: its fields, their types and bounds.

`to_turn.py` translates the fields, `items.py` the items.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ossia.errors import RequestError
from ossia.server.api.fields import (
    MAX_MESSAGES,
    Effort,
    Form,
    Identifier,
    JsonObject,
    Label,
    MaxTokens,
    ReasoningTokens,
    SchemaFields,
    Text,
    TurnFields,
    Unused,
)

MAX_ITEMS = 2 * MAX_MESSAGES
"""A message may be several items: reasoning, a call, its output."""

ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
Includable = Literal[
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
    "web_search_call.action.sources",
    "web_search_call.results",
    "code_interpreter_call.outputs",
    "file_search_call.results",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
]


class TextFormat(SchemaFields):
    """`text.format`: the response format."""

    type: Literal["text", "json_object", "json_schema"]


class TextConfig(Form):
    """`text`: format and verbosity of the answer."""

    format: TextFormat | None = None
    verbosity: Unused[Literal["low", "medium", "high"]] = None


class ReasoningConfig(Form):
    """`reasoning`: effort and summary."""

    effort: Effort | None = None
    max_tokens: ReasoningTokens | None = None
    summary: Unused[Literal["auto", "concise", "detailed"]] = None
    generate_summary: Unused[Literal["auto", "concise", "detailed"]] = None
    context: Unused[Literal["auto", "current_turn", "all_turns"]] = None
    mode: Unused[Label] = None


class EventStreamOptions(Form):
    """`stream_options`: extra content of a stream."""

    include_obfuscation: bool | None = None


class CreateRequest(TurnFields):
    """The body of POST /v1/responses."""

    input: (
        Text | Annotated[list[JsonObject], Field(max_length=MAX_ITEMS, fail_fast=True)] | None
    ) = None
    instructions: Text | None = None
    previous_response_id: Identifier | None = None
    background: bool | None = None
    include: Annotated[list[Includable], Field(max_length=32, fail_fast=True)] | None = None
    reasoning: ReasoningConfig | None = None
    text: TextConfig | None = None
    max_output_tokens: MaxTokens | None = None
    max_tool_calls: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    conversation: Any = None
    prompt: Any = None
    stream_options: Unused[EventStreamOptions] = None
    context_management: Unused[list[JsonObject]] = None
    access_programs: Unused[JsonObject] = None
    background_options: Unused[JsonObject] = None
    image: Unused[JsonObject] = None

    @property
    def stores(self) -> bool:
        """Whether the response is stored; by default it is."""
        return self.store is not False

    def includes(self, name: str) -> bool:
        """Whether `include` contains this name."""
        assert name in get_args(Includable), f"{name} cannot be included"
        return name in (self.include or ())


def refuse_what_is_missing(form: CreateRequest) -> None:
    """Refuse unsupported features and contradictory fields.

    Raises:
        RequestError: `param` is the invalid field.
    """
    for name in ("conversation", "prompt"):
        if getattr(form, name) is not None:
            raise RequestError(
                f"{name} is not kept by this server; send input, or previous_response_id",
                param=name,
                code="unsupported_parameter",
            )
    if form.background and not form.stores:
        raise RequestError(
            "background needs store: there is nowhere to fetch the response from; leave store out",
            param="background",
        )
    has_input = form.input is not None or form.instructions or form.previous_response_id
    if not has_input:
        raise RequestError(
            "input is missing; send a text or a list of items", param="input", code="missing_field"
        )
