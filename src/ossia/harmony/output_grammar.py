"""The grammar of the model's output: masks illegal ids and parses sampled ones.

Knows no logits and no grammar of contents.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ossia.harmony.output_rules import (
    CALL_CHANNELS,
    CHANNELS,
    CONSTRAIN,
    TYPES_OF_CALL,
    TYPES_OF_FINAL,
    ContentDelta,
    HarmonyEvent,
    MessageEnded,
    MessageStarted,
    OutputRules,
    Terminator,
    may_be_empty,
    terminator_of,
)
from ossia.harmony.text_decoder import decode_more, decode_rest
from ossia.harmony.tokenizer import Tokenizer

__all__ = [
    "AllowedTokens", "ContentDelta", "GrammarState", "HarmonyEvent", "MessageEnded",
    "MessageStarted", "OutputGrammar", "OutputRules", "Phase",
]  # fmt: skip


class IdTrie:
    """Names by their id sequences; nodes are small integers, the root is 0."""

    def __init__(self, sequences: Mapping[str, Sequence[int]]) -> None:
        """Insert every name; raises ValueError for an empty sequence."""
        self.children: list[dict[int, int]] = [{}]
        self.complete: dict[int, str] = {}
        """Name by the node at which it ends; another may go on from there."""
        for name, ids in sequences.items():
            if not ids:
                raise ValueError(f"{name!r} has no ids")
            self.complete[self._insert(ids)] = name

    def _insert(self, ids: Sequence[int]) -> int:
        node = 0
        for token_id in ids:
            if token_id not in self.children[node]:
                self.children[node][token_id] = len(self.children)
                self.children.append({})
            node = self.children[node][token_id]
        return node

    def common_prefix(self) -> tuple[int, ...]:
        """The ids that every name begins with."""
        prefix: list[int] = []
        node = 0
        while node not in self.complete and len(self.children[node]) == 1:
            ((token_id, node),) = self.children[node].items()
            prefix.append(token_id)
        return tuple(prefix)


class Phase(IntEnum):
    """The part of a message that the next id belongs to."""

    HEAD = 0  # after the role
    NAME = 1  # in a channel's name; complete names are NAMED
    TO = 2  # in a recipient
    TYPE = 3  # in a content type
    CONTENT = 4
    START = 5  # a message has ended, another is due
    ROLE = 6
    DONE = 7


class GrammarState(NamedTuple):
    """An immutable state of the automaton, to which one can return."""

    phase: Phase
    node: int = 0
    """The node in the trie of the phase."""
    channel: str | None = None
    recipient: str | None = None
    may_think: bool = False
    """Whether later messages may be bare analysis."""
    may_be_thought: bool = False
    """The same for the current message, decided when its channel began."""
    num_closed: int = 0
    has_content: bool = False
    pending: bytes = b""
    """Bytes of an unfinished character, at most three."""


class AllowedTokens:
    """The legal ids in a state."""

    __slots__ = ("_mask_V", "_vocab_size", "ids", "is_content")

    def __init__(
        self, ids: tuple[int, ...], *, vocab_size: int, mask_V: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self.ids = ids
        """Every legal id; in content the terminator alone, if legal, beside all ordinary text."""
        self.is_content = mask_V is not None
        """Whether ordinary text is legal."""
        self._mask_V = mask_V
        self._vocab_size = vocab_size

    @property
    def only(self) -> int | None:
        """The single legal id, where there is just one: it need not be sampled."""
        return self.ids[0] if len(self.ids) == 1 and not self.is_content else None

    def mask(self) -> npt.NDArray[np.bool_]:
        """Mark the legal ids, shape [V]; shared and read-only in content, made anew in headers."""
        if self._mask_V is not None:
            return self._mask_V
        mask_V = np.zeros(self._vocab_size, dtype=np.bool_)
        mask_V[list(self.ids)] = True
        return mask_V


_Edges = Mapping[int, tuple[GrammarState, tuple[HarmonyEvent, ...]]]


class OutputGrammar:
    """The automaton of one request."""

    start: GrammarState
    """The initial state, after START assistant."""

    def __init__(self, tokenizer: Tokenizer, rules: OutputRules, *, vocab_size: int) -> None:
        """Lay out the tries; `vocab_size` is the number of rows of the model's table, in ids.

        Raises:
            ValueError: the model's table has no row for a control token.
        """
        if (highest := max(tokenizer.ids)) >= vocab_size:
            raise ValueError(f"control id {highest} is outside the model's {vocab_size} rows")
        self._tokenizer = tokenizer
        self._ids = tokenizer.ids
        self._rules = rules
        self._vocab_size = vocab_size
        self._terminators: Mapping[Terminator, int] = {
            "end": self._ids.end,
            "return": self._ids.return_,
            "call": self._ids.call,
        }
        self._role = IdTrie({"assistant": tokenizer.encode("assistant")})
        self._recipients = IdTrie(
            {name: tokenizer.encode(f" to={name}") for name in rules.callable}
        )
        self._channels: dict[tuple[str, ...], IdTrie] = {}
        self._types: dict[tuple[str, ...], IdTrie] = {}
        self._edges_of: dict[GrammarState, _Edges] = {}
        self._legal_of: dict[GrammarState, AllowedTokens] = {}
        self._content_masks: dict[int | None, AllowedTokens] = {}
        self.start = GrammarState(Phase.HEAD, may_think=rules.allow_analysis)

    def legal(self, state: GrammarState) -> AllowedTokens:
        """Return the legal ids; none only when done."""
        if state.phase is Phase.CONTENT:
            return self._content_tokens(self._terminator(state))
        if state not in self._legal_of:
            ids = tuple(self._edges(state))
            self._legal_of[state] = AllowedTokens(ids, vocab_size=self._vocab_size)
        return self._legal_of[state]

    def step(
        self, state: GrammarState, token_id: int
    ) -> tuple[GrammarState, tuple[HarmonyEvent, ...]]:
        """Advance by one id; return the next state and the parsed events.

        Raises:
            ValueError: the id is not legal here, which the mask should have prevented.
        """
        if state.phase is Phase.CONTENT:
            return self._step_content(state, token_id)
        taken = self._edges(state).get(token_id)
        if taken is None:
            raise ValueError(f"id {token_id} is not legal in {state}")
        return taken

    def forced(self, state: GrammarState) -> tuple[int, ...]:
        """Return the next ids as long as each is the only legal one."""
        run: list[int] = []
        while (token_id := self.legal(state).only) is not None:
            run.append(token_id)
            state, _ = self.step(state, token_id)
        return tuple(run)

    def close_analysis(self, state: GrammarState) -> tuple[int, ...]:
        """Return the ids that end reasoning and open the answer, or the call if one is required.

        END alone is not enough: the model would reason again. Empty outside reasoning.
        """
        if not self.in_analysis(state):
            return ()
        ids = self._ids
        head = (ids.end, ids.start, *self._tokenizer.encode("assistant"), ids.channel)
        if self._rules.may_answer:
            return (*head, *self._tokenizer.encode("final"), ids.message)
        called = self._recipients.common_prefix()
        return (*head, *self._tokenizer.encode("commentary"), *called)

    def without_analysis(self, state: GrammarState) -> GrammarState:
        """The same state, but further reasoning messages are illegal."""
        return state._replace(may_think=False)

    def cut(self, state: GrammarState) -> tuple[HarmonyEvent, ...]:
        """Return the events of ending here: open content is closed, a header is dropped."""
        if state.phase is not Phase.CONTENT:
            return ()
        return (*_rest(state), MessageEnded("cut"))

    def is_done(self, state: GrammarState) -> bool:
        """Whether the generation has ended with a call or an answer."""
        return state.phase is Phase.DONE

    def in_analysis(self, state: GrammarState) -> bool:
        """Whether the next id is reasoning content."""
        return (
            state.phase is Phase.CONTENT and state.channel == "analysis" and state.recipient is None
        )

    def _terminator(self, state: GrammarState) -> int | None:
        """The id that may end this content now."""
        assert state.channel is not None
        if not state.has_content and not may_be_empty(state.channel, state.recipient):
            return None
        return self._terminators[terminator_of(state.channel, state.recipient)]

    def _content_tokens(self, terminator: int | None) -> AllowedTokens:
        if terminator not in self._content_masks:
            mask_V = self._tokenizer.text_mask(self._vocab_size, also=terminator)
            ids = () if terminator is None else (terminator,)
            self._content_masks[terminator] = AllowedTokens(
                ids, vocab_size=self._vocab_size, mask_V=mask_V
            )
        return self._content_masks[terminator]

    def _step_content(
        self, state: GrammarState, token_id: int
    ) -> tuple[GrammarState, tuple[HarmonyEvent, ...]]:
        if self._tokenizer.is_text(token_id) and token_id < self._vocab_size:
            text, pending = decode_more(state.pending, self._tokenizer.bytes_of(token_id))
            if not state.has_content or pending != state.pending:
                state = state._replace(has_content=True, pending=pending)
            return state, (ContentDelta(text),) if text else ()
        if token_id != self._terminator(state):
            raise ValueError(f"id {token_id} is not legal in {state}")
        assert state.channel is not None
        kind = terminator_of(state.channel, state.recipient)
        after = GrammarState(
            Phase.START if kind == "end" else Phase.DONE,
            may_think=state.may_think,
            num_closed=state.num_closed + 1,
        )
        return after, (*_rest(state), MessageEnded(kind))

    def _edges(self, state: GrammarState) -> _Edges:
        """Every legal id of a header with its next state; cached per state."""
        if state not in self._edges_of:
            self._edges_of[state] = self._find_edges(state)
        return self._edges_of[state]

    def _find_edges(self, state: GrammarState) -> _Edges:
        match state.phase:
            case Phase.HEAD:
                return {**self._to_channel(state), **self._along_recipients(state, 0)}
            case Phase.NAME:
                return self._after_name(state)
            case Phase.TO:
                return {
                    **self._along_recipients(state, state.node),
                    **self._after_recipient(state),
                }
            case Phase.TYPE:
                trie = self._type_trie(state)
                edges = self._along(trie, state, state.node)
                return (
                    {**edges, **self._to_content(state)} if state.node in trie.complete else edges
                )
            case Phase.START:
                return {self._ids.start: (state._replace(phase=Phase.ROLE), ())}
            case Phase.ROLE:
                return self._along_role(state)
        return {}  # done

    def _along(self, trie: IdTrie, state: GrammarState, node: int) -> _Edges:
        """The edges inside one trie."""
        return {
            token_id: (state._replace(node=child), ())
            for token_id, child in trie.children[node].items()
        }

    def _along_role(self, state: GrammarState) -> _Edges:
        head = state._replace(phase=Phase.HEAD, node=0)
        return {
            token_id: (head if child in self._role.complete else state._replace(node=child), ())
            for token_id, child in self._role.children[state.node].items()
        }

    def _along_recipients(self, state: GrammarState, node: int) -> _Edges:
        """The edges inside the trie of recipients; the state records each complete name."""
        return {
            token_id: (
                state._replace(
                    phase=Phase.TO, node=child, recipient=self._recipients.complete.get(child)
                ),
                (),
            )
            for token_id, child in self._recipients.children[node].items()
        }

    def _after_recipient(self, state: GrammarState) -> _Edges:
        if state.recipient is None:
            return {}
        return self._to_channel(state) if state.channel is None else self._after_header(state)

    def _to_channel(self, state: GrammarState) -> _Edges:
        may_be_thought = state.may_think and self._may_go_on(state)
        named = state._replace(phase=Phase.NAME, node=0, may_be_thought=may_be_thought)
        return {self._ids.channel: (named, ())}

    def _may_go_on(self, state: GrammarState) -> bool:
        """Whether another message may follow this one."""
        return state.num_closed < self._rules.max_messages

    def _channel_names(self, state: GrammarState) -> tuple[str, ...]:
        """The legal channels of this message."""
        if state.recipient is not None:
            return CALL_CHANNELS
        calls = bool(self._rules.callable)
        names = (calls or state.may_be_thought, calls, self._rules.may_answer)
        return tuple(name for name, is_in in zip(CHANNELS, names, strict=True) if is_in)

    def _after_name(self, state: GrammarState) -> _Edges:
        if state.channel is None:
            trie = self._channel_trie(self._channel_names(state))
            return {
                token_id: (state._replace(node=child, channel=trie.complete.get(child)), ())
                for token_id, child in trie.children[state.node].items()
            }
        edges = self._after_header(state)
        if state.recipient is None and state.channel != "final":
            edges = {**edges, **self._along_recipients(state, 0)}
        return edges

    def _after_header(self, state: GrammarState) -> _Edges:
        """The edges after a complete header: to a content type, or the content."""
        typed = state._replace(phase=Phase.TYPE)
        edges = dict(self._along(self._type_trie(state), typed, 0))
        if self._may_open(state):
            edges.update(self._to_content(state))
        return edges

    def _may_open(self, state: GrammarState) -> bool:
        """Whether the header may end here."""
        if state.recipient is not None or state.channel == "final":
            return True
        if state.channel == "analysis":
            return state.may_be_thought
        return bool(self._rules.callable) and self._may_go_on(state)

    def _to_content(self, state: GrammarState) -> _Edges:
        assert state.channel is not None
        content = state._replace(phase=Phase.CONTENT, node=0)
        return {self._ids.message: (content, (MessageStarted(state.channel, state.recipient),))}

    def _channel_trie(self, names: tuple[str, ...]) -> IdTrie:
        if names not in self._channels:
            self._channels[names] = IdTrie({n: self._tokenizer.encode(n) for n in names})
        return self._channels[names]

    def _type_trie(self, state: GrammarState) -> IdTrie:
        if state.recipient is not None:
            types = TYPES_OF_CALL[self._rules.recipients[state.recipient]]
        else:
            types = TYPES_OF_FINAL[self._rules.final_kind] if state.channel == "final" else ()
        if types not in self._types:
            self._types[types] = IdTrie({text: self._spelt(text) for text in types})
        return self._types[types]

    def _spelt(self, content_type: str) -> list[int]:
        """A content type as ids, its marker as the control token."""
        before, marker, after = content_type.partition(CONSTRAIN)
        middle = [self._ids.constrain] if marker else []
        return [*self._tokenizer.encode(before), *middle, *self._tokenizer.encode(after)]


def _rest(state: GrammarState) -> tuple[HarmonyEvent, ...]:
    text = decode_rest(state.pending)
    return (ContentDelta(text),) if text else ()
