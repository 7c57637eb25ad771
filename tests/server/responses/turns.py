"""Turns as hypothesis makes them up, and what a caller may have asked for."""

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from ossia.chat.events import (
    ApprovalRequested,
    ArgumentsDelta,
    Finished,
    PartFinished,
    PartStarted,
    PreambleDelta,
    ReasoningDelta,
    TextDelta,
    Timing,
    TokenLogprob,
    ToolCalled,
    ToolFinished,
    Usage,
)
from ossia.harmony.messages import Message
from ossia.server.responses.objects import (
    OUTPUTS,
    RESULTS,
    SOURCES,
    ResponseSettings,
    ServerTools,
    runs_here,
)
from ossia.tools.tool import ToolResult

CHANNELS = {"analysis": "analysis", "preamble": "commentary", "final": "final"}
USAGE = Usage(11, 7, 3, 5)
SOMETIME = 1_700_000_000.75

FUNCTION = {
    "type": "function",
    "name": "look_up",
    "description": "Looks it up.",
    "parameters": {"type": "object", "properties": {"key": {"type": "string"}}},
    "strict": True,
}
CUSTOM = {"type": "custom", "name": "apply_patch", "description": "", "format": {"type": "text"}}
SETTINGS = ResponseSettings(
    model="nano",
    tools=(FUNCTION, CUSTOM),
    kinds={"look_up": "function", "apply_patch": "custom", "mail__send": "function"},
    namespaces={"mail__send": ("mail", "send")},
    include_logprobs=True,
    includes=frozenset((SOURCES, RESULTS, OUTPUTS)),
    servers={"post": ServerTools(({"name": "send", "description": "", "input_schema": {}},))},
    container_id="cntr_1",
)


@dataclass(frozen=True)
class Later:
    """An event of a kind that nobody knows yet."""

    text: str = "?"


class Counter:
    """Ids one after the other, so that two runs are the same."""

    def __init__(self):
        self.count = 0

    def __call__(self, prefix):
        self.count += 1
        return f"{prefix}_{self.count}"


def message(kind, text, name="", ids=(1, 2, 3)):
    """The harmony message of a part."""
    channel = CHANNELS.get(kind, "commentary" if kind == "call" else "analysis")
    recipient = f"functions.{name}" if name else None
    if name and runs_here(name, SETTINGS.kinds):
        recipient = name
    return Message(
        role="assistant", content=text, channel=channel, recipient=recipient, sampled_ids=ids
    )


def ran(name, text="Here.", *, fails=False, **details):
    """The result of a call that was run here."""
    result = ToolResult(text=text, is_error=fails, details=details)
    return ToolFinished("call_7", name, "{}", result, 0.5)


def part(kind, *pieces, name="", whole=True, ids=(1, 2, 3)):
    """All events of one part."""
    piece = {"preamble": PreambleDelta, "final": TextDelta, "call": ArgumentsDelta}.get(
        kind, ReasoningDelta
    )
    text = "".join(pieces)
    call_id = "call_7" if kind == "call" else ""
    called = [ToolCalled(call_id, name, text)] if kind == "call" and whole else []
    return [
        PartStarted(kind, call_id, name),
        *map(piece, pieces),
        *called,
        PartFinished(message(kind, text, name, ids), whole),
    ]


def finished(reason="stop"):
    return Finished(reason, USAGE, Timing())


TEXTS = st.text(max_size=6) | st.sampled_from(["【3†L", "1-L2】", "【9†L4】", "}{", "\u2028\0\n"])
LOGPROBS = st.floats(max_value=0, allow_nan=False)
SCORED = st.builds(
    TokenLogprob,
    st.text(max_size=3),
    st.integers(0, 9),
    LOGPROBS,
    st.lists(
        st.builds(TokenLogprob, st.text(max_size=2), st.integers(0, 9), LOGPROBS), max_size=2
    ).map(tuple),
)
SCORED_TEXTS = st.builds(TextDelta, TEXTS, st.lists(SCORED, max_size=2).map(tuple))


NAMES = ["look_up", "apply_patch", "mail__send"]
NAMES += ["browser.search", "browser.open", "browser.find", "python", "post.send"]


def results(name, *details):
    """Results of one tool: good ones and bad ones."""
    shown_details = st.sampled_from([{}, *details])
    return st.builds(
        lambda text, fails, more: ran(name, text, fails=fails, **more),
        st.text(max_size=4),
        st.booleans(),
        shown_details,
    )


URL = {"type": "url", "url": "https://a.b"}
RAN = {
    "browser.search": results(
        "browser.search", {"type": "search", "query": "q", "sources": [URL]}
    ),
    "browser.open": results(
        "browser.open",
        {"type": "open_page", "url": None},
        {"type": "open_page", "url": "https://a.b"},
    ),
    "browser.find": results(
        "browser.find", {"type": "find_in_page", "url": None, "pattern": "p"}
    ),
    "python": results(
        "python", {"outputs": [], "code": "busy"},
        {"container_id": "cntr_2", "outputs": [{"type": "logs", "logs": "4"}]},
    ),
    "post.send": results("post.send"),
}  # fmt: skip


@st.composite
def parts(draw, *, whole=True):
    """One part, with events in it that nobody knows; a call has no id yet."""
    kind = draw(st.sampled_from(["analysis", "preamble", "final", "call", "dream"]))
    name = draw(st.sampled_from(NAMES)) if kind == "call" else ""
    ids = draw(st.none() | st.just((1, 2, 3)))
    began, *_, ended = part(kind, name=name, whole=whole, ids=ids)
    piece = {"preamble": PreambleDelta, "call": ArgumentsDelta}.get(kind, ReasoningDelta)
    pieces = SCORED_TEXTS if kind == "final" else st.builds(piece, TEXTS)
    inside = draw(st.lists(pieces | st.just(Later()), max_size=4))
    results = []
    if whole and name == "post.send" and draw(st.booleans()):
        ended = (ApprovalRequested(began.call_id, name, draw(TEXTS)), ended)
    elif whole and name and runs_here(name, SETTINGS.kinds):  # one that broke off has no result
        results = draw(st.lists(RAN[name], max_size=1))
    return [began, *inside, *(ended if isinstance(ended, tuple) else (ended,)), *results]


@st.composite
def turns(draw):
    """A whole turn; one that was cut has an unfinished last part."""
    reason = draw(st.sampled_from(["stop", "tool_calls", "length", "cancelled"]))
    written = draw(st.lists(parts(), max_size=4))
    if reason in ("length", "cancelled") and draw(st.booleans()):
        written.append(draw(parts(whole=False)))
    between = draw(st.just([]) | st.just([Later(), ReasoningDelta("of nobody")]))
    usage = draw(st.builds(Usage, *[st.integers(0, 10**6)] * 4))
    events = (
        [each for one in written for each in one] + between + [Finished(reason, usage, Timing())]
    )
    return [
        replace(event, call_id=f"call_{at}") if getattr(event, "call_id", "") else event
        for at, event in enumerate(events)
    ]


DEAD = ServerTools(error="it cannot be reached")
SCHEMA = {"type": "json_schema", "name": "f", "schema": {"type": "object"}, "strict": True}
FORMATS = [{"type": "text"}, {"type": "json_object"}, SCHEMA]


@st.composite
def settings(draw):
    """What a request may have said."""
    name = st.none() | st.text(max_size=5)
    choices = ["auto", "none", "required", {"type": "function", "name": "look_up"}]
    efforts = st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"])
    return ResponseSettings(
        model=draw(st.text(max_size=5)),
        instructions=draw(name),
        previous_response_id=draw(name),
        temperature=draw(st.floats(0, 2)),
        top_p=draw(st.floats(0.1, 1)),
        top_logprobs=draw(st.integers(0, 20)),
        max_output_tokens=draw(st.none() | st.integers(1, 10**6)),
        max_tool_calls=draw(st.none() | st.integers(1, 10)),
        tools=SETTINGS.tools[: draw(st.integers(0, 2))],
        tool_choice=draw(st.sampled_from(choices)),
        parallel_tool_calls=draw(st.booleans()),
        text={"format": draw(st.sampled_from(FORMATS)), "verbosity": "low"},
        reasoning={"effort": draw(efforts), "summary": "auto"},
        truncation=draw(st.sampled_from(["auto", "disabled"])),
        store=draw(st.booleans()),
        background=draw(st.booleans()),
        metadata=draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)),
        user=draw(name),
        safety_identifier=draw(name),
        prompt_cache_key=draw(name),
        extensions={"seed": 7},
        kinds=SETTINGS.kinds,
        namespaces=draw(st.sampled_from([{}, SETTINGS.namespaces])),
        include_logprobs=draw(st.booleans()),
        includes=frozenset(draw(st.sets(st.sampled_from([SOURCES, RESULTS, OUTPUTS])))),
        servers=draw(st.sampled_from([SETTINGS.servers, {"dead": DEAD, **SETTINGS.servers}])),
    )
