"""Which grammar each body of a turn is held to. Knows schemas and names; knows no token."""

from ossia.chat.request import TurnRequest
from ossia.grammar.body import BodyGrammar, Grammars


def held_bodies(request: TurnRequest, grammars: Grammars) -> dict[str | None, BodyGrammar]:
    """Compile what the arguments of each call and the answer must be; may take a while.

    Returns:
        Grammars by full recipient, the answer's under None; what is missing is free text.

    Raises:
        RequestError: a strict schema, or a grammar, cannot be honoured; names the place.
    """
    may_be_called, paths = request.rules.callable, request.schema_paths
    held: dict[str | None, BodyGrammar] = {}
    for name, tool in request.offered.items():
        if name not in may_be_called:
            continue
        if tool.body == "json":
            held[name] = grammars.compile(
                tool.parameters,
                path=paths.get(tool.name, f"tools.{tool.name}.parameters"),
                strict=tool.strict,
                only_objects=True,
            )
        elif tool.grammar is not None:
            held[name] = grammars.compile_text(
                *tool.grammar, path=paths.get(tool.name, f"tools.{tool.name}.format.definition")
            )
    if request.answer is not None:
        held[None] = grammars.compile(
            request.answer.schema,
            path=paths.get("", "response_format.json_schema.schema"),
            strict=request.answer.strict,
        )
    return held
