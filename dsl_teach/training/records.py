"""What training leaves behind: one record an epoch, one report a correction, the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from dsl_teach.metrics import CorrectionReport
from dsl_teach.prototypes import Prototypes


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
    """The same among wrongly labelled samples: how much noise the network has learned by heart."""
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
    """Samples with a zero embedding among those prototypes were chosen from."""
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


def make_record(
    epoch: int, training: dict[str, float | None], correction: Correction | None, *, test_accuracy: float
) -> EpochRecord:
    """Put one epoch's figures together; the time of a correction counts in the first epoch that uses it."""
    figures: dict[str, Any] = dict(training)
    if correction is not None:
        figures |= {name: value for name, value in asdict(correction.report).items() if name != "noisy_accuracy"}
        figures |= {name: int(getattr(correction.prototypes, name).sum()) for name in ("passed", "filled", "zeros")}
        figures["seconds_correction"] = correction.seconds if correction.epoch == epoch else 0.0
    return EpochRecord(epoch=epoch, test_accuracy=test_accuracy, **figures)
