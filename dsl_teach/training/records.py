"""What training leaves behind, what it carries from step to step, and how others follow it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dsl_teach.data.batches import Batch
from dsl_teach.metrics import CorrectionReport
from dsl_teach.prototypes import Prototypes
from dsl_teach.training import distributed
from dsl_teach.training.networks import EmbeddingNetwork

Memory = dict[str, Tensor]
"""What a run remembers of its samples from step to step, by name; (N, ...), each process of those it has seen."""

TARGETS, STREAMED = "early_learning_targets", "streamed_embeddings"

MANY = 2**20  # more than there are classes


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch, counted from 0, did. Shares from 0 to 1; None where there is nothing to say."""

    epoch: int
    alpha: float
    """The weight that corrected labels had: 0 before the first correction."""
    learning_rate: float
    loss: float
    loss_noisy: float
    """Cross-entropy against the noisy labels, unweighted, whatever ``loss`` is trained on."""
    loss_corrected: float | None
    train_accuracy: float
    """Share of training samples for which the network gave the noisy label, during the training pass."""
    memorised: float | None
    """The same among wrongly labelled samples: how much noise the network has memorised."""
    test_accuracy: float
    changed: float | None = None
    """Share of labels that the correction before this epoch changed; and what it would be by chance."""
    chance_changed: float | None = None
    label_accuracy: float | None = None
    """Share of corrected labels that are right."""
    wrong_to_right: float | None = None
    right_to_wrong: float | None = None
    passed: int | None = None
    """Samples that passed the gate; prototypes that did not; zero embeddings among the candidates."""
    filled: int | None = None
    zeros: int | None = None
    seconds_training: float = 0.0
    seconds_correction: float = 0.0


@dataclass(frozen=True)
class Correction:
    """One correction, after so many epochs: labels by sample index, the prototypes they came from, what changed."""

    labels: Tensor
    prototypes: Prototypes
    report: CorrectionReport
    seconds: float
    epoch: int = 0


@dataclass(frozen=True)
class Result:
    """A finished run: its records, and the correction by the finished network; None for plain cross-entropy."""

    history: list[EpochRecord]
    correction: Correction | None


@dataclass
class Pass:
    """A training pass under way: what it has seen so far, by index, so that it can go on from any step."""

    predicted: Tensor
    """(N,) int64, when a sample was last seen and what the network answered: the step times ``MANY`` plus the class;
    -1 for samples not seen yet. The greatest over processes is the last."""
    sums: Tensor
    """(3,) float64, summed over samples: the loss, and unweighted cross-entropy against noisy and corrected labels."""
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, noisy_labels: Tensor) -> Pass:
        """A pass that has seen nothing yet."""
        return cls(torch.full_like(noisy_labels, -1), noisy_labels.new_zeros(3, dtype=torch.float64))

    def note(self, index: Tensor, logits: Tensor, losses: Tensor) -> None:
        """Add one batch: its samples, the network's answers, and its mean losses."""
        answers = self.step * MANY + logits.detach().argmax(dim=1)
        self.predicted.scatter_reduce_(0, index, answers, "amax")  # the last, also where a batch holds a sample twice
        self.sums += losses * len(index)
        self.step += 1

    def answers(self) -> Tensor:
        """(N,) int64, the last answer to each sample; -1 for samples not seen."""
        return torch.where(self.predicted < 0, -1, self.predicted % MANY)

    def merged(self) -> Pass:
        """The pass of all processes."""
        predicted, sums = distributed.largest(self.predicted.clone()), distributed.total(self.sums.clone())
        return Pass(predicted, sums, self.step, self.seconds)


@dataclass
class State:
    """A training run between two steps: everything that changes, and so what a checkpoint holds."""

    network: EmbeddingNetwork
    learner: nn.Module
    """The network to train: of several processes, one that averages gradients over them."""
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    steps: int
    """Steps an epoch."""
    history: list[EpochRecord] = field(default_factory=list)
    correction: Correction | None = None
    under_way: Pass | None = None
    """The training pass of the present epoch, until the epoch is finished."""
    memory: Memory = field(default_factory=dict)
    averaged: AveragedModel | None = None

    @property
    def evaluated(self) -> EmbeddingNetwork:
        """The network that embeds and is tested: the averaged one where there is one."""
        return self.network if self.averaged is None else cast(EmbeddingNetwork, self.averaged.module)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def step(self) -> int:
        """Steps of the present epoch."""
        return self.under_way.step if self.under_way else 0

    @property
    def progress(self) -> float:
        """Epochs trained so far, 3.25 say."""
        return self.epoch + self.step / self.steps

    def record(self, figures: dict[str, Any], test_accuracy: float) -> None:
        """Enter a finished epoch; the time of a correction counts in the first epoch that uses it."""
        made, all_figures = self.correction, dict(figures)
        if made is not None:
            all_figures |= {name: x for name, x in asdict(made.report).items() if name != "noisy_accuracy"}
            all_figures |= {name: int(getattr(made.prototypes, name).sum()) for name in ("passed", "filled", "zeros")}
            all_figures["seconds_correction"] = made.seconds if made.epoch == self.epoch else 0.0
        self.memory = self.merged_memory()
        self.history.append(EpochRecord(epoch=self.epoch, test_accuracy=test_accuracy, **all_figures))
        self.schedule.step()
        self.under_way = None

    def merged_memory(self) -> Memory:
        """What is remembered, of all processes: each has seen other samples in the pass under way."""
        if distributed.world_size() == 1 or self.under_way is None:
            return self.memory
        seen = self.under_way.predicted >= 0
        return {name: distributed.merged_rows(rows, seen) for name, rows in self.memory.items()}

    def _parts(self) -> dict[str, Any]:
        parts = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts if self.averaged is None else parts | {"averaged": self.averaged}

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: plain values, tensors, and objects of the classes in :data:`SAVED`."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            **{"history": self.history, "correction": self.correction, "memory": self.merged_memory()},
            "under_way": None if self.under_way is None else self.under_way.merged(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from what :meth:`to_dict` gave, its tensors on the device of the network."""
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.history, self.correction, self.memory = saved["history"], saved["correction"], saved["memory"]
        self.under_way = saved["under_way"]
        if self.under_way and not distributed.is_leader():  # which answers for what has been done
            self.under_way.predicted.fill_(-1)
            self.under_way.sums.zero_()


SAVED = (EpochRecord, Correction, Prototypes, CorrectionReport, Pass)  # what a checkpoint may hold beside tensors


class Callback:
    """What surrounds training: saving, stopping, progress. Each method is called at its moment, and idle here."""

    def on_train_begin(self, state: State) -> None:
        """Before the first step."""

    def on_batch_end(self, state: State, batch: Batch, embeddings: Tensor) -> None:
        """After each training step, with the samples of this process and what the network saw in them, (B, D)."""

    def on_epoch_end(self, state: State) -> None:
        """After each epoch; its record is ``state.history[-1]``."""

    def on_train_end(self, state: State) -> None:
        """After the last correction."""


def announce(callbacks: Iterable[Callback], moment: str, *what: Any) -> None:
    """Call one method of every callback, in their order."""
    for callback in callbacks:
        getattr(callback, moment)(*what)
