"""Maps exceptions to HTTP responses: one table of statuses, one shape of body, no secrets.

Knows neither routes nor the guard; both use it.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ossia.errors import (
    CheckpointError,
    ContextOverflow,
    MissingExtra,
    OssiaError,
    ProviderBusy,
    ProviderUnavailable,
    RequestError,
    StoreError,
    TurnFailed,
    UnsupportedDevice,
    log_failure,
)
from ossia.server.api.validation import refusal, without_place

NO_RETRY = {"x-should-retry": "false"}
"""For a permanent error whose status OpenAI's clients would retry."""
INVALID = "invalid_request_error"
_MAX_MESSAGE = 2000


class HttpError(OssiaError):
    """An error response.

    Attributes:
        status: HTTP status.
        type: OpenAI's error type.
        code: OpenAI's error code, or None.
        param: path of the invalid field, or None.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        type: str,
        code: str | None,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def object(self) -> dict[str, Any]:
        """Return OpenAI's error object, for a body or for an event of a stream."""
        fields = {
            "message": str(self)[:_MAX_MESSAGE],
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": fields}

    def body(self) -> bytes:
        """Return the error object as ASCII JSON, which may quote a lone surrogate."""
        return json.dumps(self.object()).encode("ascii")


class Unauthorized(HttpError):
    """401: the API key is missing or invalid."""

    def __init__(self, message: str) -> None:
        challenge = {"www-authenticate": "Bearer"}
        super().__init__(401, "authentication_error", "invalid_api_key", message, headers=challenge)


class Forbidden(HttpError):
    """403: the caller lacks permission."""

    def __init__(self, message: str, code: str = "forbidden") -> None:
        super().__init__(403, "permission_error", code, message)


class NotFound(HttpError):
    """404: the object does not exist, or belongs to another key."""

    def __init__(self, message: str, code: str = "not_found", param: str | None = None) -> None:
        super().__init__(404, "not_found_error", code, message, param)


class WrongForm(HttpError):
    """The HTTP request is malformed, whatever its content: 400, 405, 413, 415, 421 ..."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, INVALID, code, message)


class TooMany(HttpError):
    """429: too many requests, of this caller or in the queue."""

    def __init__(
        self, message: str, *, code: str = "rate_limit_exceeded", retry_seconds: int = 1
    ) -> None:
        wait = {"retry-after": str(retry_seconds)}
        super().__init__(429, "rate_limit_error", code, message, headers=wait)


class Unavailable(HttpError):
    """503: the server is loading or draining, or its engine is restarting."""

    def __init__(self, message: str, *, code: str = "unavailable", retry_seconds: int = 1) -> None:
        wait = {"retry-after": str(retry_seconds)}
        super().__init__(503, "server_error", code, message, headers=wait)


class ServerFault(HttpError):
    """500: an internal error; the details go to the log."""

    def __init__(
        self,
        message: str = "the server failed at this request; its log says why",
        *,
        retry: bool = False,
    ) -> None:
        headers = {} if retry else NO_RETRY
        super().__init__(500, "server_error", "server_error", message, headers=headers)


_OURS: dict[type[Any], int] = {
    ContextOverflow: 400,
    RequestError: 400,
    MissingExtra: 400,  # the request needs a package that is not installed
    UnsupportedDevice: 500,
    CheckpointError: 500,
    StoreError: 500,
    TurnFailed: 500,
    ProviderBusy: 429,
    ProviderUnavailable: 503,
}
"""Status of every error in errors.py. The server logs those with status 500."""

_CODES = {404: "not_found", 405: "method_not_allowed"}


def as_http(error: BaseException) -> HttpError:
    """Convert an exception to an error response without traceback, path or secret."""
    match error:
        case HttpError():
            return error
        case ProviderBusy():
            return TooMany(str(error), code=error.code, retry_seconds=error.retry_seconds)
        case ProviderUnavailable():
            return Unavailable(str(error), code=error.code, retry_seconds=error.retry_seconds)
        case OssiaError():
            return _from_ours(error)
        case RequestValidationError():
            return as_http(refusal(without_place(error.errors()), error.body))
        case ValidationError():
            return as_http(invalid(error))
        case HTTPException():
            return _from_starlette(error)
        case _:
            return ServerFault()


def is_expected(error: BaseException) -> bool:
    """Whether the error response is complete, so that nothing need be logged."""
    return isinstance(error, HttpError | ProviderBusy | ProviderUnavailable)


def invalid(error: ValidationError, document: object = None) -> RequestError:
    """Convert pydantic's validation error to an error response.

    Args:
        error: of a request model.
        document: what was validated. Without it, a path through a union may lack its end.
    """
    return refusal(error.errors(include_url=False), document)


def _from_ours(error: OssiaError) -> HttpError:
    status = next((_OURS[kind] for kind in type(error).__mro__ if kind in _OURS), 500)
    if status >= 500:  # its message may name files
        return ServerFault()
    if isinstance(error, RequestError):
        return HttpError(status, INVALID, error.code, str(error), error.param)
    return HttpError(status, INVALID, "unsupported_parameter", str(error))


def _from_starlette(error: HTTPException) -> HttpError:
    """Convert Starlette's own errors: unknown path, wrong method, unreadable body."""
    status = error.status_code
    if isinstance(error.__cause__, HttpError):  # an HttpError that the framework wrapped
        return error.__cause__
    phrase = HTTPStatus(status).phrase.lower()
    message = {
        404: "there is nothing at this path; see /openapi.json for what there is",
        405: "this path has no such method; see /openapi.json for what it has",
        400: "the body cannot be read; send one JSON object in UTF-8",
    }.get(status, phrase)
    if status >= 500:
        return ServerFault()
    type = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    code = _CODES.get(status, phrase.replace(" ", "_"))
    return HttpError(status, type.get(status, INVALID), code, message, headers=headers)


def response(error: HttpError) -> Response:
    """Convert an error to a response."""
    return Response(error.body(), error.status, error.headers, "application/json")


def install(app: FastAPI) -> None:
    """Install exception handlers that answer with an error object."""
    for kind in (OssiaError, RequestValidationError, ValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(Exception, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    found = as_http(error)
    if found.status >= 500 and not is_expected(error):
        state = request.scope.setdefault("state", {})
        state["logged"] = error  # the guard sees it too and must not log it again
        log_failure(error, state.get("request_id", "without an id"))
    return response(found)
