"""What training leaves behind, what it carries from step to step, and how others follow it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
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
"""What a run remembers from step to step beside its weights, by name."""

TARGETS, STREAMED = "early_learning_targets", "streamed_embeddings"
"""(N, ...), what each process remembers of the samples that it has seen; the rest is the same everywhere."""

MANY = 2**20
"""More than there are classes."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did. Shares from 0 to 1; None where there is nothing to say."""

    epoch: int
    """Counted from 0."""
    alpha: float
    """The weight that corrected labels had: 0 before the first correction."""
    learning_rate: float
    loss: float
    """Mean self-learning loss of the training pass."""
    loss_noisy: float
    """Cross-entropy against the noisy labels, unweighted, whatever ``loss`` is trained on."""
    loss_corrected: float | None
    """Cross-entropy against the corrected labels, unweighted."""
    train_accuracy: float
    """Share of training samples for which the network gave the noisy label, during the training pass."""
    memorised: float | None
    """The same among wrongly labelled samples: how much noise the network has memorised."""
    test_accuracy: float
    changed: float | None = None
    """Share of labels that the correction before this epoch changed."""
    chance_changed: float | None = None
    """What that share would be by chance."""
    label_accuracy: float | None = None
    """Share of corrected labels that are right."""
    wrong_to_right: float | None = None
    right_to_wrong: float | None = None
    passed: int | None = None
    """Samples that passed the gate, all classes together."""
    filled: int | None = None
    """Prototypes that did not pass the gate and filled a place."""
    zeros: int | None = None
    """Samples with a zero embedding among those that prototypes were chosen from."""
    seconds_training: float = 0.0
    seconds_correction: float = 0.0


@dataclass(frozen=True)
class Correction:
    """One correction: the labels by sample index, the prototypes they came from, and what changed."""

    labels: Tensor
    prototypes: Prototypes
    report: CorrectionReport
    seconds: float
    epoch: int = 0
    """Epochs that had been trained when it was made."""
    soft: Tensor | None = None
    """(N, K) class probabilities to train on, where labels are soft; else None."""

    def of(self, index: Tensor) -> Tensor:
        """What to train the samples with this index on: (B,) classes, or (B, K) probabilities."""
        return self.labels[index] if self.soft is None else self.soft[index]


@dataclass(frozen=True)
class Result:
    """A finished run. The network that was passed in holds its weights."""

    history: list[EpochRecord]
    correction: Correction | None
    """The correction by the finished network; None for plain cross-entropy."""


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
        """(N,) int64, the last answer to each sample in any process; -1 for samples not seen."""
        last = distributed.largest(self.predicted.clone())
        return torch.where(last < 0, last, last % MANY)

    def merged(self) -> Pass:
        """The pass over the samples of all processes."""
        predicted, sums = distributed.largest(self.predicted.clone()), distributed.total(self.sums.clone())
        return Pass(predicted, sums, self.step, self.seconds)

    def for_this_process(self) -> Pass:
        """A merged pass as each process continues it: process 0 answers for what has been done."""
        if distributed.is_leader():
            return self
        return Pass(torch.full_like(self.predicted, -1), self.sums * 0, self.step, self.seconds)


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
    """The corrected labels in use."""
    under_way: Pass | None = None
    """The training pass of the present epoch, until the epoch is finished."""
    memory: Memory = field(default_factory=dict)
    averaged: AveragedModel | None = None
    """The network with averaged weights; None if nobody asked for it."""

    @property
    def evaluated(self) -> EmbeddingNetwork:
        """The network that embeds and is tested: the averaged one where there is one."""
        return self.network if self.averaged is None else cast(EmbeddingNetwork, self.averaged.module)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def progress(self) -> float:
        """Epochs trained so far, 3.25 say."""
        return self.epoch + (0 if self.under_way is None else self.under_way.step / self.steps)

    def record(self, figures: dict[str, Any], test_accuracy: float) -> None:
        """Enter a finished epoch."""
        self.memory = self.merged_memory()
        self.history.append(make_record(self.epoch, figures, self.correction, test_accuracy=test_accuracy))
        self.schedule.step()
        self.under_way = None

    def merged_memory(self) -> Memory:
        """What is remembered, with the samples that each process has seen in the pass under way."""
        if distributed.world_size() == 1 or self.under_way is None:
            return self.memory
        seen = self.under_way.predicted >= 0
        names = [name for name in (TARGETS, STREAMED) if name in self.memory]
        return self.memory | {name: distributed.merged_rows(self.memory[name], seen) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers, lists and dictionaries, which ``torch.load(weights_only=True)`` takes."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": [asdict(record) for record in self.history],
            "correction": None if self.correction is None else correction_to_dict(self.correction),
            "under_way": None if self.under_way is None else shallow_dict(self.under_way.merged()),
            "memory": self.merged_memory(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from what :meth:`to_dict` gave."""
        device = next(self.network.parameters()).device
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.history[:] = [EpochRecord(**record) for record in saved["history"]]
        self.correction = correction_from_dict(saved["correction"], device) if saved["correction"] else None
        self.memory = on_device(saved["memory"], device)
        if self.averaged is not None:
            self.averaged.load_state_dict(saved["averaged"])
        if saved["under_way"]:
            self.under_way = Pass(**on_device(saved["under_way"], device)).for_this_process()


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


def make_record(
    epoch: int, training: dict[str, Any], correction: Correction | None, *, test_accuracy: float
) -> EpochRecord:
    """Put one epoch's figures together; the time of a correction counts in the first epoch that uses it."""
    figures = dict(training)
    if correction is not None:
        figures |= {name: value for name, value in asdict(correction.report).items() if name != "noisy_accuracy"}
        figures |= {name: int(getattr(correction.prototypes, name).sum()) for name in ("passed", "filled", "zeros")}
        figures["seconds_correction"] = correction.seconds if correction.epoch == epoch else 0.0
    return EpochRecord(epoch=epoch, test_accuracy=test_accuracy, **figures)


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
