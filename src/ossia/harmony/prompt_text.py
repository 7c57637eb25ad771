"""The words of the system and the developer message; knows no token."""

from ossia.harmony.messages import FUNCTIONS, Conversation, Namespace, ResponseFormat
from ossia.harmony.schema_text import comment_lines, json_text
from ossia.harmony.tool_text import BUILTINS, tools_section

_CHANNELS = (
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."
)
_CALLS = f"Calls to these tools must go to the commentary channel: '{FUNCTIONS}'."


def system_text(conversation: Conversation) -> str:
    """What only we may say: identity, dates, effort, built-in tools, channels."""
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
    """Instructions, functions and response formats; empty if there is nothing to say."""
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
    """A developer's own words under their heading."""
    return f"# Instructions\n\n{instructions}"


def _formats_text(formats: tuple[ResponseFormat, ...]) -> str:
    described = (
        f"## {shape.name}\n\n{comment_lines(shape.description)}{json_text(dict(shape.schema))}"
        for shape in formats
    )
    return "\n\n".join(("# Response Formats", *described))
