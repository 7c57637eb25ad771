"""`ossia run`: one question, one answer."""

import json
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ossia.chat.events import Event, Reply, Timing, Usage, collect
from ossia.cli.options import (
    AsJson,
    MachineOptions,
    ModelOptions,
    PromptOptions,
    SamplingOptions,
    ToolOptions,
    open_llm,
    spread,
)
from ossia.cli.terminal.answer import AttachmentFolder, PlainAnswer
from ossia.cli.terminal.approval import open_tools
from ossia.cli.terminal.prompt import read_prompt
from ossia.cli.terminal.terminal import cut_short, introduce, say, timings

if TYPE_CHECKING:
    from ossia import ChatStream
    from ossia.tools.tool import Attachment

EXAMPLES = """
ossia run "What is 37 + 48?"
ossia run --tool python "Use python: 12345 * 6789"
ossia run -m FOLDER --effort high "Summarise this" < notes.txt
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OutputOptions:
    """What to print, and how."""

    as_json: AsJson = False
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the text as is, without the chat format.")
    ] = False
    hide_thinking: Annotated[
        bool, typer.Option("--hide-thinking", help="Print the answer only.")
    ] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print timings on stderr.")] = (
        False
    )


@spread
def command(
    *,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help="The question; piped text is added below. -: the piped text alone.",
        ),
    ] = None,
    model: ModelOptions,
    machine: MachineOptions,
    prompt_options: PromptOptions,
    sampling: SamplingOptions,
    tools: ToolOptions,
    output: OutputOptions,
) -> None:
    """Answer one question: the answer on stdout, the thinking on stderr."""
    if output.raw and (lost := prompt_options.set_values() | tools.set_values()):
        raise typer.BadParameter(
            f"it sends only the text, so {', '.join(lost)} would be lost; use one of them",
            param_hint="--raw",
        )
    question = read_prompt(prompt, sys.stdin)
    params = sampling.params()
    quiet = model.quiet or output.as_json
    files = AttachmentFolder(tools.files)
    with ExitStack() as stack:
        tool_session = open_tools(tools.tool or [], lambda text: llm.count_tokens(text))
        if tool_session is not None:  # before the model, so that errors come at once
            stack.enter_context(tool_session)
        if not quiet:
            introduce(model.model)
        began = time.monotonic()
        llm = stack.enter_context(open_llm(model, machine, quiet=quiet))
        load_seconds = time.monotonic() - began
        stream: ChatStream[Event]
        if output.raw:
            stream = llm.generate_stream(question, params)
        else:
            stream = llm.stream(
                question, params=params, tools=tool_session or (), **prompt_options.set_values()
            )
        if output.as_json:
            print(as_json(model.model, _whole(stream), files))
            return
        hides = output.hide_thinking or model.quiet
        reply = _stream_out(stream, files, shows_thinking=not hides)
    if not model.quiet:
        cut_short(reply, sampling.max_tokens)
    if output.verbose:
        timings(reply, load_seconds)


def as_json(model: str, reply: Reply, files: AttachmentFolder) -> str:
    """The whole turn as one line of JSON, with control characters escaped for terminals."""
    return json.dumps(
        {
            "model": model,
            "text": reply.text,
            "analysis": reply.analysis,
            "tool_runs": [
                {
                    "name": ran.name,
                    "arguments": ran.arguments,
                    "result": ran.result.text,
                    "is_error": ran.result.is_error,
                    "seconds": ran.seconds,
                    "files": [_file(each, files) for each in ran.result.attachments],
                }
                for ran in reply.tool_runs
            ],
            "finish_reason": reply.finish_reason,
            "usage": {name: getattr(reply.usage, name) for name in Usage.__slots__},
            "timing": {name: getattr(reply.timing, name) for name in Timing.__slots__},
        }
    )


def _file(file: "Attachment", files: AttachmentFolder) -> dict[str, Any]:
    try:
        path = files.save(file)
    except OSError as error:
        say(f"{file.name} is not saved: {error.strerror}")
        path = None
    return {
        "name": file.name,
        "media_type": file.media_type,
        "bytes": len(file.content),
        "path": str(path) if path else None,
    }


def _whole(stream: "ChatStream[Event]") -> Reply:
    try:
        return collect(stream)
    finally:
        stream.close()


def _stream_out(
    stream: "ChatStream[Event]", files: AttachmentFolder, *, shows_thinking: bool
) -> Reply:
    answer = PlainAnswer(sys.stdout, sys.stderr, shows_thinking=shows_thinking, files=files)

    def shown() -> Iterable[Event]:
        for event in stream:
            answer.show(event)
            yield event

    try:
        return collect(shown())
    finally:
        stream.close()
        answer.close()
