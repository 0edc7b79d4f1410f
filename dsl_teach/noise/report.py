"""Noisy labels whose truth is known, and the report of what the noise did: rates, transition matrix, plurality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dsl_teach._validate import require_labels


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """What became of N labels in K classes. Rows are true classes, columns are given labels."""

    counts: Tensor
    """(K, K) int64, how many samples of each true class carry each label."""
    num_unknown: int = 0
    """Samples whose true class is not known (-1): they are left out of everything here."""

    @property
    def num_samples(self) -> int:
        """Samples whose true class is known."""
        return int(self.counts.sum())

    @property
    def realised(self) -> float:
        """The share of labels that is wrong."""
        return 1 - int(self.counts.trace()) / self.num_samples

    @property
    def transition_matrix(self) -> Tensor:
        r"""(K, K) float64, the share of each true class (row) that carries each label (column).

        .. math:: T_{ij} = P(\text{label } j \mid \text{true class } i), \qquad \sum_j T_{ij} = 1

        The row of a class without samples is NaN.
        """
        return self.counts.double() / self.counts.sum(dim=1, keepdim=True)

    @property
    def class_rates(self) -> Tensor:
        """(K,) float64, the share of each true class that carries a wrong label; NaN for a class without samples."""
        return 1 - self.transition_matrix.diagonal()

    @property
    def true_class_leads(self) -> Tensor:
        """(K,) bool: among the samples **labelled** c, is c the commonest true class, without a tie?

        Prototypes need this: they are chosen among the samples that carry one label. A class that occurs neither as
        a true class nor as a label counts as yes.
        """
        right = self.counts.diagonal()
        others = self.counts.clone().fill_diagonal_(-1).amax(dim=0)
        absent = (self.counts.sum(dim=0) == 0) & (self.counts.sum(dim=1) == 0)
        return (right > others) & (right > 0) | absent

    def __str__(self) -> str:
        rates = self.class_rates[~self.class_rates.isnan()]
        unknown = f", {self.num_unknown} of unknown class left out" if self.num_unknown else ""
        lost = (~self.true_class_leads).nonzero().flatten().tolist()
        where = f"in {len(self.counts) - len(lost)} classes, not in {lost}" if lost else "in every class"
        return (
            f"{self.realised:.2%} of {self.num_samples} labels are wrong{unknown}; by class from {rates.min():.2%} to "
            f"{rates.max():.2%}. The true class is the commonest one behind the label {where}."
        )


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels made wrong on purpose, and the truth.

    Raises:
        ValueError: if the labels do not belong together or are out of range.
    """

    noisy_labels: Tensor
    """(N,) int64, the given labels, on the CPU."""
    clean_labels: Tensor
    """(N,) int64, the true labels, on the CPU; -1 where one is not known."""
    num_classes: int
    """K."""

    def __post_init__(self) -> None:
        _require_pair(self.clean_labels, self.noisy_labels, self.num_classes)

    @property
    def report(self) -> NoiseReport:
        """What the noise did."""
        return noise_report(self.clean_labels, self.noisy_labels, self.num_classes)


def noise_report(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> NoiseReport:
    """Count what became of each class.

    Args:
        clean_labels: (N,) int64, the true labels; -1 where one is not known: that sample is left out.
        noisy_labels: (N,) int64.
        num_classes: K.

    Raises:
        ValueError: if labels are of a wrong dtype, length or range, or no true label is known.
    """
    _require_pair(clean_labels, noisy_labels, num_classes)
    clean_labels, noisy_labels = clean_labels.cpu(), noisy_labels.cpu()
    known = clean_labels >= 0
    if not bool(known.any()):
        raise ValueError("clean_labels name the true class of no sample, so there is nothing to report.")
    pairs = clean_labels[known] * num_classes + noisy_labels[known]
    counts = torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)
    return NoiseReport(counts, num_unknown=int((~known).sum()))


def _require_pair(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> None:
    known = clean_labels.clamp(min=0).where(clean_labels >= -1, clean_labels)  # -1, unknown, is allowed
    require_labels(known, "clean_labels", length=len(clean_labels), num_classes=num_classes)
    require_labels(noisy_labels, "noisy_labels", length=len(clean_labels), num_classes=num_classes)
