"""The training loop: AdamW on a time budget, resumable to the bit.

Everything that decides the next step is in `Progress`, the parameters and the two moments; batches
are numbered, so the place in the data is the step's number.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ossia.checkpoint.config import ModelConfig
from ossia.harmony.vocabulary import Vocabulary
from ossia.train import legs
from ossia.train.batches import EFFORT_SHARES, Batch, make_batch
from ossia.train.legs import Progress
from ossia.train.network import Losses, is_matrix, new_parameters, run

Clock = Callable[[], float]

BETAS = (0.9, 0.95)
DECAY = 0.1
CLIP = 1.0
WARM_UP = 0.02
COOL_DOWN = 0.55
"""Shares of the time budget: the rate rises, stays, and falls in a line to 0."""
LOG_EVERY = 20
VALIDATE_EVERY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training run is asked for."""

    seed: int
    seconds: float
    lessons: int = 48
    """In a batch: about 3,300 tokens, small enough for thousands of steps in an hour."""
    peak_rate: float = 3e-3
    leg_seconds: float = 240.0
    """Between two checkpoints."""
    device: str = "cpu"


def learning_rate(share: float, peak: float) -> float:
    """The rate when `share` of the budget is spent."""
    return peak * max(0.0, min(1.0, share / WARM_UP, (1 - share) / COOL_DOWN))


@dataclass(slots=True)
class Trainer:
    """One run, in the folder `out`: leg.safetensors (to go on from) and log.jsonl."""

    config: ModelConfig
    vocabulary: Vocabulary
    plan: Plan
    out: Path
    clock: Clock
    parameters: dict[str, Tensor]
    optimiser: torch.optim.AdamW
    progress: Progress = field(default_factory=Progress)
    stopping: bool = False
    """Set by whoever wants the run to end after the step under way."""

    @classmethod
    def start(
        cls, config: ModelConfig, vocabulary: Vocabulary, plan: Plan, out: Path, clock: Clock
    ) -> "Trainer":
        """Begin anew, or go on from the leg that lies in `out`."""
        parameters = new_parameters(config, plan.seed, plan.device)
        optimiser = _optimiser(parameters, plan.peak_rate)
        trainer = cls(config, vocabulary, plan, out, clock, parameters, optimiser)
        if (out / legs.NAME).exists():
            trainer.progress = legs.read(out / legs.NAME, parameters, optimiser)
        return trainer

    def train(self) -> None:
        """Step until the budget is spent or `stopping` is set; then write the last leg."""
        began = self.clock() - self.progress.seconds
        saved = self.progress.seconds
        while self.progress.seconds < self.plan.seconds and not self.stopping:
            batch = self._batch("train", self.progress.step)
            rate = learning_rate(self.progress.seconds / self.plan.seconds, self.plan.peak_rate)
            losses = self._step(batch, rate)
            self.progress = replace(
                self.progress,
                step=self.progress.step + 1,
                tokens=self.progress.tokens + len(batch.step.id_T),
                seconds=self.clock() - began,
            )
            if self.progress.step % LOG_EVERY == 1:
                self._log(self._figures(losses, rate))
            if self.progress.step % VALIDATE_EVERY == 0:
                self._log({"step": self.progress.step, **self.validate()})
            if self.progress.seconds - saved >= self.plan.leg_seconds:
                saved = self.progress.seconds
                self._save()
        self._save()

    def validate(self, number: int = 0) -> dict[str, Any]:
        """Loss on unseen problems, and the share of lessons whose every learned token comes first.

        The reasoning is determined by the question, so that share is what greedy decoding gives.
        """
        batch = self._batch("validation", number)
        with torch.no_grad():
            losses = run(self.config, self.parameters, batch)
        wrong_R = losses.logits_RV.argmax(dim=1).cpu() != batch.target_R
        learned_R = batch.weight_R == 1.0
        failed = set(batch.lesson_R[(wrong_R & learned_R).numpy()].tolist())
        exact = {}
        for effort in EFFORT_SHARES:
            mine = [at for at, each in enumerate(batch.efforts) if each == effort]
            exact[effort] = round(1 - len(failed & set(mine)) / len(mine), 4)
        return {"validation_loss": round(losses.answer.item(), 5), "exact": exact}

    def _batch(self, split: Any, number: int) -> Batch:
        return make_batch(
            self.vocabulary,
            seed=self.plan.seed,
            number=number,
            lessons=self.plan.lessons if split == "train" else 2 * self.plan.lessons,
            window=self.config.sliding_window,
            split=split,
        )

    def _step(self, batch: Batch, rate: float) -> Losses:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        losses = run(self.config, self.parameters, batch)
        losses.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), CLIP)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return losses

    def _figures(self, losses: Losses, rate: float) -> dict[str, Any]:
        now = self.progress
        return {
            "step": now.step,
            "seconds": round(now.seconds, 1),
            "left": round(self.plan.seconds - now.seconds, 1),
            "tokens": now.tokens,
            "tokens_per_second": round(now.tokens / max(now.seconds, 1e-9)),
            "rate": rate,
            "loss": round(losses.answer.item(), 5),
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
        legs.write(self.out / legs.NAME, self.progress, self.parameters, self.optimiser)


def _optimiser(parameters: dict[str, Tensor], rate: float) -> torch.optim.AdamW:
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in parameters.items() if is_matrix(name)], "weight_decay": DECAY},
        {"params": [p for name, p in parameters.items() if not is_matrix(name)]},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, weight_decay=0.0, fused=True)
