"""Which vocabulary a checkpoint speaks, and what its ids spell. Knows no model."""

from ossia.checkpoint.folder import Checkpoint
from ossia.harmony.o200k import MODEL_ROWS
from ossia.harmony.vocabulary import Vocabulary


def vocabulary_of(checkpoint: Checkpoint) -> Vocabulary | None:
    """The folder's own, or the one inside the package where the table has its size; else None."""
    if checkpoint.tokenizer_path is not None:
        return Vocabulary.from_file(checkpoint.tokenizer_path)
    is_published = checkpoint.config.vocab_size == MODEL_ROWS
    return Vocabulary.o200k_harmony() if is_published else None


def token_bytes(vocabulary: Vocabulary | None) -> list[bytes | None]:
    """What each id spells; None for control ids."""
    assert vocabulary is not None, "without a vocabulary no turn is opened"
    return [
        vocabulary.bytes_of(each) if vocabulary.is_text(each) else None
        for each in range(vocabulary.size)
    ]
