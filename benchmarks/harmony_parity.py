"""Does our renderer write the very ids of the published harmony library?

    python -m benchmarks.harmony_parity --conversations 1000 --seed 0

Where the library spells a message another way than the chat template does (calls and results), its
strict parser must read our ids back as the same message.
"""

import argparse
import random
import time
from collections import Counter

import openai_harmony as judge_library

from benchmarks.harmony_conversations import conversation
from ossia.harmony.history import drop_old_reasoning
from ossia.harmony.messages import Conversation, Message
from ossia.harmony.render import render_prompt
from ossia.harmony.tokenizer import Tokenizer

Judge = judge_library.HarmonyEncoding
Theirs = judge_library.Message


def make_judge() -> Judge:
    """The published library's own encoding, tokenizer included."""
    return judge_library.load_harmony_encoding("HarmonyGptOss")


def compare(judge: Judge, tokenizer: Tokenizer, ours: Conversation) -> Counter[str]:
    """Count the messages by how they agree; raises AssertionError if one does not."""
    agreed: Counter[str] = Counter()
    ours_shown = drop_old_reasoning(ours.messages)
    theirs = [*_preface(ours), *map(_translated, ours_shown)]
    rendered = render_prompt(tokenizer, ours)
    pieces = _split(rendered, tokenizer.ids.start)
    assert len(pieces) == len(theirs) + 1
    options = judge_library.RenderOptions(conversation_has_function_tools=bool(ours.functions))
    for piece, message in zip(pieces, theirs, strict=False):
        expected = judge.render(message, options)
        if piece == expected:
            agreed["exact"] += 1
            continue
        is_routed = message.recipient is not None
        assert is_routed, f"ours {judge.decode(piece)!r}\ntheirs {judge.decode(expected)!r}"
        assert _read_back(judge, piece) == message.to_dict(), judge.decode(piece)
        agreed["read back"] += 1
    if not any(message.recipient for message in theirs):
        assert _whole_prompt(judge, theirs) == rendered
        agreed["whole prompts"] += 1
    agreed["conversations"] += 1
    return agreed


def _whole_prompt(judge: Judge, theirs: list[Theirs]) -> list[int]:
    return judge.render_conversation_for_completion(
        judge_library.Conversation.from_messages(theirs),
        judge_library.Role.ASSISTANT,
        judge_library.RenderConversationConfig(auto_drop_analysis=False),
    )


def _split(ids: list[int], start: int) -> list[list[int]]:
    begins = [at for at, token_id in enumerate(ids) if token_id == start]
    return [ids[a:b] for a, b in zip(begins, [*begins[1:], len(ids)], strict=True)]


def _read_back(judge: Judge, piece: list[int]) -> dict[str, object]:
    (message,) = judge.parse_messages_from_completion_tokens(piece, None, strict=True)
    return message.to_dict()


def _preface(ours: Conversation) -> list[Theirs]:
    """The system message, and the developer message if there is anything to say."""
    system = judge_library.SystemContent.new()
    effort = judge_library.ReasoningEffort(ours.effort.capitalize())
    system = system.with_reasoning_effort(effort)
    if ours.date:
        system = system.with_conversation_start_date(ours.date)
    if "browser" in ours.builtins:
        system = system.with_browser_tool()
    if "python" in ours.builtins:
        system = system.with_python_tool()
    messages = [Theirs.from_role_and_content(judge_library.Role.SYSTEM, system)]
    developer = judge_library.DeveloperContent.new()
    if ours.instructions:
        developer = developer.with_instructions(ours.instructions)
    if ours.functions:
        developer = developer.with_function_tools(
            [
                judge_library.ToolDescription.new(
                    tool.name,
                    tool.description,
                    None if tool.parameters is None else dict(tool.parameters),
                )
                for tool in ours.functions
            ]
        )
    if ours.instructions or ours.functions:
        messages.append(Theirs.from_role_and_content(judge_library.Role.DEVELOPER, developer))
    return messages


def _translated(message: Message) -> Theirs:
    author = judge_library.Author(role=judge_library.Role(message.role), name=message.name)
    if message.role == "developer":
        content = judge_library.DeveloperContent.new().with_instructions(message.text)
        return Theirs.from_author_and_content(author, content)
    theirs = Theirs(author=author)
    for part in message.parts:
        theirs = theirs.adding_content(part)
    if message.channel:
        theirs = theirs.with_channel(message.channel)
    if recipient := "assistant" if message.role == "tool" else message.recipient:
        theirs = theirs.with_recipient(recipient)
    if message.content_type:
        theirs = theirs.with_content_type(message.content_type)
    return theirs


def main() -> None:
    """Compare as many conversations as asked for and print the count of each agreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    judge, tokenizer = make_judge(), Tokenizer.o200k_harmony()
    agreed: Counter[str] = Counter()
    began = time.perf_counter()
    for number in range(options.conversations):
        agreed += compare(judge, tokenizer, conversation(random.Random(f"{options.seed}/{number}")))
    seconds = time.perf_counter() - began
    print(f"{agreed['conversations']} of {options.conversations} conversations agree, seed "
          f"{options.seed}, {seconds:.1f} s: {agreed['exact']} messages token for token, "
          f"{agreed['read back']} calls and results read back by the judge's strict parser, "
          f"{agreed['whole prompts']} whole prompts without calls token for token")  # fmt: skip


if __name__ == "__main__":
    main()
