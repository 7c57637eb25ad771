"""The result of a cell for the model, and its files."""

import base64
import binascii
import mimetypes
import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from ossia.tools.python.sandboxes import MIB, Limits
from ossia.tools.tool import Attachment, ToolResult

LOST = "The interpreter was restarted; variables are lost."
MAX_NAMED = 20
"""Most files that a result names."""
MAX_IMAGE_BYTES = 256 << 10
"""Size limit of a picture in the outputs, since every stored response holds it."""
MAX_IMAGES = 4
_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"
}  # fmt: skip
"""Magic bytes of pictures: names prove nothing, and SVG can contain programs."""


def result(answer: Mapping[str, Any], limits: Limits, *, seconds: float, lost: bool) -> ToolResult:
    """Convert the outcome of a cell to a tool result.

    Args:
        answer: what the launcher says of it.
        limits: those it ran under.
        seconds: its time limit.
        lost: whether variables of earlier cells are gone, which comes first then.
    """
    ended = answer["ended"]
    lines = [LOST] if lost else []
    printed = answer["text"].strip("\n")
    because = _why(ended, limits, seconds, answer["status"])
    if printed:
        lines.append(printed)
    elif not because:
        lines.append("(nothing was printed)")
    if because:
        state = "Variables are kept." if answer["is_alive"] else "Variables are lost."
        lines.append(f"[{because} {state}]")
    if answer["left"]:
        plural = "process" if answer["left"] == 1 else "processes"
        lines.append(f"[{answer['left']} {plural} that the cell left running: ended.]")
    files, attachments = _files(answer["files"])
    if files:
        lines.append(f"[Files written: {'; '.join(files)}]")
    return ToolResult(
        text="\n".join(lines),
        is_error=ended != "finished",
        attachments=attachments,
        details={
            "outputs": [{"type": "logs", "logs": printed}, *_images(attachments)],
            "code": ended,
        },
    )


def _images(attachments: Sequence[Attachment]) -> list[dict[str, str]]:
    """Encode small pictures as OpenAI's clients show them."""
    found = []
    for file in attachments:
        kinds = (kind for mark, kind in _PICTURES.items() if file.content.startswith(mark))
        kind = next(kinds, None)
        if kind is not None and len(file.content) <= MAX_IMAGE_BYTES:
            encoded = base64.b64encode(file.content).decode()
            found.append({"type": "image", "url": f"data:{kind};base64,{encoded}"})
    return found[:MAX_IMAGES]


def _why(ended: str, limits: Limits, seconds: float, status: int | None) -> str:
    why = {
        "time": f"The cell was stopped after {seconds:g} seconds.",
        "cpu": f"The cell was stopped after {limits.cpu_seconds:g} seconds of processor time.",
        "memory": f"The cell used more than {limits.rss_bytes // MIB} MiB of memory.",
        "processes": f"The cell had more than {limits.processes} processes.",
        "files": f"The cell made more than {limits.files} files.",
        "disk": f"The cell's files took more than {limits.data_bytes // MIB} MiB.",
        "output": f"The cell was stopped: it wrote more than {limits.output_bytes >> 10} KiB.",
        "cancelled": "The cell was stopped: its answer is not waited for any more.",
        "died": f"The interpreter ended {_status(status)}.",
        "breach": "The interpreter was ended: what it answered was no result.",
    }
    return why.get(ended, "")


def _status(status: int | None) -> str:
    if status is None:
        return "without a word"
    number = -status if status < 0 else status - 128
    if number in signal.valid_signals():
        return f"by signal {number}, {signal.strsignal(number)}"
    return f"with exit status {status}"


def _files(found: Sequence[Mapping[str, Any]]) -> tuple[list[str], tuple[Attachment, ...]]:
    """Names with sizes, and contents; what is of the wrong form is passed over."""
    named: list[str] = []
    attachments: dict[str, Attachment] = {}
    for each in found:
        path, size, content = (each.get(key) for key in ("name", "size", "content"))
        if not isinstance(path, str) or not isinstance(size, int):
            continue
        shown = re.sub(r"[^\w .()/+=@-]", "_", path)[:200]
        named.append(f"/mnt/data/{shown} ({size} bytes)")
        if isinstance(content, str):
            try:
                plain = base64.b64decode(content, validate=True)
            except binascii.Error:
                continue
            name = _one_name(shown, attachments)
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            attachments[name] = Attachment(name=name, media_type=kind, content=plain)
    if len(named) > MAX_NAMED:
        named[MAX_NAMED:] = [f"{len(named) - MAX_NAMED} more"]
    return named, tuple(attachments.values())


def _one_name(path: str, taken: Mapping[str, object]) -> str:
    """The last part of a path, without leading dots, made unique."""
    name = path.rpartition("/")[2].lstrip(". ") or "file"
    number, stem = 2, name
    while name in taken:
        name = f"{number}-{stem}"
        number += 1
    return name
