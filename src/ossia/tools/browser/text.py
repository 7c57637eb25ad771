"""What reading a document gives."""

from typing import NamedTuple


class ReadText(NamedTuple):
    """Text with link marks, and where its links lead."""

    title: str
    """As it stands in the document; may be empty."""
    text: str
    """Clean."""
    links: tuple[str, ...]
    """URL of each link by its number."""
