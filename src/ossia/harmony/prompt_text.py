"""Builds the text of the system and the developer message, and declares the tools in it.

The two built-in namespaces stand here word for word as trained.
"""

from collections.abc import Mapping, Sequence

from ossia.harmony.messages import FUNCTIONS, Conversation, FunctionTool, Namespace, ResponseFormat
from ossia.harmony.schema_text import comment_lines, json_text, parameters_text

_CHANNELS = (
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."
)
_CALLS = f"Calls to these tools must go to the commentary channel: '{FUNCTIONS}'."

_SEARCH = FunctionTool(
    name="search",
    description="Searches for information related to `query` and displays `topn` results.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "topn": {"type": "number", "default": 10},
            "source": {"type": "string"},
        },
        "required": ["query"],
    },
)
_OPEN = FunctionTool(
    name="open",
    description="Opens the link `id` from the page indicated by `cursor` starting at line number "
    "`loc`, showing `num_lines` lines.\n"
    "Valid link ids are displayed with the formatting: `【{id}†.*】`.\n"
    "If `cursor` is not provided, the most recent page is implied.\n"
    "If `id` is a string, it is treated as a fully qualified URL associated with `source`.\n"
    "If `loc` is not provided, the viewport will be positioned at the beginning of the document "
    "or centered on the most relevant passage, if available.\n"
    "Use this function without `id` to scroll to a new location of an opened page.",
    parameters={
        "type": "object",
        "properties": {
            "id": {"type": ["number", "string"], "default": -1},
            "cursor": {"type": "number", "default": -1},
            "loc": {"type": "number", "default": -1},
            "num_lines": {"type": "number", "default": -1},
            "view_source": {"type": "boolean", "default": False},
            "source": {"type": "string"},
        },
    },
)
_FIND = FunctionTool(
    name="find",
    description="Finds exact matches of `pattern` in the current page, "
    "or the page given by `cursor`.",
    parameters={
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "cursor": {"type": "number", "default": -1}},
        "required": ["pattern"],
    },
)

BROWSER = Namespace(
    "browser",
    "Tool for browsing.\n"
    "The `cursor` appears in brackets before each browsing display: `[{cursor}]`.\n"
    "Cite information from the tool using the following format:\n"
    "`【{cursor}†L{line_start}(-L{line_end})?】`, for example: `【6†L9-L11】` or `【8†L3】`.\n"
    "Do not quote more than 10 words directly from the tool output.\n"
    "sources=web (default: web)",
    (_SEARCH, _OPEN, _FIND),
)
PYTHON = Namespace(
    "python",
    "Use this tool to execute Python code in your chain of thought. The code will not be shown to "
    "the user. This tool should be used for internal reasoning, but not for code that is intended "
    "to be visible to the user (e.g. when creating plots, tables, or files).\n\n"
    "When you send a message containing Python code to python, it will be executed in a stateful "
    "Jupyter notebook environment. python will respond with the output of the execution or time "
    "out after 120.0 seconds. The drive at '/mnt/data' can be used to save and persist user files. "
    "Internet access for this session is UNKNOWN. Depends on the cluster.",
    (),
)
BUILTINS: Mapping[str, Namespace] = {"browser": BROWSER, "python": PYTHON}


def system_text(conversation: Conversation) -> str:
    """The system message: identity, dates, effort, built-in tools, channels."""
    lines = [conversation.identity]
    if conversation.knowledge_cutoff is not None:
        lines.append(f"Knowledge cutoff: {conversation.knowledge_cutoff}")
    if conversation.date is not None:
        lines.append(f"Current date: {conversation.date}")
    sections = ["\n".join(lines), f"Reasoning: {conversation.effort}"]
    if conversation.builtins:
        sections.append(tools_section([BUILTINS[name] for name in conversation.builtins]))
    sections.append(f"{_CHANNELS}\n{_CALLS}" if conversation.functions else _CHANNELS)
    return "\n\n".join(sections)


def developer_text(conversation: Conversation) -> str:
    """The developer message: instructions, functions and response formats; may be empty."""
    sections = []
    if conversation.instructions:
        sections.append(instructions_text(conversation.instructions))
    groups = [*conversation.namespaces]
    if conversation.functions:
        groups.append(Namespace(FUNCTIONS, "", conversation.functions))
    if groups:
        sections.append(tools_section(groups))
    if conversation.response_formats:
        sections.append(_formats_text(conversation.response_formats))
    return "\n\n".join(sections)


def instructions_text(instructions: str) -> str:
    """The developer's instructions under their heading."""
    return f"# Instructions\n\n{instructions}"


def _formats_text(formats: tuple[ResponseFormat, ...]) -> str:
    described = (
        f"## {shape.name}\n\n{comment_lines(shape.description)}{json_text(dict(shape.schema))}"
        for shape in formats
    )
    return "\n\n".join(("# Response Formats", *described))


def tools_section(namespaces: Sequence[Namespace]) -> str:
    """The whole section, namespaces in order of their names."""
    ordered = sorted(namespaces, key=lambda namespace: namespace.name)
    return "\n\n".join(("# Tools", *map(namespace_text, ordered)))


def namespace_text(namespace: Namespace) -> str:
    """One namespace, from its heading to its closing brace."""
    if not namespace.tools:
        return f"## {namespace.name}\n\n{namespace.description}"
    tools = "".join(map(_tool_text, namespace.tools))
    return (
        f"## {namespace.name}\n\n{comment_lines(namespace.description)}"
        f"namespace {namespace.name} {{\n\n{tools}}} // namespace {namespace.name}"
    )


def _tool_text(tool: FunctionTool) -> str:
    spelt = None if tool.unfolded is None else parameters_text(tool.unfolded.schema)
    if tool.input_format == "text":
        spelt = "string"
    taken = "()" if spelt is None else f"(_: {spelt})"
    return f"{comment_lines(tool.description)}type {tool.name} = {taken} => any;\n\n"
