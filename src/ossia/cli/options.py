"""The options that several commands share, each defined once, and their environment variables.

Other variables are read in `files`, `checkpoint.find` and `tools.catalog`. Nothing heavy is
imported at the top. Groups of options are neither compared nor printed: `dataclass` makes no
methods for that, each of which would take time at every start.
"""

import gc
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
from ossia.tools.catalog import CONTAINER, help_text

if TYPE_CHECKING:
    from ossia import LLM, OpsOptions
    from ossia.engine.options import LoadOptions

Group = TypeVar("Group")

MODEL, MACHINE, PROMPT, SAMPLING, TOOLS = "Model", "Machine", "Prompt", "Sampling", "Tools"
"""Headings of groups of options in the help."""


def tokens(text: str) -> int:
    """Read a number of tokens: 4096, 8k (8,192) or 1m."""
    factor = {"k": 2**10, "m": 2**20}.get(text[-1:].lower(), 1)
    digits = text if factor == 1 else text[:-1]
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:12]) * factor < 2**31):
        raise typer.BadParameter(
            f"{text!r} is not a number of tokens; expected one like 4096 or 8k"
        )
    return int(digits) * factor


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ModelOptions:
    """Which model to open, its context length and number formats."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            envvar="OSSIA_MODEL",
            metavar="MODEL",
            help="nano, a folder, or the name of a downloaded Hugging Face model.",
            rich_help_panel=MODEL,
        ),
    ] = "nano"
    context_length: Annotated[
        int | None,
        typer.Option(
            envvar="OSSIA_CONTEXT_LENGTH",
            parser=tokens,
            metavar="TOKENS",
            help="Context length: most tokens of prompt and answer, such as 8k; by default the "
            "model's longest.",
            rich_help_panel=MODEL,
        ),
    ] = None
    weights: Annotated[
        Literal["int8", "bf16", "lean"],
        typer.Option(
            envvar="OSSIA_WEIGHTS",
            metavar="FORM",
            help="Weight format. int8: fast; bf16: as published, exact, slow; lean: smallest, "
            "least exact.",
            rich_help_panel=MODEL,
        ),
    ] = "int8"
    kv_dtype: Annotated[
        Literal["float32", "bfloat16", "int8"] | None,
        typer.Option(
            envvar="OSSIA_KV_DTYPE",
            metavar="TYPE",
            help="Number format of the KV cache: float32, bfloat16 (half the bytes) or int8.",
            rich_help_panel=MODEL,
        ),
    ] = None
    prepare: Annotated[
        bool,
        typer.Option(
            envvar="OSSIA_PREPARE",
            help="Save a large model's weights on disk in the backend's format.",
            rich_help_panel=MODEL,
        ),
    ] = True
    prepared_folder: Annotated[
        str,
        typer.Option(
            envvar="OSSIA_PREPARED_FOLDER",
            metavar="FOLDER",
            help="Folder of these weights; auto: the user's cache.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors on stderr.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MachineOptions:
    """The backend, its threads and its instruction set."""

    backend: Annotated[
        Literal["auto", "cpu", "torch", "reference"],
        typer.Option(
            envvar="OSSIA_BACKEND",
            metavar="NAME",
            help="Backend that computes: auto, cpu, torch or reference.",
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
            help="CPU threads; by default one per core.",
            rich_help_panel=MACHINE,
        ),
    ] = None
    isa: Annotated[
        str,
        typer.Option(
            envvar="OSSIA_ISA",
            metavar="NAME",
            help="CPU instruction set; ossia doctor lists them.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto"


def open_llm(model: ModelOptions, machine: MachineOptions, *, quiet: bool = False) -> "LLM":
    """Open the model, with progress on stderr.

    Raises:
        OssiaError: the model cannot be opened.
    """
    quiet = quiet or model.quiet
    with loading(quiet=quiet) as progress:
        from ossia import LLM

        llm = LLM.from_options(load_options(model, machine), progress)
    gc.freeze()  # what is loaded stays until the end: no collection, nor the last, looks at it
    if not quiet:
        for notice in llm.notices:
            say(notice)
    return llm


def load_options(model: ModelOptions, machine: MachineOptions, **engine: Any) -> "LoadOptions":
    """Translate the options for the library; `engine`: further fields of `EngineOptions`."""
    from ossia.engine.options import EngineOptions, LoadOptions

    return LoadOptions(
        model=model.model,
        backend=machine.backend,
        ops=ops_options(model, machine),
        engine=EngineOptions(context_length=model.context_length, **engine),
        prepared=model.prepared_folder if model.prepare else None,
    )


def ops_options(model: ModelOptions, machine: MachineOptions) -> "OpsOptions":
    """Translate the options for the backend."""
    from ossia import OpsOptions

    return OpsOptions(
        threads=machine.threads, isa=machine.isa, weights=model.weights, kv_dtype=model.kv_dtype
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PromptOptions:
    """What stands in the prompt beside the conversation. None: the library's default."""

    effort: Annotated[
        Literal["low", "medium", "high"] | None,
        typer.Option(
            metavar="LEVEL",
            help="Reasoning effort: low, medium or high; default: medium.",
            rich_help_panel=PROMPT,
        ),
    ] = None
    system: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="System prompt: instructions for all answers.",
            rich_help_panel=PROMPT,
        ),
    ] = None
    date: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="Current date to state in the prompt; by default none.",
            rich_help_panel=PROMPT,
        ),
    ] = None
    max_analysis_tokens: Annotated[
        int | None,
        typer.Option(
            parser=lambda text: 0 if text == "0" else tokens(text),
            metavar="TOKENS",
            help="End the reasoning after this many tokens; 0: answer without reasoning.",
            rich_help_panel=PROMPT,
        ),
    ] = None

    def set_values(self) -> dict[str, Any]:
        """The options that are set, as arguments of `LLM.stream`."""
        values = {
            "effort": self.effort,
            "instructions": self.system,
            "date": self.date,
            "max_analysis_tokens": self.max_analysis_tokens,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ToolOptions:
    """The tools that the model may call."""

    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"{help_text(for_callers=False)}. May be repeated.",
            rich_help_panel=TOOLS,
        ),
    ] = None
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Save files that tools produce, such as plots; by default they are only named.",
            rich_help_panel=TOOLS,
        ),
    ] = None

    def set_values(self) -> dict[str, Any]:
        """The options that are set, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value}


def _sampling_option(param: SamplingField) -> Any:
    """The option of one sampling parameter, annotated for typer."""
    default = (
        "" if param.default is None or param.shape == "list" else f"; default: {param.default:g}"
    )
    shown: dict[str, Any] = {
        "help": f"{param.help.rstrip('.')}{default}.",
        "rich_help_panel": SAMPLING,
    }
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
    """Make a dataclass with a field for every sampling parameter that has an option."""
    options = {
        name: _sampling_option(param)
        for name, param in SAMPLING_FIELDS.items()
        if param.shape != "table" and name != "logprobs"  # only an API reports it
    }
    group.__annotations__ = options
    for name in options:
        setattr(group, name, None)
    return dataclass(frozen=True, kw_only=True, eq=False, repr=False)(group)


@_with_sampling_fields
class SamplingOptions:
    """How to sample: an option for each field of `SamplingParams`. None: its default."""

    max_tokens: int | None

    def params(self) -> SamplingParams:
        """Check and translate the options; raises RequestError for a value out of bounds."""
        values = {name: getattr(self, name) for name in type(self).__annotations__}
        return SamplingParams(**{n: value for n, value in values.items() if value is not None})


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: typer sees each field of its dataclass arguments as an option."""
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
    """The value of an option that an environment variable can set."""

    name: str
    variable: str
    value: str
    origin: str
    """Either environment or default."""


def settings(environment: Mapping[str, str]) -> list[Setting]:
    """Every setting with its value and origin."""
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
