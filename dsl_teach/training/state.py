"""Everything that changes while a network is trained: what a checkpoint holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from dsl_teach.metrics import CorrectionReport
from dsl_teach.prototypes import Prototypes
from dsl_teach.training.distributed import Team
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Correction, EpochRecord

Memory = dict[str, Tensor]
"""What a run remembers from step to step beside its weights, by name: targets, class scores, a transition matrix."""

TARGETS = "early_learning_targets"
"""(N, K), the running mean of the network's answers to each sample; see :mod:`dsl_teach.training.losses`."""

MANY = 2**20
"""More than there are classes."""

BY_SAMPLE = (TARGETS,)
"""What each process remembers of the samples that it has seen; the rest is the same everywhere."""


@dataclass
class Pass:
    """A training pass under way: what it has seen so far, by index, so that it can go on from any step."""

    predicted: Tensor
    """(N,) int64, when a sample was last seen and what the network answered: the step times ``MANY`` plus the class;
    -1 for samples not seen yet. The greatest over processes is the last."""
    sums: Tensor
    """(3,) float64, losses summed over samples: the loss, its part for noisy labels, that for corrected ones."""
    step: int = 0
    """Steps taken."""
    seconds: float = 0.0
    embeddings: Tensor | None = None
    """(N, D), what the network saw in the samples on the way; None if nobody asked for it."""

    @classmethod
    def begin(cls, noisy_labels: Tensor) -> Pass:
        """A pass that has seen nothing yet."""
        return cls(torch.full_like(noisy_labels, -1), noisy_labels.new_zeros(3, dtype=torch.float64))

    def note(self, index: Tensor, logits: Tensor, losses: Tensor, embeddings: Tensor | None = None) -> None:
        """Add one batch: its samples, the network's answers, its mean losses, and embeddings if they are asked for."""
        answers = self.step * MANY + logits.detach().argmax(dim=1)
        self.predicted.scatter_reduce_(0, index, answers, "amax")  # the last, also where a batch holds a sample twice
        self.sums += losses * len(index)
        self.step += 1
        if embeddings is not None:
            if self.embeddings is None:
                self.embeddings = embeddings.new_zeros(len(self.predicted), embeddings.shape[1])
            self.embeddings[index] = embeddings.detach()

    def answers(self, team: Team) -> Tensor:
        """(N,) int64, the last answer to each sample in any process; -1 for samples not seen."""
        last = team.largest(self.predicted.clone())
        return torch.where(last < 0, last, last % MANY)

    def merged(self, team: Team) -> Pass:
        """The pass over the samples of all processes."""
        embeddings = self.embeddings
        if embeddings is not None and not team.alone:
            embeddings = team.total(torch.where((self.predicted >= 0)[:, None], embeddings, 0))
        predicted, sums = team.largest(self.predicted.clone()), team.total(self.sums.clone())
        return Pass(predicted, sums, self.step, self.seconds, embeddings)

    def handed_to(self, team: Team) -> Pass:
        """A merged pass as each process takes it up again: process 0 answers for what has been done."""
        if team.leads:
            return self
        nothing = None if self.embeddings is None else torch.zeros_like(self.embeddings)
        return Pass(torch.full_like(self.predicted, -1), self.sums * 0, self.step, self.seconds, nothing)


@dataclass
class State:
    """A training run between two steps."""

    network: EmbeddingNetwork
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    history: list[EpochRecord] = field(default_factory=list)
    correction: Correction | None = None
    """The corrected labels in use."""
    under_way: Pass | None = None
    """The training pass of the present epoch, until the epoch is finished."""
    memory: Memory = field(default_factory=dict)
    averaged: AveragedModel | None = None
    """The network with averaged weights; None if nobody asked for it."""

    @property
    def frozen(self) -> EmbeddingNetwork:
        """The network that embeds and is tested: the averaged one where there is one."""
        return self.network if self.averaged is None else cast(EmbeddingNetwork, self.averaged.module)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    def finish_epoch(self, record: EpochRecord, correction: Correction | None) -> None:
        """Enter a finished epoch and the labels for the next one."""
        self.schedule.step()
        self.history.append(record)
        self.correction, self.under_way = correction, None

    def to_dict(self, team: Team) -> dict[str, Any]:
        """Plain tensors, numbers, lists and dictionaries, which ``torch.load(weights_only=True)`` takes."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": [asdict(record) for record in self.history],
            "correction": None if self.correction is None else correction_to_dict(self.correction),
            "under_way": None if self.under_way is None else shallow_dict(self.under_way.merged(team)),
            "memory": self.merged_memory(team),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
        }

    def merged_memory(self, team: Team) -> Memory:
        """What is remembered, with the samples that each process has seen in the pass under way."""
        if team.alone or self.under_way is None:
            return self.memory
        seen = self.under_way.predicted >= 0
        names = [name for name in BY_SAMPLE if name in self.memory]
        return self.memory | {name: team.merged(self.memory[name], seen) for name in names}

    def restore(self, saved: dict[str, Any], team: Team, device: torch.device) -> None:
        """Take up what :meth:`to_dict` put down."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.history[:] = [EpochRecord(**record) for record in saved["history"]]
        self.correction = correction_from_dict(saved["correction"], device) if saved["correction"] else None
        self.memory.update(on_device(saved.get("memory", {}), device))  # not in checkpoints of before
        if self.averaged is not None:
            self.averaged.load_state_dict(saved["averaged"])
        self.under_way = None
        if saved["under_way"]:
            self.under_way = Pass(**on_device(saved["under_way"], device)).handed_to(team)


def correction_to_dict(correction: Correction) -> dict[str, Any]:
    """A correction as plain tensors and numbers."""
    parts = {"prototypes": shallow_dict(correction.prototypes), "report": asdict(correction.report)}
    return shallow_dict(correction) | parts


def correction_from_dict(saved: dict[str, Any], device: torch.device) -> Correction:
    """The correction that :func:`correction_to_dict` was given."""
    prototypes = Prototypes(**on_device(saved["prototypes"], device))
    parts = {"prototypes": prototypes, "report": CorrectionReport(**saved["report"])}
    return Correction(**(on_device(saved, device) | parts))


def shallow_dict(x: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as they are."""
    return {part.name: getattr(x, part.name) for part in fields(x)}


def on_device(values: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The same, with tensors moved."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}
