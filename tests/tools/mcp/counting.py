"""A small toolkit with state, to be offered to others."""

import asyncio
import json

from ossia.tools.tool import Attachment, ToolResult, ToolSpec


class CountingToolkit:
    """One tool of JSON that counts its calls, and one of text that says it back."""

    def __init__(self):
        self.open_sessions = 0
        self.specs = (
            ToolSpec(
                name="count.up",
                description="Count.",
                parameters={"type": "object", "properties": {"by": {"type": "integer"}}},
                labels=frozenset({"reads_untrusted"}),
            ),
            ToolSpec(
                name="python",
                input_format="text",
                seconds=0.1,
                labels=frozenset({"external_effect"}),
            ),
            ToolSpec(name="functions.never", approval="always"),
        )

    async def open(self):
        self.open_sessions += 1
        return CountingSession(self)


class CountingSession:
    def __init__(self, toolkit):
        self.toolkit = toolkit
        self.number = 0
        self.is_open = True
        self.tools = tuple(CountingTool(spec, self) for spec in toolkit.specs)

    def needs_approval(self, name, arguments):
        return name == "python" and arguments == "ask"

    async def close(self):
        self.toolkit.open_sessions -= self.is_open
        self.is_open = False


class CountingTool:
    def __init__(self, spec, session):
        self.spec = spec
        self.session = session

    async def call(self, arguments):
        if self.spec.name == "python":
            if arguments == "sleep":
                await asyncio.sleep(60)
            text = "é" * 50_000 if arguments == "long" else arguments
            return ToolResult(text=text, is_error=arguments == "fail")
        self.session.number += json.loads(arguments).get("by", 1)
        files = (
            Attachment(name="plot.png", media_type="image/png", content=b"png"),
            Attachment(name="a b.csv", media_type="text/csv", content=b"1,2"),
        )
        found = files if self.session.number == 10 else ()
        return ToolResult(text=str(self.session.number), attachments=found)
