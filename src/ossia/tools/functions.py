"""A Python function as a tool: its hints and docstring tell the model, pydantic checks the call.

Knows signatures, docstrings of three styles and threads; not who calls, nor what the function does.
"""

import asyncio
import functools
import inspect
import re
import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import to_json

from ossia.errors import RequestError
from ossia.harmony.messages import FUNCTIONS, FunctionTool
from ossia.tools.tool import Approval, Label, Tool, ToolResult, ToolSpec, error_result


def as_tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    labels: frozenset[Label] = frozenset(),
    approval: Approval = "never",
    seconds: float = 60.0,
) -> Tool:
    """Convert a function to a tool that the model calls as functions.NAME.

    A plain function runs on a thread of its own, an `async` one where the tool is called. What it
    gives goes to the model: text as it is, a `ToolResult` as it is, any other value as JSON.

    Args:
        function: every parameter has a type hint; `*args` and `**kwargs` have no JSON form.
        name: how the model calls it; the function's own name by default.
        labels: of its calls.
        approval: whether each call needs approval.
        seconds: timeout of a call; a hanging thread ends with the program.

    Raises:
        RequestError: the signature has no JSON schema; says what to change.
    """
    inner = function.func if isinstance(function, functools.partial) else function
    name = name or str(getattr(inner, "__name__", type(inner).__name__))
    if isinstance(function, type) or not callable(function):
        raise RequestError(f"tool {name} is a {type(function).__name__}; give a function")
    parameters = _parameters(function, name)
    docstring = read_docstring(inspect.getdoc(inner) or "")
    form = _form(name, parameters, _hints(inner, name), docstring.arguments)
    schema = _schema(form, name) if parameters else None
    declared = FunctionTool(name=name, description=docstring.description, parameters=schema)
    spec = ToolSpec(
        name=f"{FUNCTIONS}.{declared.name}",
        description=declared.description,
        parameters=declared.parameters,
        labels=labels,
        approval=approval,
        seconds=seconds,
    )
    return _FunctionTool(spec, function, form, tuple(parameters))


@dataclass(frozen=True, slots=True)
class _FunctionTool:
    spec: ToolSpec
    _function: Callable[..., Any]
    _form: type[BaseModel]
    _parameters: tuple[inspect.Parameter, ...]

    async def call(self, arguments: str) -> ToolResult:
        try:
            values = self._form.model_validate_json(arguments.strip() or "{}")
            call = self._bound(values)
        except ValidationError as error:
            return error_result(_what_does_not_fit(error, self._parameters))
        except Exception as error:  # a type of the user's may check its values by code of his
            return error_result(_in_a_line(error))
        try:
            async with asyncio.timeout(self.spec.seconds) as limit:
                return await self._run(call)
        except (Exception, SystemExit) as error:  # whatever the user's code raises is a result
            if limit.expired():
                return error_result(f"the call took longer than {self.spec.seconds:g} s")
            return error_result(_in_a_line(error))

    def _bound(self, values: BaseModel) -> Callable[[], Any]:
        """Bind the call to its values; the function's own defaults stand for the rest."""
        fields = values.model_fields_set
        positional, named = [], {}
        for index, parameter in enumerate(self._parameters):
            field = f"argument_{index}"
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(getattr(values, field))
            elif field in fields:
                named[parameter.name] = getattr(values, field)
        return functools.partial(self._function, *positional, **named)

    async def _run(self, call: Callable[[], Any]) -> ToolResult:
        if _is_async(self._function):
            return _to_result(await call())
        value = await _on_a_thread(call, name=f"ossia-{self.spec.name}")
        return _to_result(await value if inspect.isawaitable(value) else value)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        type(function).__call__
    )


async def _on_a_thread(call: Callable[[], Any], *, name: str) -> Any:
    """Await its result. The thread is a daemon: a call that hangs does not delay the exit."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: Exception | None) -> None:
        if result.done():
            return  # given up
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def work() -> None:
        value: Any = None
        failure: Exception | None = None
        try:
            value = call()
        except (StopIteration, SystemExit, KeyboardInterrupt) as error:
            failure = RuntimeError(_in_a_line(error))  # as itself it would end the event loop
        except Exception as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=copy_context().run, args=(work,), name=name, daemon=True).start()
    return await result


def _to_result(value: Any) -> ToolResult:
    """Turn a value into what the model reads."""
    if isinstance(value, ToolResult):
        return value
    if isinstance(value, str):
        return ToolResult(text=value)
    return ToolResult(text=to_json(value, serialize_unknown=True).decode())


def _in_a_line(error: BaseException) -> str:
    words = str(error)
    return f"{type(error).__name__}: {words}" if words.strip() else type(error).__name__


def _what_does_not_fit(error: ValidationError, parameters: tuple[inspect.Parameter, ...]) -> str:
    """Describe the first invalid arguments of a call by their paths."""
    names = ", ".join(parameter.name for parameter in parameters) or "none"
    found = []
    for fault in error.errors(include_url=False, include_context=False)[:3]:
        where = ".".join(map(str, fault["loc"]))
        match fault["type"]:
            case "json_invalid" | "model_type":
                found.append(f"the arguments are not a JSON object: {fault['msg']}")
            case "missing":
                found.append(f"{where} is missing")
            case "extra_forbidden" if len(fault["loc"]) == 1:
                found.append(f"{where} is not an argument; the arguments are: {names}")
            case _:
                found.append(f"{where}: {fault['msg']}")
    return "; ".join(found)


def _parameters(function: Callable[..., Any], name: str) -> tuple[inspect.Parameter, ...]:
    """Return the parameters, except those that a partial has bound."""
    bound = function.keywords if isinstance(function, functools.partial) else {}
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise RequestError(f"function {name} has no signature; wrap it in one that has") from None
    found = [each for each in signature.parameters.values() if each.name not in bound]
    for parameter in found:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise RequestError(
                f"function {name} takes {parameter}; a model needs each argument by name: "
                "write them out"
            )
    return tuple(found)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    plain = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(plain, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise RequestError(
            f"the type hints of function {name} cannot be read: {error}; "
            "define the types where the function's file can see them"
        ) from None


def _form(
    name: str,
    parameters: tuple[inspect.Parameter, ...],
    hints: Mapping[str, Any],
    described: Mapping[str, str],
) -> type[BaseModel]:
    """The model that validates a call; fields are numbered, since pydantic reserves some names."""
    for parameter in parameters:
        if parameter.name not in hints:
            raise RequestError(
                f"parameter {parameter.name} of function {name} has no type hint; "
                f"write one, such as {parameter.name}: str"
            )
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    try:
        fields: dict[str, Any] = {
            f"argument_{index}": _field(each, hints[each.name], described.get(each.name))
            for index, each in enumerate(parameters)
        }
        return create_model(name, __config__=config, **fields)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, AttributeError) as error:
        raise RequestError(_no_json(name, error)) from None


def _field(parameter: inspect.Parameter, hint: Any, described: str | None) -> tuple[Any, Any]:
    default = ... if parameter.default is parameter.empty else parameter.default
    return Annotated[hint, *_notes(hint, described, parameter.name)], default


def _notes(hint: Any, described: str | None, name: str) -> list[FieldInfo]:
    """The name and the description of a field; a description in the hint comes first."""
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    words = next((note for note in notes if isinstance(note, str)), described)
    has_its_own = any(isinstance(note, FieldInfo) and note.description for note in notes)
    alias: FieldInfo = Field(alias=name)
    return [alias] if has_its_own or not words else [alias, Field(description=words)]


class _Schema(GenerateJsonSchema):
    """JSON schema without defaults that cannot be serialised."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {
        "skipped-choice",
        "non-serializable-default",
    }


def _schema(form: type[BaseModel], name: str) -> dict[str, Any]:
    try:
        schema = trimmed(form.model_json_schema(schema_generator=_Schema))
    except PydanticUserError as error:
        raise RequestError(_no_json(name, error)) from None
    schema.pop("description", None)
    return schema


def _no_json(name: str, error: Exception) -> str:
    first = str(error).strip().splitlines()[0]
    return (
        f"function {name} has a type hint that has no JSON form: {first}; "
        "use str, numbers, lists, dicts, enums, dataclasses or pydantic models"
    )


_ONE = frozenset(("items", "additionalProperties", "contains", "not", "propertyNames"))
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_MAPS = frozenset(("properties", "$defs", "definitions", "patternProperties"))


def trimmed(schema: Mapping[str, Any], *, depth: int = 64) -> dict[str, Any]:
    """Copy a schema without generated titles and null defaults; it validates the same values.

    Args:
        schema: JSON; parts deeper than `depth` stay as they are.
        depth: levels to go down.
    """
    if depth == 0:
        return dict(schema)

    def part(value: Any) -> Any:
        return trimmed(value, depth=depth - 1) if isinstance(value, Mapping) else value

    found: dict[str, Any] = {}
    for key, value in schema.items():
        if (key == "title" and isinstance(value, str)) or (key == "default" and value is None):
            continue
        if key in _ONE:
            found[key] = part(value)
        elif key in _LISTS and isinstance(value, list):
            found[key] = [part(each) for each in value]
        elif key in _MAPS and isinstance(value, Mapping):
            found[key] = {name: part(each) for name, each in value.items()}
        else:
            found[key] = value
    return found


_GOOGLE = re.compile(r"(?P<name>[A-Z][A-Za-z ]{2,20}):\s*")
_UNDERLINE = re.compile(r"-{3,}\s*")
_ENTRY = re.compile(r"\*{0,2}(?P<name>\w+)\s*(\([^)]*\)+)?\s*:\s*(?P<text>.*)")
_NUMPY_ENTRY = re.compile(r"(?P<names>\w+(\s*,\s*\w+)*)\s*(:.*)?")
_REST = re.compile(r":(?P<kind>\w+)(?P<words>(\s+[^:]+)?):\s*(?P<text>.*)")
_REST_ARGUMENT = frozenset(("param", "parameter", "arg", "argument", "key", "keyword"))
_ARGUMENTS = frozenset(
    ("args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "attributes")
)
_OTHER = frozenset(
    (
        *("returns", "return", "yields", "yield", "raises", "raise", "examples", "example"),
        *("note", "notes", "references", "see also", "warnings", "warning", "warns", "source"),
        *("todo", "other parameters", "methods"),
    )
)


@dataclass(frozen=True, slots=True)
class Docstring:
    """A parsed docstring."""

    description: str
    """Everything before and after the sections."""
    arguments: dict[str, str]
    """Each described argument's text, on one line."""


class _DocstringReader:
    """Parses a docstring line by line."""

    def __init__(self) -> None:
        self.description: list[str] = []
        self.arguments: dict[str, list[str]] = {}
        self._section = ""
        self._is_numpy = False
        self._entry_indent = 0
        self._names: list[str] = []
        self._in_rest = False

    def line(self, line: str, following: str) -> None:
        """Read one line, knowing the next."""
        indent = len(line) - len(line.lstrip())
        if section := _section(line, following):
            self._section, self._is_numpy = section, bool(_UNDERLINE.fullmatch(following))
            self._entry_indent, self._names, self._in_rest = -1, [], False
        elif indent == 0 and (field := _REST.fullmatch(line)):
            self._rest(field)
        elif self._in_rest and indent > 0:
            self._add(line)
        elif self._section and (not line.strip() or indent > 0 or self._is_numpy):
            self._in_section(line, indent)
        else:
            self._section, self._in_rest = "", False
            self.description.append(line)

    def _rest(self, field: re.Match[str]) -> None:
        words = field["words"].split()
        is_argument = field["kind"] in _REST_ARGUMENT and words
        self._names, self._in_rest, self._section = [words[-1]] if is_argument else [], True, ""
        self._add(field["text"])

    def _in_section(self, line: str, indent: int) -> None:
        if self._section not in _ARGUMENTS or _UNDERLINE.fullmatch(line) or not line.strip():
            return
        if self._entry_indent < 0:
            self._entry_indent = indent
        if indent > self._entry_indent:
            self._add(line)
        elif self._is_numpy:
            entry = _NUMPY_ENTRY.fullmatch(line.strip())
            self._names = re.split(r"\s*,\s*", entry["names"]) if entry else []
        elif entry := _ENTRY.fullmatch(line.strip()):
            self._names = [entry["name"]]
            self._add(entry["text"])
        else:
            self._names = []

    def _add(self, text: str) -> None:
        for name in self._names:
            self.arguments.setdefault(name, []).extend(text.split())


def _section(line: str, following: str) -> str:
    """The section that a line opens, in lower case; empty if none."""
    if line[:1].isspace():
        return ""
    if _UNDERLINE.fullmatch(following):
        name = line.strip().lower()
        return name if name in _ARGUMENTS | _OTHER else ""
    heading = _GOOGLE.fullmatch(line)
    name = heading["name"].lower() if heading else ""
    return name if name in _ARGUMENTS | _OTHER else ""


def read_docstring(text: str) -> Docstring:
    """Parse a docstring; text of no known style is all description."""
    lines = inspect.cleandoc(text).split("\n")
    reader = _DocstringReader()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        reader.line(line, following)
    return Docstring(
        description=re.sub(r"\n{3,}", "\n\n", "\n".join(reader.description)).strip(),
        arguments={name: " ".join(words) for name, words in reader.arguments.items() if words},
    )
