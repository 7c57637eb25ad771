"""The OpenAPI document's common part: errors, answers, streams, and how a caller shows a key.

It knows what answers look like from outside; how they are made is the routes' business.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ossia.server.api.fields import IGNORED_HEADER

Answers = dict[int | str, dict[str, Any]]

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
TEXT = {"type": "string"}
EVENT = {"type": "object", "properties": {"event": TEXT, "data": TEXT}, "required": ["data"]}
"""One event of a stream; `data` is JSON, or the mark of the end."""


class ErrorObject(BaseModel):
    """What went wrong: found, expected, what to do next."""

    message: str
    type: str
    param: str | None
    """Path of the field at fault."""
    code: str | None


class ErrorBody(BaseModel):
    """Every refusal and every fault, as OpenAI's clients read it."""

    error: ErrorObject


_WAIT = {"retry-after": {"description": "Seconds to wait.", "schema": TEXT}}
_MEANINGS: dict[int | str, str] = {
    400: "The request has no meaning; param is the path of the field at fault.",
    401: "No key, or one that opens nothing.",
    404: "There is no such thing, or it belongs to another key.",
    429: "Too many requests, of this key or waiting.",
    503: "Loading, stopping, or the engine is being started again.",
    "default": "Another refusal, or a fault of the server.",
}
ERRORS: Answers = {
    status: {
        "model": ErrorBody,
        "description": meaning,
        **({"headers": _WAIT} if status in (429, 503) else {}),
    }
    for status, meaning in _MEANINGS.items()
}
"""For every route; a route's own answers stand above them."""


def answers(meaning: str, fields: Sequence[str], *, streams: str | None = None) -> Answers:
    """A route's answer when all went well.

    Args:
        meaning: one sentence.
        fields: that the JSON object has in every case.
        streams: media type of the same as a stream, where it can be asked for.
    """
    schema = {"type": "object", "required": [*fields]}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if streams is not None:
        content[streams] = {"schema": EVENT if streams == EVENTS else TEXT}
    ignored = {"description": "Fields of the request without effect here.", "schema": TEXT}
    return {200: {"description": meaning, "content": content, "headers": {IGNORED_HEADER: ignored}}}


class DocumentedApp(FastAPI):
    """An app whose document tells of errors and keys too."""

    def __init__(self, **settings: Any) -> None:
        """See FastAPI; both of its pages are off, since they load scripts from elsewhere."""
        super().__init__(docs_url=None, redoc_url=None, responses=ERRORS, **settings)

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        document = super().openapi()
        bearer = {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `ossia keys add`; none is needed where the server has none.",
        }
        document.setdefault("components", {})["securitySchemes"] = {"key": bearer}
        document["security"] = [{"key": []}, {}]
        return document
