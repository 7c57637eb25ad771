"""The typer application: imports a command when it is called, prints an error as one line.

Help is plain text, since typer's own panels import rich, and pydantic is imported only for values
that need it: each takes longer than everything else before the model is opened.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from ossia import __version__
from ossia.cli.commands import COMMANDS, overview
from ossia.cli.terminal.terminal import OutputGuard, harmless
from ossia.errors import OssiaError

OTHERS = "Options"
"""The default group of options."""


class LazyCoercion:
    """Mixin of a typer command: a value that already has its option's type is not coerced."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, each with its coercion replaced by a lazy one."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if "get_runtime_param" not in vars(param):
                coercion = _Coercion(param.get_runtime_param)
                param.get_runtime_param = lambda coercion=coercion: coercion
        return params


class _Coercion:
    """Replaces typer's coercion of one parameter, which is built when it is first needed."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        kind = param.type_descriptor
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        is_text = kind.annotation is str and kind.parameter_info.parser is None
        if value is param.default or (is_text and isinstance(value, str)):
            return value
        return self._build().coerce(value, param=param, ctx=ctx)


class OneCommand(LazyCoercion, TyperCommand):
    """A sub-command; its help lists options by group, and its epilog as examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List arguments, then each group of options under its name."""
        groups = _by_group(
            (_group_of(param), param.get_help_record(ctx)) for param in self.get_params(ctx)
        )
        rest = groups.pop(OTHERS, [])
        for group, rows in groups.items():
            _write_group(formatter, group, rows)
        _write_group(formatter, OTHERS, rest)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Print the examples without wrapping them."""
        examples = (self.epilog or "").strip().splitlines()
        formatter.write(f"\n{'Examples' if len(examples) > 1 else 'Example'}:\n")
        for line in examples:
            formatter.write(f"  {line}\n")


class AllCommands(LazyCoercion, TyperGroup):
    """The group of all commands: imports one when it is called; a closed pipe ends it quietly."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names  # typer suggests them for a misspelt one

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module of a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"ossia.cli.commands.{cmd_name}")
        info = CommandInfo(
            name=cmd_name,
            cls=OneCommand,
            callback=module.command,
            epilog=module.EXAMPLES,
            rich_help_panel=COMMANDS[cmd_name][0],
        )
        return get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the overview; it imports no command's module."""
        formatter.write(overview(formatter.width + 2))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the arguments; `--help` and `--version` already print while this happens."""
        with OutputGuard():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with OutputGuard():
            return super().invoke(ctx)


app = typer.Typer(
    cls=AllCommands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Run, serve, teach and measure gpt-oss on your own machine."""
    if version:
        typer.echo(f"ossia {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: list[str]) -> NoReturn:
    """Run one command line and exit with its status."""
    try:
        code = app(arguments, prog_name="ossia", standalone_mode=False)
    except OssiaError as error:
        _leave(str(error), 1)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else ""
        see = f"; see: {command} --help" if command else ""
        message = error.format_message().rstrip(".").replace("'. Did you", "'; did you")
        if "unexpected extra argument" in message and command == "ossia run":
            message += "; put the question in quotes"
        _leave(message.rstrip("?") + see, error.exit_code)
    except typer.Abort:
        raise SystemExit(130) from None
    raise SystemExit(code)


def _leave(message: str, code: int) -> NoReturn:
    line = " ".join(message.replace("Value error, ", "").split())  # pydantic's prefix
    typer.echo(f"ossia: {harmless(line)}", err=True)
    raise SystemExit(code) from None


def _group_of(param: Any) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or OTHERS  # --help itself has no group


def _by_group(
    listed: Iterable[tuple[str, tuple[str, str] | None]],
) -> dict[str, list[tuple[str, str]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for group, record in listed:
        if record is not None:
            groups.setdefault(group, []).append(record)
    return groups


def _write_group(formatter: Any, name: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(name):
            formatter.write_dl(rows, col_max=28)
