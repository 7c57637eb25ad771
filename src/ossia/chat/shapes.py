"""Which grammar each body of a turn is held to. Knows schemas and names; knows no token."""

from ossia.chat.request import TurnRequest
from ossia.grammar.body import BodyGrammar, Grammars
from ossia.harmony.messages import FUNCTIONS


def held_bodies(request: TurnRequest, grammars: Grammars) -> dict[str | None, BodyGrammar]:
    """Compile what the arguments of each call and the answer must be; may take a while.

    Returns:
        Grammars by full recipient, the answer's under None; what is missing is free text.

    Raises:
        RequestError: a strict schema cannot be honoured; names the place.
    """
    callable_names, paths = request.rules.callable, request.schema_paths
    held: dict[str | None, BodyGrammar] = {
        f"{FUNCTIONS}.{function.name}": grammars.compile(
            function.parameters,
            path=paths.get(function.name, f"tools.{function.name}.parameters"),
            strict=function.strict,
            only_objects=True,
        )
        for function in request.conversation.functions
        if function.body == "json" and f"{FUNCTIONS}.{function.name}" in callable_names
    }
    if request.answer is not None:
        held[None] = grammars.compile(
            request.answer.schema,
            path=paths.get("", "response_format.json_schema.schema"),
            strict=request.answer.strict,
        )
    return held
