"""Every exception as HTTP: one table of statuses, one shape of body, nothing secret in it.

It knows neither routes nor the guard; both answer with what stands here.
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
"""For a lasting fault whose status OpenAI's clients would try again."""
INVALID = "invalid_request_error"
_MAX_MESSAGE = 2000


class HttpError(OssiaError):
    """An answer other than what was asked for.

    Attributes:
        status: of HTTP.
        type: OpenAI's class of the fault.
        code: OpenAI's short name of the fault, or None.
        param: path of the field at fault, or None.
        headers: to send with it.
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
        """The error object that OpenAI's clients read, for a body or for an event of a stream."""
        fields = {
            "message": str(self)[:_MAX_MESSAGE],
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": fields}

    def body(self) -> bytes:
        """The same as JSON in ASCII, so that a lone surrogate of the caller's is no trouble."""
        return json.dumps(self.object()).encode("ascii")


class Unauthorized(HttpError):
    """No key, or one that opens nothing."""

    def __init__(self, message: str) -> None:
        challenge = {"www-authenticate": "Bearer"}
        super().__init__(401, "authentication_error", "invalid_api_key", message, headers=challenge)


class Forbidden(HttpError):
    """This caller may not do this."""

    def __init__(self, message: str, code: str = "forbidden") -> None:
        super().__init__(403, "permission_error", code, message)


class NotFound(HttpError):
    """There is no such thing, or it belongs to another key."""

    def __init__(self, message: str, code: str = "not_found", param: str | None = None) -> None:
        super().__init__(404, "not_found_error", code, message, param)


class WrongForm(HttpError):
    """The request as HTTP, whatever its content, is not acceptable: 400, 405, 413, 415, 421 ..."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, INVALID, code, message)


class TooMany(HttpError):
    """Too many requests: of this caller, or waiting."""

    def __init__(
        self, message: str, *, code: str = "rate_limit_exceeded", retry_seconds: int = 1
    ) -> None:
        wait = {"retry-after": str(retry_seconds)}
        super().__init__(429, "rate_limit_error", code, message, headers=wait)


class Unavailable(HttpError):
    """Loading, draining, or the engine is being started again."""

    def __init__(self, message: str, *, code: str = "unavailable", retry_seconds: int = 1) -> None:
        wait = {"retry-after": str(retry_seconds)}
        super().__init__(503, "server_error", code, message, headers=wait)


class ServerFault(HttpError):
    """A fault of ours; the log has what the caller must not see."""

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
    MissingExtra: 400,  # what the caller asked for is not installed here
    UnsupportedDevice: 500,
    CheckpointError: 500,
    StoreError: 500,
    TurnFailed: 500,
    ProviderBusy: 429,
    ProviderUnavailable: 503,
}
"""Every error of errors.py, and its status. What is 500 is told to the operator, in the log."""

_CODES = {404: "not_found", 405: "method_not_allowed"}


def as_http(error: BaseException) -> HttpError:
    """What the caller is told about an exception; never a traceback, a path or a secret."""
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
    """Whether the answer says all there is to know, so that the log has nothing to add."""
    return isinstance(error, HttpError | ProviderBusy | ProviderUnavailable)


def invalid(error: ValidationError, document: object = None) -> RequestError:
    """What pydantic found wrong, in our words.

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
    """The framework's own refusals: an unknown path, a wrong method, an unreadable body."""
    status = error.status_code
    if isinstance(error.__cause__, HttpError):  # ours, wrapped on its way through the framework
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
    """An error as a whole answer."""
    return Response(error.body(), error.status, error.headers, "application/json")


def install(app: FastAPI) -> None:
    """Let an application answer every exception with an error object."""
    for kind in (OssiaError, RequestValidationError, ValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(Exception, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    found = as_http(error)
    if found.status >= 500 and not is_expected(error):
        state = request.scope.setdefault("state", {})
        state["logged"] = error  # the guard sees it too, and writes it down only once
        log_failure(error, state.get("request_id", "without an id"))
    return response(found)
