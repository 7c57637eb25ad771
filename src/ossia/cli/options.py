"""The options that several commands share, each defined once, and the settings they are read from.

The environment is read here, in folders.py and, for tools, in toolkits.py; for folders of models
in `checkpoint.find`.
Nothing heavy is imported at the top.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from ossia.cli.terminal.progress import loading
from ossia.cli.terminal.terminal import say
from ossia.engine.request import SAMPLING_FIELDS, SamplingField, SamplingParams
from ossia.files import HOME
from ossia.tools.catalog import CONTAINER

if TYPE_CHECKING:
    from ossia import LLM, OpsOptions
    from ossia.engine.options import LoadOptions

Group = TypeVar("Group")

MODEL, MACHINE, ASKING, SAMPLING, TOOLS = "Model", "Machine", "Asking", "Sampling", "Tools"
"""Headings in the help."""


def tokens(text: str) -> int:
    """Read a number of tokens: 4096, 8k (8,192) or 1m."""
    factor = {"k": 2**10, "m": 2**20}.get(text[-1:].lower(), 1)
    digits = text if factor == 1 else text[:-1]
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:12]) * factor < 2**31):
        raise typer.BadParameter(f"{text!r} is no number of tokens; expected one like 4096 or 8k")
    return int(digits) * factor


AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model, and how much of a conversation it keeps."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            envvar="OSSIA_MODEL",
            metavar="MODEL",
            help="nano, a folder, or a hub name that is on this disk.",
            rich_help_panel=MODEL,
        ),
    ] = "nano"
    context_length: Annotated[
        int | None,
        typer.Option(
            envvar="OSSIA_CONTEXT_LENGTH",
            parser=tokens,
            metavar="TOKENS",
            help="Most of question and answer, such as 8k; the model's longest unless told.",
            rich_help_panel=MODEL,
        ),
    ] = None
    weights: Annotated[
        Literal["int8", "bf16", "lean"],
        typer.Option(
            envvar="OSSIA_WEIGHTS",
            metavar="FORM",
            help="int8: fast; bf16: as published, exact, slow; lean: fewest bytes, most loss.",
            rich_help_panel=MODEL,
        ),
    ] = "int8"
    kv_dtype: Annotated[
        Literal["float32", "bfloat16", "int8"] | None,
        typer.Option(
            envvar="OSSIA_KV_DTYPE",
            metavar="TYPE",
            help="How keys and values are kept: float32, bfloat16 (half the bytes) or int8.",
            rich_help_panel=MODEL,
        ),
    ] = None
    prepare: Annotated[
        bool,
        typer.Option(
            envvar="OSSIA_PREPARE",
            help="Keep a large model's weights on disk as the backend reads them.",
            rich_help_panel=MODEL,
        ),
    ] = True
    prepared_folder: Annotated[
        str,
        typer.Option(
            envvar="OSSIA_PREPARED_FOLDER",
            metavar="FOLDER",
            help="Where; auto: the user's cache.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")] = (
        False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """What does the arithmetic, and with how much of this computer."""

    backend: Annotated[
        Literal["auto", "cpu", "torch", "reference"],
        typer.Option(
            envvar="OSSIA_BACKEND",
            metavar="NAME",
            help="What does the arithmetic: auto, cpu, torch or reference.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        typer.Option(
            envvar="OSSIA_THREADS",
            min=1,
            max=1024,
            metavar="N",
            help="CPU threads; as many as there are cores unless told.",
            rich_help_panel=MACHINE,
        ),
    ] = None
    isa: Annotated[
        str,
        typer.Option(
            envvar="OSSIA_ISA",
            metavar="NAME",
            help="Instruction set of the CPU; ossia doctor lists them.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto"


def open_llm(model: ModelOptions, machine: MachineOptions, *, quiet: bool = False) -> "LLM":
    """Open the model, with progress on stderr.

    Raises:
        OssiaError: it cannot be opened, with the reason.
    """
    quiet = quiet or model.quiet
    with loading(quiet=quiet) as progress:
        from ossia import LLM

        llm = LLM.from_options(load_options(model, machine), progress)
    if not quiet:
        for notice in llm.notices:
            say(notice)
    return llm


def load_options(model: ModelOptions, machine: MachineOptions, **engine: Any) -> "LoadOptions":
    """The options as the library takes them; `engine`: further fields of `EngineOptions`."""
    from ossia.engine.options import EngineOptions, LoadOptions

    return LoadOptions(
        model=model.model,
        backend=machine.backend,
        ops=ops_options(model, machine),
        engine=EngineOptions(context_length=model.context_length, **engine),
        prepared=model.prepared_folder if model.prepare else None,
    )


def ops_options(model: ModelOptions, machine: MachineOptions) -> "OpsOptions":
    """What the backend is asked for."""
    from ossia import OpsOptions

    return OpsOptions(
        threads=machine.threads, isa=machine.isa, weights=model.weights, kv_dtype=model.kv_dtype
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingOptions:
    """What the model is told beside the conversation. None: what the library takes unless told."""

    effort: Annotated[
        Literal["low", "medium", "high"] | None,
        typer.Option(
            metavar="LEVEL",
            help="How long to think: low, medium or high; medium unless told.",
            rich_help_panel=ASKING,
        ),
    ] = None
    system: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Instructions that hold throughout.", rich_help_panel=ASKING
        ),
    ] = None
    date: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="The day the model believes it is; it is told none unless you do.",
            rich_help_panel=ASKING,
        ),
    ] = None
    max_analysis_tokens: Annotated[
        int | None,
        typer.Option(
            parser=lambda text: 0 if text == "0" else tokens(text),
            metavar="TOKENS",
            help="End the thinking after so many; 0: answer at once.",
            rich_help_panel=ASKING,
        ),
    ] = None

    def set_values(self) -> dict[str, Any]:
        """Arguments of `LLM.stream` for what was given."""
        values = {
            "effort": self.effort,
            "instructions": self.system,
            "date": self.date,
            "max_analysis_tokens": self.max_analysis_tokens,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOptions:
    """What the model may do beside speaking."""

    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="python, or python=bubblewrap to demand that sandbox (see: ossia doctor); "
            "browser: your pages (see: ossia index); web: the open web, by the search service you "
            "have a key for; patch=FOLDER: change its files; mcp=FILE: an mcpServers file. "
            "May be repeated.",
            rich_help_panel=TOOLS,
        ),
    ] = None
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep files that tools give, such as plots; else they are only named.",
            rich_help_panel=TOOLS,
        ),
    ] = None

    def set_values(self) -> dict[str, Any]:
        """What was given, by the names of the options."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value}


def _sampling_option(param: SamplingField) -> Any:
    """The option of one sampling parameter, annotated as typer reads it; None by default."""
    shown: dict[str, Any] = {"help": param.help, "rich_help_panel": SAMPLING}
    kind: Any = param.type
    if param.name.endswith("_tokens"):
        shown |= {"parser": tokens, "metavar": "TOKENS"}
    elif param.type is float:
        least, most = param.bounds.get("ge", param.bounds.get("gt")), param.bounds["le"]
        shown["metavar"] = f"{least:g}..{most:g}"
    else:
        shown["metavar"] = "TEXT" if param.type is str else "N"
    if param.shape == "list":
        kind = list[kind]
        shown["help"] = f"{param.help.rstrip('.')}; may be repeated."
    return Annotated[kind | None, typer.Option(**shown)]


def _with_sampling_fields(group: type[Group]) -> type[Group]:
    """Give a class a field for every sampling parameter that can be typed, and make it one."""
    options = {
        name: _sampling_option(param)
        for name, param in SAMPLING_FIELDS.items()
        if param.shape != "table" and name != "logprobs"  # which is reported, and to programs
    }
    group.__annotations__ = options
    for name in options:
        setattr(group, name, None)
    return dataclass(frozen=True, kw_only=True)(group)


@_with_sampling_fields
class SamplingOptions:
    """How tokens are sampled: an option for each field of `SamplingParams`. None: its default."""

    max_tokens: int | None

    def params(self) -> SamplingParams:
        """Sampling parameters; raises RequestError for what no sampler could honour."""
        values = {name: getattr(self, name) for name in type(self).__annotations__}
        return SamplingParams(**{n: value for n, value in values.items() if value is not None})


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Show the fields of a command's dataclass arguments to typer as options of their own."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @wraps(command)
    def flat(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{each.name: values.pop(each.name) for each in fields(group)})
        command(**values)

    written = inspect.signature(command)
    shown: list[inspect.Parameter] = []
    for parameter in written.parameters.values():
        if parameter.name in groups:
            shown.extend(_parameters(groups[parameter.name]))
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            shown.append(parameter.replace(kind=kind, annotation=hints[parameter.name]))
    flat.__signature__ = written.replace(parameters=shown)  # type: ignore[attr-defined]
    return flat


def _parameters(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(group)
    ]


@dataclass(frozen=True, slots=True)
class Setting:
    """An option that may also stand in the environment."""

    name: str
    variable: str
    value: str
    origin: str
    """environment or default."""


def settings(environment: Mapping[str, str]) -> list[Setting]:
    """Every setting with its value here and where that comes from."""
    found = []
    for group in (ModelOptions, MachineOptions):
        hints = get_type_hints(group, include_extras=True)
        for each in fields(group):
            (option,) = hints[each.name].__metadata__
            if option.envvar is not None:
                setting = environment.get(option.envvar)
                value = setting or ("" if each.default is None else str(each.default))
                origin = "environment" if setting else "default"
                found.append(Setting(each.name, option.envvar, value, origin))
    for name, variable in (("home", HOME), ("python_container", CONTAINER)):
        setting = environment.get(variable, "")
        found.append(Setting(name, variable, setting, "environment" if setting else "default"))
    return found
