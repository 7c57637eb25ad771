"""The training loop: AdamW on a budget of tokens or of time, resumable to the bit.

Everything that decides the next step is in `Progress`, the parameters and the two moments; batches
are numbered, so the place in the data is the step's number.
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
from ossia.train.batches import EFFORT_SHARES, Batch, Lesson, collate, draw_lessons
from ossia.train.data_parallel import Team
from ossia.train.muon import Muon
from ossia.train.network import Losses, is_inner_matrix, is_matrix, new_parameters, run
from ossia.train.shards import LESSONS, Source
from ossia.train.training_state import Progress

Clock = Callable[[], float]

BETAS = (0.9, 0.95)
DECAY = 0.1
CLIP = 1.0
PEAK_RATE, MUON_RATE = 3e-3, 0.03
WARM_UP = 0.02
COOL_DOWN = 0.7
"""Shares of the budget: the rate rises, stays, and falls in a line to 0."""
LOG_EVERY = 20
VALIDATE_EVERY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training run is asked for."""

    seed: int
    tokens: int | None = None
    """The budget of all legs together; counted alike on a busy machine and on a quiet one."""
    seconds: float | None = None
    """Instead of tokens; the process's own time."""
    hold: bool = False
    """Keep the rate up to the end of the budget: a later leg, with more of it, lets it fall."""
    peak_rate: float = PEAK_RATE
    """Of AdamW."""
    muon_rate: float = MUON_RATE
    """Of Muon, for the matrices inside the layers; 0 leaves them to AdamW."""
    leg_seconds: float = 180.0
    """Between two checkpoints."""
    device: str = "cpu"
    data: Path | None = None
    """Where batches stand on disk; without, they are drawn as they are needed."""

    def spent(self, progress: Progress) -> float:
        """The share of the budget that is gone."""
        if self.tokens is not None:
            return progress.tokens / max(self.tokens, 1)
        assert self.seconds is not None, "a plan has a budget"
        return progress.seconds / max(self.seconds, 1e-9)


def learning_rate(share: float, peak: float, *, hold: bool = False) -> float:
    """The rate when `share` of the budget is spent."""
    fall = 1.0 if hold else (1 - share) / COOL_DOWN
    return peak * max(0.0, min(1.0, share / WARM_UP, fall))


@dataclass(slots=True)
class Trainer:
    """One run, in the folder `out`: leg.safetensors (to go on from) and log.jsonl."""

    config: ModelConfig
    tokenizer: Tokenizer
    source: Source
    plan: Plan
    out: Path
    clock: Clock
    parameters: dict[str, Tensor]
    optimisers: list[torch.optim.Optimizer]
    team: Team = field(default_factory=Team)
    progress: Progress = field(default_factory=Progress)
    stopping: bool = False
    """Set by whoever wants the run to end after the step under way."""

    @classmethod
    def start(
        cls,
        config: ModelConfig,
        tokenizer: Tokenizer,
        plan: Plan,
        out: Path,
        clock: Clock,
        team: Team | None = None,
    ) -> "Trainer":
        """Begin anew, or go on from the leg that lies in `out`."""
        parameters = new_parameters(config, plan.seed, plan.device)
        optimisers = _optimisers(parameters, plan)
        source = Source(tokenizer, plan.seed, plan.data)
        trainer = cls(
            config, tokenizer, source, plan, out, clock, parameters, optimisers, team or Team()
        )
        if (out / training_state.NAME).exists():
            trainer.progress = training_state.read(
                out / training_state.NAME, parameters, optimisers
            )
        return trainer

    def train(self) -> None:
        """Step until the budget is spent or `stopping` is set; then write the last leg."""
        began = self.clock() - self.progress.seconds
        saved = self.progress.seconds
        ends = False  # as the team agreed; a signal that comes meanwhile counts in the next step
        while (share := self.plan.spent(self.progress)) < 1 and not ends:
            step = self.progress.step
            batch = self._batch(self.team.mine(self.source.lessons(step)))
            rate = learning_rate(share, 1.0, hold=self.plan.hold)
            losses, facts = self._step(batch, rate, began)
            self.progress = Progress(
                step=step + 1,
                tokens=self.progress.tokens + round(facts.tokens),
                seconds=facts.seconds,
            )
            ends = facts.stop > 0
            if self.team.leads:
                saved = self._record(losses, facts, rate, saved)
        if self.team.leads:
            self._save()

    def _record(self, losses: Losses, facts: "Facts", rate: float, saved: float) -> float:
        """After a step: log, validate and save when it is time; return when it was last saved."""
        if self.progress.step % LOG_EVERY == 1:
            self._log(self._figures(losses, facts, rate))
        if self.progress.step % VALIDATE_EVERY == 0:
            self._log({"step": self.progress.step, **self.validate()})
        if self.progress.seconds - saved < self.plan.leg_seconds:
            return saved
        self._save()
        return self.progress.seconds

    def note(self, fact: dict[str, Any]) -> None:
        """Write a line into the log, at the place in the run where it holds."""
        self._log({"step": self.progress.step, **fact})

    def validate(self, number: int = 0) -> dict[str, Any]:
        """Loss on unseen problems, and the share of lessons whose every learned token comes first.

        The reasoning is determined by the question, so that share is what greedy decoding gives.
        """
        drawn = [
            draw_lessons(
                self.tokenizer,
                seed=self.plan.seed,
                number=2 * number + each,
                lessons=LESSONS,
                split="validation",
            )
            for each in range(2)
        ]
        batch = self._batch([one for lessons in drawn for one in lessons])
        with torch.no_grad():
            losses = run(self.config, self.parameters, batch)
        wrong_R = losses.logits_RV.argmax(dim=1).cpu() != batch.target_R
        learned_R = batch.weight_R == 1.0
        failed = set(batch.lesson_R[(wrong_R & learned_R).numpy()].tolist())
        exact = {}
        for effort in EFFORT_SHARES:
            mine = [at for at, each in enumerate(batch.efforts) if each == effort]
            if mine:
                exact[effort] = round(1 - len(failed & set(mine)) / len(mine), 4)
        return {"validation_loss": round(losses.answer.item(), 5), "exact": exact}

    def _batch(self, lessons: list[Lesson]) -> Batch:
        return collate(lessons, window=self.config.sliding_window)

    def _step(self, batch: Batch, rate: float, began: float) -> tuple[Losses, "Facts"]:
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["peak"]
        losses = run(self.config, self.parameters, batch)
        # a member's losses count as much as it had to learn
        learned = float(batch.weight_R.sum())
        (losses.total * learned).backward()  # type: ignore[no-untyped-call]
        values = list(self.parameters.values())
        gradients = [value.grad for value in values if value.grad is not None]
        lead = self.team.leads
        facts = Facts(
            learned=learned,
            tokens=len(batch.step.id_T),
            answer=losses.answer.item() * learned,
            seconds=self.clock() - began if lead else 0.0,
            stop=float(self.stopping and lead),
        )
        facts = Facts(*self.team.add_up(gradients, facts))
        for gradient in gradients:
            gradient /= facts.learned
        torch.nn.utils.clip_grad_norm_(values, CLIP)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        return losses, facts

    def _figures(self, losses: Losses, facts: "Facts", rate: float) -> dict[str, Any]:
        now = self.progress
        return {
            "step": now.step,
            "seconds": round(now.seconds, 1),
            "left": round(now.seconds * (1 / max(self.plan.spent(now), 1e-9) - 1), 1),
            "tokens": now.tokens,
            "tokens_per_second": round(now.tokens / max(now.seconds, 1e-9)),
            "rate": round(rate, 6),
            "loss": round(facts.answer / facts.learned, 5),
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


class Facts(NamedTuple):
    """Of one step, summed over the team."""

    learned: float
    """The weights of what was learned."""
    tokens: float
    answer: float
    """The loss, times `learned`."""
    seconds: float
    """The leader's clock."""
    stop: float
    """Above 0 if the leader wants to end."""


def _optimisers(parameters: dict[str, Tensor], plan: Plan) -> list[torch.optim.Optimizer]:
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
