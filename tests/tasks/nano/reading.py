"""What tests read out of conversations, without the trainer's own words for it."""

import re


def question(conversation):
    """The last thing the user says."""
    return [each.text for each in conversation.messages if each.role == "user"][-1]


def reasoning(conversation):
    """All bare reasoning, message after message."""
    return [
        each.text
        for each in conversation.messages
        if each.channel == "analysis" and each.role == "assistant" and each.recipient is None
    ]


def answer(conversation):
    """The last answer."""
    return conversation.messages[-1].text


def calls(conversation):
    """Every call, with the result behind it."""
    pairs = zip(conversation.messages, conversation.messages[1:], strict=False)
    return [(call, result) for call, result in pairs if result.role == "tool"]


def terms(text):
    """The value of a chain of sums and differences."""
    return sum(int(term.replace(" ", "")) for term in re.findall(r"[+-]? ?\d+", text))
