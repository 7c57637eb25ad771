"""Restores exact token ids, and omitted reasoning, in the history that a client sends back.

A miss is never an error: unknown or edited messages are rendered and tokenized again.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from secrets import token_hex

from ossia.errors import StoreError
from ossia.files import atomic_write, make_private_folder
from ossia.harmony.messages import Message
from ossia.server.api.history import HistoryMessage, paired
from ossia.server.api.match_history import (
    Generation,
    Slot,
    joined_text,
    restored,
    strip_white_space,
)
from ossia.store.token_memory import TokenMemory

KEY_BYTES = 32
_FILE = "seal.key"
_SIGN_BYTES = 32
_MARK = b"ossia-seal-1\0"
_MAX_SIGNED = 1024


class ReferenceSigner:
    """Signs references to items and verifies them (HMAC)."""

    def __init__(self, key: bytes) -> None:
        """Set the key.

        Args:
            key: 32 random bytes; a new key invalidates every earlier signature.
        """
        assert len(key) == KEY_BYTES, "the key has 32 bytes"
        self._key = key

    @classmethod
    def in_folder(cls, folder: Path) -> "ReferenceSigner":
        """Load the key of a state folder, or create it with access for this user alone."""
        path = folder / _FILE
        key = path.read_bytes() if path.is_file() else b""
        if len(key) != KEY_BYTES:
            key = secrets.token_bytes(KEY_BYTES)
            make_private_folder(folder)
            with atomic_write(path) as file:
                file.write(key)
        return cls(key)

    def sign(self, item_id: str, owner: str) -> str:
        """Return a signed reference to an item of an owner."""
        name = item_id.encode()
        return base64.urlsafe_b64encode(self._sign(name, owner) + name).decode()

    def verify(self, text: str, owner: str) -> str | None:
        """Return the item's id if the text was signed for this owner, else None."""
        if len(text) > _MAX_SIGNED:
            return None
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return None
        sign, name = raw[:_SIGN_BYTES], raw[_SIGN_BYTES:]
        return name.decode() if hmac.compare_digest(sign, self._sign(name, owner)) else None

    def _sign(self, name: bytes, owner: str) -> bytes:
        signed = _MARK + owner.encode() + b"\0" + name
        return hmac.new(self._key, signed, hashlib.sha256).digest()


class ExactTokens:
    """Stores generations, and matches what clients send back against them."""

    def __init__(
        self,
        memory: TokenMemory,
        signer: ReferenceSigner,
        *,
        model: Callable[[], str],
        on_hits: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Store generations in `memory`.

        Args:
            memory: the store of generations.
            signer: for `encrypted_content`.
            model: returns the fingerprint of the model; ids of another model are never used.
            on_hits: called with the number of messages of a history that were restored.
        """
        self._memory = memory
        self._signer = signer
        self._model = model
        self._on_hits = on_hits

    def encrypted_content(self, item_id: str, owner: str) -> str:
        """Return the `encrypted_content` of a reasoning item."""
        return self._signer.sign(item_id, owner)

    async def remember(
        self,
        owner: str,
        entries: Sequence[HistoryMessage],
        *,
        durable: bool,
        response_id: str | None = None,
    ) -> None:
        """Store one generation; if the store fails, a later lookup misses.

        Args:
            owner: the only one who can look it up.
            entries: the finished messages in order, with their ids.
            durable: store on disk; otherwise in memory, with expiry.
            response_id: the stored response whose deletion removes it.
        """
        try:
            stored = self.keep(owner, entries, durable=durable, response_id=response_id)
            await asyncio.wrap_future(stored)
        except StoreError:
            return

    def keep(
        self,
        owner: str,
        entries: Sequence[HistoryMessage],
        *,
        durable: bool,
        response_id: str | None = None,
    ) -> "Future[None]":
        """Like `remember`, without waiting; the future may raise StoreError."""
        generation = Generation(self._model(), tuple(entries))
        name = token_hex(16)
        values = {f"generation:{name}": generation.to_json()} if entries else {}
        for key, slot in _keys(generation).items():
            values[key] = f"{name}:{slot}"
        return self._memory.remember(owner, values, durable=durable, response_id=response_id)

    async def restored(self, owner: str, entries: Sequence[HistoryMessage]) -> tuple[Message, ...]:
        """Return a client's history with the exact ids of every message generated here.

        Reasoning that a client omitted before a call is restored (harmony drops that of finished
        turns). Reasoning that is neither readable nor stored is dropped.
        """
        ordered = paired(entries)
        names = {at: self._names(owner, one) for at, one in enumerate(ordered)}
        known = await self._recall(owner, {name for some in names.values() for name in some})
        slots = [
            next((known[name] for name in names[at] if name in known), None)
            for at in range(len(ordered))
        ]
        ordered = [self._as_known(owner, *pair) for pair in zip(ordered, slots, strict=True)]
        messages: list[Message] = []
        begin = 0
        for at, one in enumerate(ordered):
            is_last = at + 1 == len(ordered) or ordered[at + 1].message.role != "assistant"
            if is_last or _ends_generation(one):
                messages += restored(ordered[begin : at + 1], slots[begin : at + 1])
                begin = at + 1
        self._on_hits(sum(message.sampled_ids is not None for message in messages))
        return tuple(messages)

    async def calls(self, owner: str, call_ids: Iterable[str]) -> dict[str, HistoryMessage]:
        """Look up calls made here, by id; unknown ids are absent."""
        names = {f"call:{call_id}": call_id for call_id in call_ids}
        known = await self._recall(owner, names)
        return {names[name]: slot.entry for name, slot in known.items()}

    async def items(self, owner: str, item_ids: Iterable[str]) -> dict[str, HistoryMessage]:
        """Look up items written here, by id; unknown ids are absent."""
        names = {f"item:{item_id}": item_id for item_id in item_ids}
        known = await self._recall(owner, names)
        return {names[name]: slot.entry for name, slot in known.items()}

    def wait(
        self,
        owner: str,
        item_id: str,
        session: str,
        *,
        durable: bool,
        response_id: str | None = None,
    ) -> "Future[None]":
        """Store that a call, whose item is stored, waits for approval.

        Args:
            owner: the only one who may approve it.
            item_id: of the approval request.
            session: the conversation whose tools run the call.
            durable: store on disk; otherwise in memory, with expiry.
            response_id: the stored response whose deletion removes it.
        """
        values = {f"waits:{item_id}": session}
        return self._memory.remember(owner, values, durable=durable, response_id=response_id)

    async def waiting(self, owner: str, item_id: str) -> tuple[HistoryMessage, str] | None:
        """Return a call that waits for approval, and its session; None if none does.

        Raises:
            StoreError: the store cannot be read.
        """
        key = f"waits:{item_id}"
        found = await asyncio.wrap_future(self._memory.recall(owner, [key]))
        known = await self.items(owner, [item_id])
        return (known[item_id], found[key]) if key in found and item_id in known else None

    async def take(self, owner: str, item_id: str) -> bool:
        """End a call's wait; False if it was not waiting, so that one approval counts once.

        Raises:
            StoreError: the store cannot be written.
        """
        return await asyncio.wrap_future(self._memory.take(owner, f"waits:{item_id}")) is not None

    def _names(self, owner: str, one: HistoryMessage) -> list[str]:
        """Return the lookup keys of a message, the most specific first."""
        if one.message.role != "assistant":
            return []
        verified = (
            self._signer.verify(one.encrypted_content, owner) if one.encrypted_content else None
        )
        names = [f"item:{item_id}" for item_id in (verified, one.item_id) if item_id]
        if one.is_call:
            return [*names, f"call:{one.call_id}"] if one.call_id else names
        if one.message.channel == "final":
            names.append(_text_key(one.message.text))
        return names

    def _as_known(self, owner: str, one: HistoryMessage, slot: Slot | None) -> HistoryMessage:
        """Match reasoning by its `encrypted_content`, whatever text came with it."""
        if (
            one.encrypted_content is None
            or slot is None
            or self._signer.verify(one.encrypted_content, owner) is None
        ):
            return one
        return slot.entry

    async def _recall(self, owner: str, names: Iterable[str]) -> dict[str, Slot]:
        """Look up messages by these keys, each in its generation."""
        try:
            places = await asyncio.wrap_future(self._memory.recall(owner, names))
            wanted = {f"generation:{place.partition(':')[0]}" for place in places.values()}
            texts = await asyncio.wrap_future(self._memory.recall(owner, wanted))
        except StoreError:
            return {}
        return _slots(places, texts, self._model())


def _slots(places: Mapping[str, str], texts: Mapping[str, str], model: str) -> dict[str, Slot]:
    generations = {name: Generation.from_json(text) for name, text in texts.items()}
    found = {}
    for key, place in places.items():
        name, _, slot = place.partition(":")
        generation = generations.get(f"generation:{name}")
        if generation is not None and generation.model == model:
            found[key] = Slot(generation, int(slot))
    return found


def _keys(generation: Generation) -> dict[str, int]:
    """Map the lookup keys of a generation's messages to their positions in it."""
    keys: dict[str, int] = {}
    for at, one in enumerate(generation.entries):
        if one.item_id:
            keys[f"item:{one.item_id}"] = at
        if one.call_id:
            keys[f"call:{one.call_id}"] = at
        if one.message.channel == "final":
            keys[_text_key(joined_text(generation))] = at
            keys[_text_key(one.message.text)] = at
            if one.shown_text is not None:
                keys[_text_key(one.shown_text)] = at
    return keys


def _text_key(text: str) -> str:
    stripped = strip_white_space(text).encode("utf-8", "surrogatepass")
    return f"text:{hashlib.sha256(stripped).hexdigest()}"


def _ends_generation(one: HistoryMessage) -> bool:
    is_theirs = one.is_call and one.result is None
    return is_theirs or one.message.role != "assistant" or one.message.channel == "final"
