"""Errors of schemas: always a RequestError that names the path."""

from collections.abc import Iterable

from ossia.errors import RequestError

CODE = "invalid_json_schema"
_MAX_PARAM = 256


def refusal(message: str, where: str) -> RequestError:
    """The error for a fault at `where`, a path such as text.format.schema.properties.age."""
    return RequestError(message, param=where[:_MAX_PARAM], code=CODE)


def place(where: str, steps: Iterable[str | int]) -> str:
    """Go on from a path by keys and list places, as OpenAI writes them: a.b[2].c."""
    for step in steps:
        if isinstance(step, int):
            where = f"{where}[{step}]"
        else:
            where = f"{where}.{step}" if where else step
    return where
