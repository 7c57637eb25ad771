"""`LLM` assembles checkpoint, backend, model, engine and tokenizer."""

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ossia.chat.completion import (
    Completion,
    complete,
    end_token_ids,
    meaningful_ids,
)
from ossia.chat.constraint import OutputConstraint, compile_grammars
from ossia.chat.events import Event, Reply, collect
from ossia.chat.messages import ChatMessage, to_answer_schema, to_conversation
from ossia.chat.output_parser import (
    CompletionEvent,
    CompletionParser,
    OutputParser,
    StopFinder,
    TokenParser,
    UsageTracker,
    parse_tokens,
)
from ossia.chat.request import RawRequest, TurnRequest
from ossia.checkpoint import open_checkpoint
from ossia.checkpoint.find import find_model
from ossia.engine.engine import Engine, EngineLoad
from ossia.engine.options import EngineOptions, LoadOptions, resolve
from ossia.engine.request import (
    Constraint,
    EngineRequest,
    GenerationRequest,
    SamplingParams,
    Unconstrained,
)
from ossia.engine.service import EngineService, OnToken, Submission
from ossia.errors import ContextOverflow, RequestError
from ossia.grammar.content import GrammarCompiler
from ossia.harmony.messages import Conversation, Effort, FunctionTool
from ossia.harmony.output_grammar import OutputGrammar
from ossia.harmony.render import num_instruction_tokens, render_prompt
from ossia.harmony.tokenizer import Tokenizer
from ossia.model.kv_cache import PAGE_TOKENS
from ossia.model.loading import Progress, load_weights
from ossia.model.logits import compute_logits
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.select import OpsOptions, select_ops

if TYPE_CHECKING:
    from ossia.chat.sync_tools import Function, ToolArgument, Tools
    from ossia.tools.sessions import ToolSource

AnyEvent = TypeVar("AnyEvent", covariant=True)


class ChatStream(Iterator[AnyEvent]):
    """The events of one turn. Closing or dropping it early cancels the turn."""

    def __init__(self, events: Iterator[AnyEvent], stop: Callable[[], None], llm: "LLM") -> None:
        self._events = events
        self._stop = stop
        self._llm = llm  # keeps the model open while the stream is read

    def __next__(self) -> AnyEvent:
        """Wait for the next event; the last one is `Finished`."""
        try:
            return next(self._events)
        except BaseException:  # also at the end: after a stop string the engine still runs
            self._stop()
            raise

    def close(self) -> None:
        """Cancel the turn."""
        self._stop()


@dataclass(frozen=True, slots=True)
class PreparedRequest(Generic[AnyEvent]):
    """A request prepared for the engine, and the parser of its tokens."""

    request: EngineRequest
    parser: TokenParser[AnyEvent]


class LLM:
    """A gpt-oss model, loaded: chat with tools, raw continuation, logits."""

    def __init__(
        self,
        model: str = "nano",
        *,
        backend: str = "auto",
        ops: OpsOptions | None = None,
        engine: EngineOptions | None = None,
        prepared: str | Path | None = "auto",
        progress: Progress = lambda phase, share: None,
    ) -> None:
        """Load a model.

        Args:
            model: `nano`, a folder, or a hub name that was downloaded before.
            backend: one of `ops.select.BACKENDS`; auto: the fastest available.
            ops: threads, instruction set and dtype of the KV cache.
            engine: context length, number of concurrent requests.
            prepared: folder for the weights in the backend's layout, written when a large model is
                first loaded. auto: the user's cache; None: prepared in memory each time.
            progress: called with phase and share while the model loads.

        Raises:
            CheckpointError: the files are missing or damaged.
            MissingExtra: the backend's libraries are not installed.
            UnsupportedDevice: the backend cannot run here.
            RequestError: the model does not support the context length.
        """
        progress("open", 0.0)
        self.name = model
        self.checkpoint = open_checkpoint(find_model(model))
        self.config = self.checkpoint.config
        self.plan = resolve(engine or EngineOptions(), self.config, PAGE_TOKENS)
        self.ops = select_ops(backend, ops or OpsOptions())
        self.tokenizer = Tokenizer.of(self.checkpoint)
        notices: list[str] = []
        tensors = load_weights(
            self.checkpoint,
            self.ops,
            folder=prepared,
            progress=progress,
            notice=notices.append,
        )
        self.notices = tuple(notices)
        """Warnings from loading the model."""
        weights = prepare(
            self.config,
            self.ops,
            tensors,
            lambda done, total: progress("prepare", done / total),
        )
        self.model: Transformer[Any] = Transformer(self.config, self.ops, weights)
        self._service = EngineService(Engine(self.model, self.plan, PAGE_TOKENS))
        # without a tokenizer no turn is prepared; no reference to self, which is to be collected
        token_bytes = self.tokenizer.token_bytes if self.tokenizer else list
        self._grammars = GrammarCompiler(token_bytes, vocab_size=self.config.vocab_size)
        # Also when dropped, and at exit: Python must not end with a thread inside the kernels.
        self._close = weakref.finalize(self, _close, self._service, self._grammars)

    @classmethod
    def from_options(
        cls, options: LoadOptions, progress: Progress = lambda phase, share: None
    ) -> Self:
        """Load the model that the options name; see `LLM`."""
        arguments = {each.name: getattr(options, each.name) for each in fields(options)}
        return cls(**arguments, progress=progress)

    @property
    def context_length(self) -> int:
        """Limit of tokens of one request, prompt and answer together."""
        return self.plan.context_length

    @property
    def load(self) -> EngineLoad:
        """The load of the engine."""
        return self._service.load

    def chat(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        params: SamplingParams | None = None,
        **turn: Any,
    ) -> Reply:
        """Answer a conversation: `stream` in one reply, with the same arguments."""
        return collect(self.stream(messages, params=params, **turn))

    def stream(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        params: SamplingParams | None = None,
        max_analysis_tokens: int | None = None,
        tools: "Tools | Sequence[Function | ToolSource]" = (),
        tool_choice: str = "auto",
        response_format: Mapping[str, Any] | None = None,
        **conversation: Any,
    ) -> ChatStream[Event]:
        """Answer a conversation, event by event.

        Args:
            messages: one user message, or a list of dicts as OpenAI spells them.
            params: how to sample.
            max_analysis_tokens: limit of reasoning, after which the answer is forced. 0: none.
            tools: what the model may call. Python functions, tools and toolkits run in this
                process, and the turn continues with their results; described functions (as
                `FunctionTool`, or as OpenAI spells them) end the turn with the call. An open
                `Tools` keeps its state from turn to turn.
            tool_choice: auto, none, required, or the name of the tool to call.
            response_format: JSON that the answer must be; see `chat.messages.to_answer_schema`.
            conversation: `effort`, `instructions`, `date`; see `conversation`.

        Raises:
            ContextOverflow: the conversation leaves no room for an answer.
            RequestError: the request is invalid.
        """

        def turn(conversation: Conversation) -> TurnRequest:
            return TurnRequest(
                conversation=conversation,
                params=params or SamplingParams(),
                tool_choice=tool_choice,
                answer=to_answer_schema(response_format),
                max_analysis_tokens=max_analysis_tokens,
            )

        conversation["response_format"] = response_format
        if not tools:
            return self.generate_turn(turn(self.conversation(messages, **conversation)))
        from ossia.chat.sync_tools import ToolArgument  # most turns run no tool

        argument = ToolArgument.of(tools)
        history = self.conversation(messages, tools=argument.functions, **conversation)
        return self._stream_with(argument, history, turn)

    def generate_turn(self, request: TurnRequest) -> ChatStream[Event]:
        """Stream one generation, up to the answer or a call."""
        return self._stream(self.prepare_turn(request))

    def prepare_turn(self, request: TurnRequest) -> PreparedRequest[Event]:
        """Render the prompt of a turn and compile its grammars; may be slow.

        Raises:
            ContextOverflow: the conversation leaves no room for an answer.
            RequestError: the request is invalid.
        """
        tokenizer = self._require_tokenizer()
        grammar = OutputGrammar(tokenizer, request.rules, vocab_size=self.config.vocab_size)
        prompt = render_prompt(tokenizer, request.conversation)
        self._service.engine.check(prompt, request.params)
        left = self.context_length - len(prompt)
        analysis = request.max_analysis_tokens
        constraint = OutputConstraint(
            grammar,
            max_analysis=analysis if request.allow_analysis else 0,
            max_tokens=min(request.params.max_tokens or left, left),
            content_grammars=compile_grammars(request, self._grammars),
        )
        usage = UsageTracker(time.monotonic, len(prompt))
        parser = OutputParser(grammar, tokenizer, StopFinder(request.params.stop), usage)
        # beside the whole prompt, with which the next turn begins
        cache_points = (num_instruction_tokens(tokenizer, request.conversation),)
        return PreparedRequest(_to_engine(request, prompt, constraint, cache_points), parser)

    def prepare_raw(self, request: RawRequest) -> PreparedRequest[CompletionEvent]:
        """Encode a raw prompt.

        Raises:
            ContextOverflow: the prompt leaves no room for an answer.
            RequestError: the prompt is text and the model has no tokenizer, or an id is unknown.
        """
        prompt, params = request.prompt, request.params
        ids = self._require_tokenizer().encode(prompt) if isinstance(prompt, str) else list(prompt)
        self._service.engine.check(ids, params)
        constraint = Unconstrained(
            stop_ids=end_token_ids(self.tokenizer),
            mask=meaningful_ids(self.tokenizer, self.config.vocab_size),
        )
        usage = UsageTracker(time.monotonic, len(ids))
        parser = CompletionParser(self.tokenizer, StopFinder(params.stop), usage)
        return PreparedRequest(_to_engine(request, ids, constraint), parser)

    def warm(self) -> None:
        """Load ahead what the first tool call or JSON answer needs."""
        if self.tokenizer is not None:
            self._grammars.warm()

    def submit(self, prepared: PreparedRequest[AnyEvent], on_token: OnToken) -> Submission:
        """Submit a request; the engine's thread calls `on_token` with each token."""
        return self._service.submit(prepared.request, on_token)

    def cancel(self, submission: Submission) -> None:
        """Cancel a request; a finished one may be cancelled too."""
        self._service.cancel(submission)

    def _stream(self, prepared: PreparedRequest[AnyEvent]) -> ChatStream[AnyEvent]:
        tokens = self._service.stream(prepared.request)
        return ChatStream(parse_tokens(tokens, prepared.parser), tokens.close, self)

    def _stream_with(
        self,
        argument: "ToolArgument",
        history: Conversation,
        turn: Callable[[Conversation], TurnRequest],
    ) -> ChatStream[Event]:
        """Run what the model calls; tools opened for this turn are closed with it."""
        from ossia.chat.sync_tools import ToolStream

        opened = argument.open()
        if opened is None:
            return self.generate_turn(turn(history))
        try:
            request = turn(opened.declare(history))
            events = ToolStream(
                opened,
                request,
                self.generate_turn,
                self.context_length,
                owns_tools=argument.for_one_turn,
            )
        except BaseException:
            if argument.for_one_turn:
                opened.close()
            raise
        return ChatStream(events, events.close, self)

    def conversation(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        effort: Effort = "medium",
        instructions: str | None = None,
        tools: Sequence[FunctionTool | Mapping[str, Any]] = (),
        date: str | None = None,
        response_format: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """Build a harmony conversation; `render` returns its exact ids.

        Args:
            messages: one user message, or a list of dicts as OpenAI spells them.
            effort: reasoning effort: low, medium or high.
            instructions: the developer message.
            tools: functions it may call, as `FunctionTool` or as OpenAI spells them.
            date: of the prompt, YYYY-MM-DD.
            response_format: JSON that the answer must be, as OpenAI spells it.
        """
        return to_conversation(
            messages,
            effort=effort,
            instructions=instructions,
            tools=tools,
            date=date,
            response_format=response_format,
        )

    def render(self, messages: str | Sequence[ChatMessage], **conversation: Any) -> list[int]:
        """Return the exact token ids of the prompt that `stream` would send."""
        return render_prompt(self._require_tokenizer(), self.conversation(messages, **conversation))

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text."""
        return len(self._require_tokenizer().encode(text))

    def generate(
        self, prompt: str | Sequence[int], params: SamplingParams | None = None
    ) -> Completion:
        """Continue raw text or ids, without the harmony format: the sum of `generate_stream`."""
        prepared = self._raw(prompt, params)
        assert isinstance(prepared.parser, CompletionParser)
        return complete(self._stream(prepared), prepared.parser)

    def generate_stream(
        self, prompt: str | Sequence[int], params: SamplingParams | None = None
    ) -> ChatStream[CompletionEvent]:
        """Continue raw text or ids, event by event: `TextDelta`, then `Finished`.

        Raises:
            ContextOverflow: the prompt leaves no room.
            RequestError: the prompt is empty, or text and the model has no tokenizer.
        """
        return self._stream(self._raw(prompt, params))

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Compute the logits after each of these tokens, for research and checks.

        Returns:
            float32 [tokens, vocabulary].

        Raises:
            ContextOverflow: more tokens than the context holds.
            RequestError: an id is outside the vocabulary.
        """
        if len(ids) > self.context_length:
            raise ContextOverflow(len(ids), self.context_length)
        size = self.config.vocab_size
        if wrong := [each for each in ids if not 0 <= each < size]:
            raise RequestError(f"token id {wrong[0]} is not one of this model's {size}")
        return compute_logits(self.model, ids)

    def close(self) -> None:
        """Stop the engine; running turns are cancelled. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def _raw(
        self, prompt: str | Sequence[int], params: SamplingParams | None
    ) -> PreparedRequest[CompletionEvent]:
        text_or_ids = prompt if isinstance(prompt, str) else tuple(prompt)
        return self.prepare_raw(RawRequest(prompt=text_or_ids, params=params or SamplingParams()))

    def _require_tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise RequestError(
                f"{self.checkpoint.folder} has no tokenizer.json; add one, or work in token ids: "
                "LLM.generate and LLM.logits take lists of ids"
            )
        return self.tokenizer


def _to_engine(
    request: GenerationRequest,
    prompt: list[int],
    constraint: Constraint,
    cache_points: tuple[int, ...] = (),
) -> EngineRequest:
    return EngineRequest(prompt, request.params, constraint, cache_points)


def _close(service: EngineService, grammars: GrammarCompiler) -> None:
    service.close()
    grammars.close()
