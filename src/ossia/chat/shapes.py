"""Which grammar each body of a turn is held to. Knows schemas and names; knows no token."""

import time

from ossia.chat.request import TurnRequest
from ossia.errors import RequestError
from ossia.grammar.body import BodyGrammar, Grammars
from ossia.harmony.messages import FunctionTool

MAX_SECONDS = 15.0
"""For all tools of one request: a hundred take half a second, and others wait at the same door."""


def held_bodies(request: TurnRequest, grammars: Grammars) -> dict[str | None, BodyGrammar]:
    """Compile what the arguments of each call and the answer must be; may take a while.

    Returns:
        Grammars by full recipient, the answer's under None; what is missing is free text.

    Raises:
        RequestError: a strict schema, or a grammar, cannot be honoured; names the place.
    """
    may_be_called, paths = request.rules.callable, request.schema_paths
    deadline = time.monotonic() + MAX_SECONDS
    held: dict[str | None, BodyGrammar] = {}
    for name, tool in request.offered.items():
        if name not in may_be_called:
            continue
        if time.monotonic() > deadline:
            raise RequestError(
                "the schemas of the tools take too long to compile together; simplify them or "
                "offer fewer tools",
                param="tools",
                code="invalid_json_schema",
            )
        if grammar := _arguments(tool, grammars, paths.get(tool.name)):
            held[name] = grammar
    if request.answer is not None:
        held[None] = grammars.compile(
            request.answer.schema,
            path=paths.get("", "response_format.json_schema.schema"),
            strict=request.answer.strict,
        )
    return held


def _arguments(tool: FunctionTool, grammars: Grammars, path: str | None) -> BodyGrammar | None:
    """What a call of a tool is held to; None for any text."""
    if tool.body == "json":
        return grammars.compile(
            tool.parameters,
            path=path or f"tools.{tool.name}.parameters",
            strict=tool.strict,
            only_objects=True,
        )
    if tool.grammar is None:
        return None
    return grammars.compile_text(*tool.grammar, path=path or f"tools.{tool.name}.format.definition")
