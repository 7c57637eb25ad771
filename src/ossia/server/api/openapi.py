"""The common part of the OpenAPI document: errors, responses, streams, authentication.

Describes responses only; routes create them.
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
"""An event of a stream; `data` is JSON, or [DONE]."""


class ErrorObject(BaseModel):
    """An error: what was found, what is expected, the next step."""

    message: str
    type: str
    param: str | None
    """Path of the invalid field."""
    code: str | None


class ErrorBody(BaseModel):
    """The body of every error response, as OpenAI's clients read it."""

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
"""Error responses of every route; a route's own take precedence."""


def answers(meaning: str, fields: Sequence[str], *, streams: str | None = None) -> Answers:
    """Describe a route's successful response.

    Args:
        meaning: one sentence.
        fields: required fields of the JSON object.
        streams: media type of the streaming form, if there is one.
    """
    schema = {"type": "object", "required": [*fields]}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if streams is not None:
        content[streams] = {"schema": EVENT if streams == EVENTS else TEXT}
    ignored = {"description": "Fields of the request without effect here.", "schema": TEXT}
    return {200: {"description": meaning, "content": content, "headers": {IGNORED_HEADER: ignored}}}


class DocumentedApp(FastAPI):
    """A FastAPI app whose OpenAPI document includes errors and API keys."""

    def __init__(self, **settings: Any) -> None:
        """See FastAPI; its two documentation pages are off: they load third-party scripts."""
        super().__init__(docs_url=None, redoc_url=None, responses=ERRORS, **settings)

    def openapi(self) -> dict[str, Any]:
        """Return the document, created once."""
        document = super().openapi()
        bearer = {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `ossia keys add`; none is needed where the server has none.",
        }
        document.setdefault("components", {})["securitySchemes"] = {"key": bearer}
        document["security"] = [{"key": []}, {}]
        return document
