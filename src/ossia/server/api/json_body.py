"""Parses and validates every JSON body of a request, and writes those of responses.

Knows the limits of JSON, not the fields of any request.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from ossia.errors import RequestError
from ossia.server.api.validation import Path, found, refusal, written
from ossia.strict_json import StrictJsonError, parse_strict

MAX_DEPTH = 64
MAX_DIGITS = 40
MAX_OBJECTS = 200_000
"""Far more than 2,000 messages and 128 tools have; parsing them takes 0.25 s."""
LARGE = 1 << 16
"""Bytes; parsing more than this may take over a millisecond."""

_HALF = re.compile("[\ud800-\udfff]")

Json = dict[str, Any]
"""A JSON object of a response."""

FormT = TypeVar("FormT", bound=BaseModel)
Result = TypeVar("Result")


def parse_body(body: bytes, form: type[FormT]) -> FormT:
    """Parse and validate a JSON body strictly.

    Args:
        body: in UTF-8.
        form: the pydantic model.

    Raises:
        RequestError: it is not a JSON object, its JSON is ambiguous or too large (a duplicate key,
            depth over 64, a huge number, NaN, a lone surrogate), or it fails validation;
            `param` is the path of the invalid field.
    """
    document = _load(body)
    try:
        return form.model_validate(document)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False), document) from None


async def read_form(request: Request, form: type[FormT]) -> FormT:
    """Read and parse a request's body; see `parse_body`.

    A large body is parsed in a thread, so that the event loop is not blocked.
    """
    body = await request.body()
    return await in_thread_if_large(len(body) > LARGE, parse_body, body, form)


async def in_thread_if_large(is_large: bool, work: Callable[..., Result], *args: Any) -> Result:
    """Call a function; in a thread if the input is large, so as not to block the event loop."""
    if is_large:
        return await asyncio.to_thread(work, *args)
    return work(*args)


def json_response(
    content: Mapping[str, Any], headers: Mapping[str, str] | None = None, *, status: int = 200
) -> Response:
    """Return a JSON response; lone surrogates cannot occur, since requests have none."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(), status, dict(headers or {}), "application/json")


def documented(form: type[BaseModel]) -> dict[str, Any]:
    """Describe a form as an OpenAPI request body, for a route's `openapi_extra`."""
    schema = form.model_json_schema()
    inlined = _inline(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined}}}}


def _load(body: bytes) -> dict[str, Any]:
    if not body:
        raise RequestError("the body is empty; send one JSON object")
    try:
        text = body.decode("utf-8")
        document = parse_strict(
            text, max_depth=MAX_DEPTH, max_digits=MAX_DIGITS, max_objects=MAX_OBJECTS
        )
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the body is not UTF-8 at byte {error.start}; send one JSON object in UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise RequestError(
            f"the body is not JSON at character {error.pos} ({error.msg}); send one JSON object"
        ) from None
    except StrictJsonError as error:
        raise _refused(error) from None
    if not isinstance(document, dict):
        raise RequestError(f"the body is {found(document)}; send one JSON object")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(document)
    return document


def _refused(error: StrictJsonError) -> RequestError:
    """Convert to the error that the client reads."""
    found = error.found
    messages = {
        "depth": f"the body is nested too deep; at most {MAX_DEPTH} levels are read",
        "objects": f"the body has more than {MAX_OBJECTS} objects; send fewer",
        "duplicate_key": f"the body has the key {found!r:.80} twice in one object; name it once",
        "digits": f"the body has a number of {len(found)} digits; at most {MAX_DIGITS}",
        "infinity": f"the body has the number {found:.20}, which is too large",
        "constant": f"the body has {found}, which is not JSON; send a finite number or null",
    }
    return RequestError(messages[error.fault])


def _check_surrogates(document: Any) -> None:
    for path, text in _texts(document, ()):
        if _HALF.search(text):
            name = written(path)
            raise RequestError(
                f"{name or 'the body'} has half a surrogate pair; send whole characters",
                param=name or None,
            )


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every string in a document with its path; a key has its object's path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _texts(item, (*path, place))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield path, key
            yield from _texts(item, (*path, key))


def _inline(schema: Any, named: dict[str, Any]) -> Any:
    """Replace each reference in a schema by its definition; no form is recursive."""
    if isinstance(schema, list):
        return [_inline(each, named) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(named[schema["$ref"].rpartition("/")[2]], named)
    if "patternProperties" in schema:  # pydantic uses it to forbid other keys
        schema = {"additionalProperties": False, **schema}
    return {key: _inline(each, named) for key, each in schema.items()}
