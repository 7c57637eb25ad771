"""A tokenizer trained on the training text: byte-level BPE, one token for each digit.

Knows no ids of its own: the harmony room reads the file it writes like any other tokenizer.json.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from ossia.harmony.byte_bpe import CHAR_OF_BYTE, unspell, write_tokenizer_json
from ossia.harmony.messages import Effort
from ossia.harmony.prompt_text import developer_text, system_text
from ossia.tasks.nano.dialogues import draw_conversation, draw_date, draw_task
from ossia.tasks.task import TaskSettings

PATTERN = (
    r"\p{N}"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+(?:'\p{L}{1,2})?(?: (?=\p{N}))?"
    r"| ?[^\s\p{L}\p{N}]+(?: (?=\p{N})|[\r\n/]*)"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Pieces no token crosses: words and signs with the space before them, digits one by one. A space
before a digit goes with what stands before it, since a digit takes nothing along."""

CONTROL = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|return|>",
    "<|constrain|>",
    "<|channel|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|call|>",
    "<|endofprompt|>",
)
HEADER_WORDS = (
    "system", "developer", "user", "assistant", "tool", "analysis", "commentary", "final",
    " to", "=functions", "functions", "json", " json", " code", "python", "browser",
)  # fmt: skip
"""Words of message headers: one token each, though some never occur in the tasks of today."""
NUM_TEXTS = 12_000


def texts(seed: int) -> Iterator[str]:
    """Generate conversation texts as the trainer renders them."""
    random = np.random.default_rng([seed, 1])
    while True:
        for effort in get_args(Effort):
            date = draw_date(random) if random.random() < 0.5 else None
            settings = TaskSettings(effort=effort, date=date)
            conversation = draw_conversation(random, settings, draw_task(random, 0))
            yield system_text(conversation)
            yield developer_text(conversation)
            yield from (message.text for message in conversation.messages)


def learn_ranks(lines: Iterable[str], num_tokens: int) -> list[bytes]:
    """Bytes of each token in order of rank: the 256 single bytes, then what is often seen together.

    Raises:
        ValueError: the text is too poor for so many tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens,
        initial_alphabet=list(CHAR_OF_BYTE.values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    names = tokenizer.get_vocab()
    ranks = [unspell(name) or b"" for name in sorted(names, key=lambda name: names[name])]
    if len(ranks) != num_tokens or not all(ranks):
        raise ValueError(f"the text gives {len(ranks)} tokens; expected {num_tokens}")
    return ranks


def write_tokenizer(path: Path, vocab_size: int, seed: int) -> None:
    """Learn a vocabulary of `vocab_size` ids, the control tokens last, and write tokenizer.json."""
    lines = [*islice(texts(seed), NUM_TEXTS), *(HEADER_WORDS * (NUM_TEXTS // 4))]
    ranks = learn_ranks(lines, vocab_size - len(CONTROL))
    control = {name: len(ranks) + nth for nth, name in enumerate(CONTROL)}
    write_tokenizer_json(path, ranks, PATTERN, control)
