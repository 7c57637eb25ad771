"""The smallest real tokenizer: one token a byte and the control tokens, for little models."""

from pathlib import Path

from ossia.harmony.byte_bpe import PATTERN, write_tokenizer_json
from ossia.harmony.tokenizer import ControlIds, Tokenizer

CONTROL = [f"<|{name.rstrip('_')}|>" for name in ControlIds._fields]
NUM_IDS = 256 + len(CONTROL)


def write_byte_tokenizer(path: Path) -> Tokenizer:
    """Write a tokenizer.json and read it back; ids 0 to 255 are the bytes."""
    control = {name: 256 + place for place, name in enumerate(CONTROL)}
    write_tokenizer_json(path, [bytes([each]) for each in range(256)], PATTERN, control)
    return Tokenizer.from_file(path)
