"""The memory of what was sampled: a client's history gets back its exact ids, and lost reasoning.

A miss is never an error: what is not known, or was edited, is rendered afresh.
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
from ossia.server.api.match_history import Generation, Slot, joined_text, restored, squeezed
from ossia.store.token_memory import TokenMemory

KEY_BYTES = 32
_FILE = "seal.key"
_SIGN_BYTES = 32
_MARK = b"ossia-seal-1\0"
_MAX_SIGNED = 1024


class ReferenceSigner:
    """Signs references, and knows its own."""

    def __init__(self, key: bytes) -> None:
        """Sign with this key.

        Args:
            key: 32 random bytes; with another key, what was signed before means nothing.
        """
        assert len(key) == KEY_BYTES, "the key has 32 bytes"
        self._key = key

    @classmethod
    def in_folder(cls, folder: Path) -> "ReferenceSigner":
        """The signer of a state folder; its key is made there at first, for this user alone."""
        path = folder / _FILE
        key = path.read_bytes() if path.is_file() else b""
        if len(key) != KEY_BYTES:
            key = secrets.token_bytes(KEY_BYTES)
            make_private_folder(folder)
            with atomic_write(path) as file:
                file.write(key)
        return cls(key)

    def sign(self, item_id: str, owner: str) -> str:
        """A text that only `verify` follows."""
        name = item_id.encode()
        return base64.urlsafe_b64encode(self._sign(name, owner) + name).decode()

    def verify(self, text: str, owner: str) -> str | None:
        """What was signed for this owner; None for everything else."""
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
    """Remembers generations, and recognises them in what clients send back."""

    def __init__(
        self,
        memory: TokenMemory,
        signer: ReferenceSigner,
        *,
        model: Callable[[], str],
        on_hits: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Remember in `memory`.

        Args:
            memory: where generations are kept.
            signer: for `encrypted_content`.
            model: what the ids mean now; those of another model are never used.
            on_hits: told how many messages of a history were recognised.
        """
        self._memory = memory
        self._signer = signer
        self._model = model
        self._on_hits = on_hits

    def encrypted_content(self, item_id: str, owner: str) -> str:
        """What goes into the `encrypted_content` of a reasoning item."""
        return self._signer.sign(item_id, owner)

    async def remember(
        self,
        owner: str,
        entries: Sequence[HistoryMessage],
        *,
        durable: bool,
        response_id: str | None = None,
    ) -> None:
        """Keep one generation; a store that cannot is a miss later on.

        Args:
            owner: who alone gets it back.
            entries: the messages as they ended, in order, with their ids.
            durable: on disk; else in memory for a while.
            response_id: the stored response with which it is removed.
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
        """The same as `remember`, not waited for; the future may hold a StoreError."""
        generation = Generation(self._model(), tuple(entries))
        name = token_hex(16)
        values = {f"generation:{name}": generation.to_json()} if entries else {}
        for key, slot in _keys(generation).items():
            values[key] = f"{name}:{slot}"
        return self._memory.remember(owner, values, durable=durable, response_id=response_id)

    async def restored(self, owner: str, entries: Sequence[HistoryMessage]) -> tuple[Message, ...]:
        """A client's history with the exact ids of all that is ours.

        Reasoning that a client left out before a call is put back (harmony drops that of finished
        turns). Reasoning that is neither readable nor known is left out.
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
        """Calls made here, by their ids; what is not known is absent."""
        names = {f"call:{call_id}": call_id for call_id in call_ids}
        known = await self._recall(owner, names)
        return {names[name]: slot.entry for name, slot in known.items()}

    async def items(self, owner: str, item_ids: Iterable[str]) -> dict[str, HistoryMessage]:
        """Items written here, by their ids; what is not known is absent."""
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
        """Keep that a call waits for a yes, of which the item is known.

        Args:
            owner: who alone may answer.
            item_id: of the item that asks.
            session: the conversation whose tools the call goes to.
            durable: on disk; else in memory for a while.
            response_id: the stored response with which it is removed.
        """
        values = {f"waits:{item_id}": session}
        return self._memory.remember(owner, values, durable=durable, response_id=response_id)

    async def waiting(self, owner: str, item_id: str) -> tuple[HistoryMessage, str] | None:
        """A call that waits for a yes, and its session; None if there is none, or no more.

        Raises:
            StoreError: the store cannot be read.
        """
        key = f"waits:{item_id}"
        found = await asyncio.wrap_future(self._memory.recall(owner, [key]))
        known = await self.items(owner, [item_id])
        return (known[item_id], found[key]) if key in found and item_id in known else None

    async def take(self, owner: str, item_id: str) -> bool:
        """Let a call wait no longer; False: it does not, so that an answer counts once.

        Raises:
            StoreError: the store cannot be written.
        """
        return await asyncio.wrap_future(self._memory.take(owner, f"waits:{item_id}")) is not None

    def _names(self, owner: str, one: HistoryMessage) -> list[str]:
        """What a message may be known by, the surest first."""
        if one.message.role != "assistant":
            return []
        verified = self._signer.verify(one.sealed, owner) if one.sealed else None
        names = [f"item:{item_id}" for item_id in (verified, one.item_id) if item_id]
        if one.is_call:
            return [*names, f"call:{one.call_id}"] if one.call_id else names
        if one.message.channel == "final":
            names.append(_text_key(one.message.text))
        return names

    def _as_known(self, owner: str, one: HistoryMessage, slot: Slot | None) -> HistoryMessage:
        """Sealed reasoning counts as ours, whatever text came with it."""
        if one.sealed is None or slot is None or self._signer.verify(one.sealed, owner) is None:
            return one
        return slot.entry

    async def _recall(self, owner: str, names: Iterable[str]) -> dict[str, Slot]:
        """The messages behind these names, each in its generation."""
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
    """What each message of a generation will be known by, and its place in it."""
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
    return f"text:{hashlib.sha256(squeezed(text).encode('utf-8', 'surrogatepass')).hexdigest()}"


def _ends_generation(one: HistoryMessage) -> bool:
    is_theirs = one.is_call and one.result is None
    return is_theirs or one.message.role != "assistant" or one.message.channel == "final"
