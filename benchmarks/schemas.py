"""A model with random weights, held to random JSON schemas: does every whole answer fit its schema?

    python -m benchmarks.schemas [--schemas 2000] [--seed 0]

Schemas are made until so many compiled; those refused are counted apart, by their reason. Every
other answer is a final one, the rest are arguments of a call. Each that ended by itself is read as
JSON and validated by the `jsonschema` package; those cut by the length limit are counted apart.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator, FormatChecker

from benchmarks.byte_tokenizer import NUM_IDS, write_byte_tokenizer
from benchmarks.random_checkpoint import SHAPES, random_tensors
from benchmarks.schema_maker import Schema, SchemaMaker
from ossia.chat.constraint import OutputConstraint
from ossia.engine.engine import Engine
from ossia.engine.options import EngineOptions, resolve
from ossia.engine.request import EngineRequest, SamplingParams
from ossia.errors import RequestError
from ossia.grammar.content import ContentGrammar, GrammarCompiler
from ossia.harmony.output_grammar import OutputGrammar
from ossia.harmony.output_rules import ContentDelta, MessageStarted, OutputRules
from ossia.harmony.tokenizer import Tokenizer
from ossia.model.kv_cache import PAGE_TOKENS
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.select import OpsOptions, select_ops

MAX_TOKENS = 400
CALL = "functions.f"
_FORMATS = FormatChecker(("date", "email", "ipv4", "ipv6", "uuid"))


@_FORMATS.checks("time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(time_of_day.fromisoformat(value).tzinfo)


@_FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value).tzinfo)


@dataclass
class Answer:
    """One answer being written."""

    schema: Schema
    grammar: OutputGrammar
    header: tuple[int, ...] = ()
    """Ids of its message before those that were sampled."""
    text: str = ""
    ids: list[int] = field(default_factory=list)


class ConstrainedAnswers:
    """Writes answers in batches and judges them."""

    def __init__(self, folder: Path, seed: int, backend: str) -> None:
        self.tokenizer: Tokenizer = write_byte_tokenizer(folder / "tokenizer.json")
        self.config = dataclasses.replace(SHAPES["tiny"], vocab_size=-(-NUM_IDS // 64) * 64)
        ops = select_ops(backend, OpsOptions())
        weights = prepare(self.config, ops, random_tensors(self.config, seed))
        model: Transformer[Any] = Transformer(self.config, ops, weights)
        options = EngineOptions(context_length=512, max_running=32, pool_tokens=32 * 512)
        self.engine = Engine(model, resolve(options, self.config, PAGE_TOKENS), PAGE_TOKENS)
        self.grammars = GrammarCompiler(
            self.tokenizer.token_bytes, vocab_size=self.config.vocab_size
        )
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.faults: list[str] = []
        self._seed = seed

    def write(self, count: int) -> None:
        """Make so many schemas that compile, hold an answer to each, and judge the answers."""
        answers: dict[int, Answer] = {}
        while len(answers) < count:
            self._seed += 1
            schema = SchemaMaker(self._seed).make()
            try:
                grammar = self.grammars.compile(schema, path="text.format.schema")
            except RequestError as error:
                self.refusals[str(error).split(";")[0][:90]] += 1
                self._check_refusal(error)
                continue
            number, answer = self._submit(self._seed, schema, grammar)
            answers[number] = answer
        while not self.engine.idle:
            for event in self.engine.step():
                answer = answers[event.request_id]
                if event.error is not None:
                    self.counts["failed"] += 1
                    self.faults.append(f"{event.error!r}: {json.dumps(answer.schema)}")
                    continue
                assert event.sampled is not None
                answer.ids.append(event.sampled.token_id)
                if event.finish_reason is not None:
                    self._judge(answer, event.finish_reason)

    def _submit(self, seed: int, schema: Schema, content: ContentGrammar) -> tuple[int, Answer]:
        ids = self.tokenizer.ids
        if is_call := bool(seed % 2):
            rules = OutputRules(recipients={CALL: "json"}, choice=CALL, allow_analysis=False)
        else:
            rules = OutputRules(recipients={}, final_kind="json")
        grammar = OutputGrammar(self.tokenizer, rules, vocab_size=self.config.vocab_size)
        content_grammars = {CALL if is_call else None: content}
        constraint = OutputConstraint(
            grammar, max_analysis=None, max_tokens=MAX_TOKENS, content_grammars=content_grammars
        )
        prompt = np.random.default_rng(seed).integers(0, 256, 5).tolist()
        params = SamplingParams(seed=seed, max_tokens=MAX_TOKENS, logit_bias=self._lean())
        # the header of an answer is part of the prompt
        answer_header = (ids.channel, *self.tokenizer.encode("final"), ids.message)
        header = () if is_call else answer_header
        prompt += header
        for token_id in header:
            constraint.accept(token_id)
        request = EngineRequest(prompt, params, constraint)
        return self.engine.submit(request), Answer(schema, grammar, header)

    def _lean(self) -> dict[int, float]:
        """Towards ends and away from white space: random text of bytes ends too seldom."""
        ids = self.tokenizer.ids
        towards = {ids.return_: 6.0, ids.call: 6.0, **dict.fromkeys(b'"}]', 4.0)}
        return towards | dict.fromkeys(b" \n,", -3.0)

    def _judge(self, answer: Answer, reason: str) -> None:
        state = answer.grammar.start
        for token_id in (*answer.header, *answer.ids):
            state, events = answer.grammar.step(state, token_id)
            for one in events:
                if isinstance(one, MessageStarted):
                    answer.text = ""  # what came before was a preamble
                elif isinstance(one, ContentDelta):
                    answer.text += one.text
        self.counts["tokens"] += len(answer.ids)
        self.counts["completed" if reason == "stop" else f"cut by {reason}"] += 1
        if reason != "stop":
            return
        try:
            Draft202012Validator(answer.schema, format_checker=_FORMATS).validate(
                json.loads(answer.text)
            )
        except Exception as error:  # whatever the judge says is a finding
            self.counts["invalid"] += 1
            reason = str(error).splitlines()[0]
            self.faults.append(f"{reason}: {answer.text!r} under {json.dumps(answer.schema)}")

    def _check_refusal(self, error: RequestError) -> None:
        if error.code != "invalid_json_schema" or not (error.param or "").startswith("text."):
            self.faults.append(f"refused without a place: {error}")


def main() -> None:
    """Print what was written and what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schemas", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="cpu")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        answers = ConstrainedAnswers(Path(folder), args.seed, args.backend)
        with answers.grammars:
            for first in range(0, args.schemas, 100):
                answers.write(min(100, args.schemas - first))
    for fault in answers.faults[:20]:
        print(fault)
    counts = {"invalid": 0, "failed": 0, **answers.counts, "refused": answers.refusals.total()}
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({"schemas": args.schemas, **counts, "seconds": seconds}))
    for reason, count in answers.refusals.most_common():
        print(f"{count:5}  {reason}")
    sys.exit(bool(answers.faults))


if __name__ == "__main__":
    main()
