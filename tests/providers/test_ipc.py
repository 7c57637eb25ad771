import pytest

from ossia.chat.events import (
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
    Usage,
)
from ossia.chat.request import AnswerSchema, ApprovalDecision, RawRequest, ToolPolicy, TurnRequest
from ossia.engine.engine import EngineLoad
from ossia.engine.options import EngineOptions, LoadOptions
from ossia.engine.request import SamplingParams
from ossia.harmony.messages import Conversation, FunctionTool, Message, ResponseFormat
from ossia.ops.select import OpsOptions
from ossia.providers.ipc import (
    Accepted,
    Cancel,
    Failed,
    Forced,
    Heartbeat,
    LoadFailed,
    LoadProgress,
    Ready,
    ServedModel,
    StartCompletion,
    StartTurn,
    TurnEvent,
    TurnRefused,
    decode,
    encode,
)

MODEL = ServedModel(
    name="nano", context_length=2048, max_running=8, vocab_size=768, control_ids=(760, 761),
    num_params=1, num_bytes=2, backend="CpuOps", fingerprint="fp_1",
)  # fmt: skip
SPOKEN = Message(role="assistant", channel="final", content="\n“ü”", sampled_ids=(1, 2, 3))
EVENTS = [
    PartStarted("call", "call_1", "f"), ReasoningDelta("a\nb"), PreambleDelta("p"),
    ArgumentsDelta('{"a":1}'),
    TextDelta("é", (TokenLogprob("é", 5, -0.5, (TokenLogprob("e", 6, -1e9, raw=(195,)),)),)),
    ToolCalled("call_1", "f", "{}"), PartFinished(SPOKEN, is_whole=True),
    Finished("stop", Usage(1, 2, 1, 0), Timing(0.5, 9.0)),
]  # fmt: skip
PLAIN = SamplingParams(stop=[], stop_token_ids=[])  # JSON knows lists only
FRAMES = [
    LoadOptions(model="nano", ops=OpsOptions(threads=1), engine=EngineOptions(max_running=2)),
    Cancel(4), LoadProgress("open", 0.5), Ready(MODEL, ("a notice",)), LoadFailed("no"),
    Accepted(1, 7),
    TurnRefused(1, "no", "tools[0]", "invalid_value"), Failed(3), Forced(2, "loop"),
    Heartbeat(EngineLoad(steps=1, running=2, waiting=3, cache_usage=0.5, preempted=0)),
    StartCompletion(2, RawRequest(prompt=(1, 2), params=PLAIN)),
    StartCompletion(2, RawRequest(prompt="text", params=PLAIN)),
]  # fmt: skip


@pytest.mark.parametrize("frame", [*FRAMES, *(TurnEvent(9, event) for event in EVENTS)], ids=repr)
def test_a_frame_is_one_line_and_comes_back_equal(frame):
    line = encode(frame)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == frame


def test_a_whole_request_comes_back_with_every_part():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    request = TurnRequest(
        conversation=Conversation(
            messages=(Message(role="user", content=("a", "b")), SPOKEN),
            effort="high",
            functions=(
                FunctionTool(name="f", parameters=schema, strict=True),
                FunctionTool(name="g", input_format="text", grammar=("regex", "a+/\n")),
            ),
            response_formats=(ResponseFormat(name="r", schema=schema),),
        ),
        params=SamplingParams(logit_bias={5: 1.5}, stop=("x",), seed=-3),
        tool_choice="f",
        allowed_tools=("f",),
        answer=AnswerSchema(schema=schema),
        max_analysis_tokens=3,
        schema_paths={"f": "tools[0].parameters"},
        tool_policy=ToolPolicy(
            max_calls=2,
            require_approval=("a.b",),
            decision=ApprovalDecision(call=SPOKEN, call_id="c", allows=True),
        ),
    )
    found = decode(encode(StartTurn(1, request)))
    assert isinstance(found, StartTurn)
    assert found.request.conversation == request.conversation
    assert found.request.rules == request.rules
    assert found.request.tool_policy == request.tool_policy
    assert list(found.request.params.stop) == ["x"]
    assert (found.request.answer, found.request.schema_paths) == (
        request.answer,
        request.schema_paths,
    )


@pytest.mark.parametrize("line", [b"{}\n", b'["Unknown",{}]\n', b"\n", b'["Cancel",{}]\n'])
def test_a_line_that_is_no_frame_is_refused(line):
    with pytest.raises((ValueError, KeyError)):
        decode(line)
