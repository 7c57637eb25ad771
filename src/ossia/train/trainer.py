"""The training loop: a budget of tokens or time, resumable with bit-identical results.

`TrainingProgress`, the parameters and the two moments decide the next step; batches are numbered,
so the place in the data is the step's number.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ossia.checkpoint.config import ModelConfig
from ossia.harmony.tokenizer import Tokenizer
from ossia.train import training_state
from ossia.train.batches import EFFORT_SHARES, Batch, TrainingExample, collate, draw_examples
from ossia.train.data_parallel import DataParallelGroup
from ossia.train.muon import Muon
from ossia.train.network import Losses, is_inner_matrix, is_matrix, new_parameters, run
from ossia.train.shards import EXAMPLES_PER_BATCH, ExampleSource
from ossia.train.training_state import TrainingProgress

Clock = Callable[[], float]

BETAS = (0.9, 0.95)
DECAY = 0.1
CLIP = 1.0
PEAK_RATE, MUON_RATE = 3e-3, 0.03
WARM_UP = 0.02
COOL_DOWN = 0.7
"""Shares of the budget: warm-up, constant rate, linear decay to 0."""
LOG_EVERY = 20
VALIDATE_EVERY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Options of a training run."""

    seed: int
    tokens: int | None = None
    """The budget of the whole run in tokens, earlier runs included."""
    seconds: float | None = None
    """The budget in seconds of process time, instead of tokens."""
    constant_lr: bool = False
    """Keep the learning rate constant; a resumed run with more budget decays it."""
    peak_rate: float = PEAK_RATE
    """Peak learning rate of AdamW."""
    muon_rate: float = MUON_RATE
    """Peak learning rate of Muon, for the matrices inside the layers; 0: AdamW."""
    checkpoint_seconds: float = 180.0
    """Time between two checkpoints."""
    device: str = "cpu"
    data: Path | None = None
    """Folder of batches; None: they are generated as needed."""

    def spent(self, progress: TrainingProgress) -> float:
        """The share of the budget that is spent."""
        if self.tokens is not None:
            return progress.tokens / max(self.tokens, 1)
        assert self.seconds is not None, "a plan has a budget"
        return progress.seconds / max(self.seconds, 1e-9)


def learning_rate(share: float, peak: float, *, constant_lr: bool = False) -> float:
    """The learning rate when `share` of the budget is spent."""
    fall = 1.0 if constant_lr else (1 - share) / COOL_DOWN
    return peak * max(0.0, min(1.0, share / WARM_UP, fall))


@dataclass(slots=True)
class Trainer:
    """One run, in the folder `out`: training_state.safetensors (to resume from) and log.jsonl."""

    config: ModelConfig
    tokenizer: Tokenizer
    source: ExampleSource
    plan: TrainingConfig
    out: Path
    clock: Clock
    parameters: dict[str, Tensor]
    optimisers: list[torch.optim.Optimizer]
    parallel: DataParallelGroup = field(default_factory=DataParallelGroup)
    progress: TrainingProgress = field(default_factory=TrainingProgress)
    stopping: bool = False
    """Set to stop the run after the current step."""

    @classmethod
    def start(
        cls,
        config: ModelConfig,
        tokenizer: Tokenizer,
        plan: TrainingConfig,
        out: Path,
        clock: Clock,
        parallel: DataParallelGroup | None = None,
    ) -> "Trainer":
        """Start a run, or resume from the training state in `out`."""
        parameters = new_parameters(config, plan.seed, plan.device)
        optimisers = _optimisers(parameters, plan)
        source = ExampleSource(tokenizer, plan.seed, plan.data)
        trainer = cls(
            config,
            tokenizer,
            source,
            plan,
            out,
            clock,
            parameters,
            optimisers,
            parallel or DataParallelGroup(),
        )
        if (out / training_state.NAME).exists():
            trainer.progress = training_state.read(
                out / training_state.NAME, parameters, optimisers
            )
        return trainer

    def train(self) -> None:
        """Step until the budget is spent or `stopping` is set; then write the training state."""
        began = self.clock() - self.progress.seconds
        saved = self.progress.seconds
        ends = (
            False  # as all processes agreed; a signal that comes meanwhile counts in the next step
        )
        while (share := self.plan.spent(self.progress)) < 1 and not ends:
            step = self.progress.step
            batch = self._batch(self.parallel.local_examples(self.source.examples(step)))
            lr = learning_rate(share, 1.0, constant_lr=self.plan.constant_lr)
            losses, statistics = self._step(batch, lr, began)
            self.progress = TrainingProgress(
                step=step + 1,
                tokens=self.progress.tokens + round(statistics.tokens),
                seconds=statistics.seconds,
            )
            ends = statistics.stop > 0
            if self.parallel.is_main:
                saved = self._record(losses, statistics, lr, saved)
        if self.parallel.is_main:
            self._save()

    def _record(
        self, losses: Losses, statistics: "StepStatistics", lr: float, saved: float
    ) -> float:
        """Log, validate and save if due; return the time of the last save."""
        if self.progress.step % LOG_EVERY == 1:
            self._log(self._figures(losses, statistics, lr))
        if self.progress.step % VALIDATE_EVERY == 0:
            self._log({"step": self.progress.step, **self.validate()})
        if self.progress.seconds - saved < self.plan.checkpoint_seconds:
            return saved
        self._save()
        return self.progress.seconds

    def note(self, fact: dict[str, Any]) -> None:
        """Append a line to the log, with the progress of the run."""
        self._log({"step": self.progress.step, **fact})

    def validate(self, number: int = 0) -> dict[str, Any]:
        """Loss on unseen problems, and the share of examples whose every learned token comes first.

        The reasoning is determined by the question, so that share is what greedy decoding gives.
        """
        drawn = [
            draw_examples(
                self.tokenizer,
                seed=self.plan.seed,
                number=2 * number + each,
                examples=EXAMPLES_PER_BATCH,
                split="validation",
            )
            for each in range(2)
        ]
        batch = self._batch([one for examples in drawn for one in examples])
        with torch.no_grad():
            losses = run(self.config, self.parameters, batch)
        wrong_R = losses.logits_RV.argmax(dim=1).cpu() != batch.target_R
        learned_R = batch.weight_R == 1.0
        failed = set(batch.example_R[(wrong_R & learned_R).numpy()].tolist())
        exact = {}
        for effort in EFFORT_SHARES:
            of_effort = [at for at, each in enumerate(batch.efforts) if each == effort]
            if of_effort:
                exact[effort] = round(1 - len(failed & set(of_effort)) / len(of_effort), 4)
        return {"validation_loss": round(losses.answer.item(), 5), "exact": exact}

    def _batch(self, examples: list[TrainingExample]) -> Batch:
        return collate(examples, window=self.config.sliding_window)

    def _step(self, batch: Batch, lr: float, began: float) -> tuple[Losses, "StepStatistics"]:
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr * group["peak"]
        losses = run(self.config, self.parameters, batch)
        # the losses of a process count as much as it had to learn
        learned = float(batch.weight_R.sum())
        (losses.total * learned).backward()  # type: ignore[no-untyped-call]
        values = list(self.parameters.values())
        gradients = [value.grad for value in values if value.grad is not None]
        is_main = self.parallel.is_main
        statistics = StepStatistics(
            learned=learned,
            tokens=len(batch.step.id_T),
            answer=losses.answer.item() * learned,
            seconds=self.clock() - began if is_main else 0.0,
            stop=float(self.stopping and is_main),
        )
        statistics = StepStatistics(*self.parallel.all_reduce(gradients, statistics))
        for gradient in gradients:
            gradient /= statistics.learned
        torch.nn.utils.clip_grad_norm_(values, CLIP)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        return losses, statistics

    def _figures(self, losses: Losses, statistics: "StepStatistics", lr: float) -> dict[str, Any]:
        now = self.progress
        return {
            "step": now.step,
            "seconds": round(now.seconds, 1),
            "left": round(now.seconds * (1 / max(self.plan.spent(now), 1e-9) - 1), 1),
            "tokens": now.tokens,
            "tokens_per_second": round(now.tokens / max(now.seconds, 1e-9)),
            "lr": round(lr, 6),
            "loss": round(statistics.answer / statistics.learned, 5),
            "balance": round(losses.balance.item(), 4),
            "z": round(losses.z.item(), 4),
            "expert_share": [
                [round(share, 3) for share in layer] for layer in losses.share_LN.tolist()
            ],
        }

    def _log(self, figures: dict[str, Any]) -> None:
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(figures) + "\n")

    def _save(self) -> None:
        training_state.write(
            self.out / training_state.NAME, self.progress, self.parameters, self.optimisers
        )


class StepStatistics(NamedTuple):
    """Sums over all processes of one step."""

    learned: float
    """The weights of what was learned."""
    tokens: float
    answer: float
    """The loss, times `learned`."""
    seconds: float
    """The clock of rank 0."""
    stop: float
    """Above 0 if rank 0 stops."""


def _optimisers(parameters: dict[str, Tensor], plan: TrainingConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon for the matrices inside the layers and AdamW for the rest."""
    inner = {name for name in parameters if plan.muon_rate and is_inner_matrix(name)}
    rest = {name: p for name, p in parameters.items() if name not in inner}
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in rest.items() if is_matrix(name)], "weight_decay": DECAY},
        {"params": [p for name, p in rest.items() if not is_matrix(name)]},
    ]
    groups = [group | {"peak": plan.peak_rate} for group in groups]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, betas=BETAS, weight_decay=0.0, fused=True)
    ]
    if inner:
        muon = {"params": [parameters[name] for name in parameters if name in inner]}
        found.append(Muon([muon | {"peak": plan.muon_rate}], lr=plan.muon_rate, weight_decay=DECAY))
    return found
