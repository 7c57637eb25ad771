"""Bytes of a request -> a checked form: the one way in for every JSON body, and the way out.

It knows the limits of JSON here, not the fields of any request.
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
"""Far more than 2,000 messages and 128 tools have; reading them takes a quarter of a second."""
LARGE = 1 << 16
"""Bytes; parsing more than this may take over a millisecond."""

_HALF = re.compile("[\ud800-\udfff]")

Json = dict[str, Any]
"""An object as it goes out."""

FormT = TypeVar("FormT", bound=BaseModel)
Result = TypeVar("Result")


def parse_body(body: bytes, form: type[FormT]) -> FormT:
    """Read a JSON body, once and strictly.

    Args:
        body: UTF-8, as it came.
        form: what it must be.

    Raises:
        RequestError: it is no JSON object, its JSON is ambiguous or unreasonable (a key twice,
            depth over 64, an endless number, NaN, half a surrogate pair), or it is no such form;
            `param` is the path of the field at fault.
    """
    document = _load(body)
    try:
        return form.model_validate(document)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False), document) from None


async def read_form(request: Request, form: type[FormT]) -> FormT:
    """Read the form out of a request; see `parse_body`.

    A large body is parsed beside the event loop, so that the streams of others go on.
    """
    body = await request.body()
    return await in_thread_if_large(len(body) > LARGE, parse_body, body, form)


async def in_thread_if_large(is_large: bool, work: Callable[..., Result], *args: Any) -> Result:
    """Do a piece of work; if it may take long, in a thread, so that others' streams go on."""
    if is_large:
        return await asyncio.to_thread(work, *args)
    return work(*args)


def json_response(
    content: Mapping[str, Any], headers: Mapping[str, str] | None = None, *, status: int = 200
) -> Response:
    """A whole answer; its texts have no half surrogate pairs, since nothing that came in has."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(), status, dict(headers or {}), "application/json")


def documented(form: type[BaseModel]) -> dict[str, Any]:
    """A form as OpenAPI's description of a request body, for a route's `openapi_extra`."""
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
            f"the body is no JSON at character {error.pos} ({error.msg}); send one JSON object"
        ) from None
    except StrictJsonError as error:
        raise _refused(error) from None
    if not isinstance(document, dict):
        raise RequestError(f"the body is {found(document)}; send one JSON object")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(document)
    return document


def _refused(error: StrictJsonError) -> RequestError:
    """What the client reads about it."""
    found = error.found
    messages = {
        "depth": f"the body is nested too deep; at most {MAX_DEPTH} levels are read",
        "objects": f"the body has more than {MAX_OBJECTS} objects; send fewer",
        "duplicate_key": f"the body has the key {found!r:.80} twice in one object; name it once",
        "digits": f"the body has a number of {len(found)} digits; at most {MAX_DIGITS}",
        "infinity": f"the body has the number {found:.20}, which is too large",
        "constant": f"the body has {found}, which is no JSON; send a finite number or null",
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
    """Every text in a document, and where it stands; a key stands where its object does."""
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
    """A schema with each reference replaced by what it names; no form holds itself."""
    if isinstance(schema, list):
        return [_inline(each, named) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(named[schema["$ref"].rpartition("/")[2]], named)
    if "patternProperties" in schema:  # to pydantic that means: no others
        schema = {"additionalProperties": False, **schema}
    return {key: _inline(each, named) for key, each in schema.items()}
