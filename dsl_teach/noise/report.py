"""Noisy labels whose truth is known, and the report of what the noise did: rates, transition matrix, plurality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dsl_teach._validate import require, require_labels, tensor


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """What became of the labels of K classes, where the true class is known."""

    counts: Tensor
    """(K, K) int64, how many samples of each true class (row) carry each label (column)."""

    @property
    def realised(self) -> float:
        """The share of labels that is wrong."""
        return 1 - int(self.counts.trace()) / int(self.counts.sum())

    @property
    def transition_matrix(self) -> Tensor:
        r"""(K, K) float64, the share of each true class (row) that carries each label (column).

        .. math:: T_{ij} = P(\text{label } j \mid \text{true class } i), \qquad \sum_j T_{ij} = 1

        The row of a class without samples is NaN.
        """
        return self.counts.double() / self.counts.sum(dim=1, keepdim=True)

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


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels made wrong on purpose, and the truth."""

    noisy_labels: Tensor
    """(N,) int64, the given labels, on the CPU."""
    clean_labels: Tensor
    """(N,) int64, the true labels, on the CPU."""
    num_classes: int
    """K."""

    @property
    def report(self) -> NoiseReport:
        """What the noise did."""
        return noise_report(self.clean_labels, self.noisy_labels, self.num_classes)


def noise_report(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> NoiseReport:
    """Count what became of each class. Labels are (N,) int64; a true one below 0 is not known, and left out.

    Raises:
        ValueError: if labels are of a wrong dtype, length or range, or no true label is known.
    """
    clean_labels, n = tensor(clean_labels, "clean_labels").cpu(), len(clean_labels)
    require_labels(clean_labels.clamp(min=0), "clean_labels", length=n, num_classes=num_classes)
    noisy_labels = require_labels(noisy_labels, "noisy_labels", length=n, num_classes=num_classes).cpu()
    known = clean_labels >= 0
    require(bool(known.any()), "clean_labels name the true class of no sample, so there is nothing to report.")
    pairs = (clean_labels * num_classes + noisy_labels)[known]
    return NoiseReport(torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes))
