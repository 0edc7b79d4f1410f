"""Noisy labels whose truth is known, and the report of what the noise did: rates, transition matrix, plurality."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dsl_teach._validate import require_labels

if TYPE_CHECKING:
    import pandas as pd


LARGEST_PRINTED = 14
"""The most classes whose transition matrix is part of a printed report."""


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """What became of N labels in K classes. Rows are true classes, columns are given labels."""

    requested: float | None
    """The share of labels that was to become wrong; None if nobody asked for one (human labels)."""
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
    def right_label_leads(self) -> Tensor:
        """(K,) bool: among the samples that **are** of class c, is c the commonest label, without a tie?

        A class that occurs neither as a true class nor as a label counts as yes.
        """
        return _diagonal_leads(self.counts)

    @property
    def true_class_leads(self) -> Tensor:
        """(K,) bool: among the samples **labelled** c, is c the commonest true class, without a tie?

        This is the reading that prototypes need: they are chosen among the samples that carry one label. A class
        that occurs neither as a true class nor as a label counts as yes.
        """
        return _diagonal_leads(self.counts.T)

    @property
    def plurality_kept(self) -> bool:
        """Whether both readings hold in every class."""
        return bool(self.right_label_leads.all()) and bool(self.true_class_leads.all())

    def to_frame(self) -> pd.DataFrame:
        """One row a class: samples, wrong labels, the commonest wrong label, and both readings of plurality."""
        import pandas as pd

        wrong = self.counts.clone().fill_diagonal_(0)
        columns = {
            "samples": self.counts.sum(dim=1),
            "labelled_so": self.counts.sum(dim=0),
            "noise_rate": self.class_rates,
            "commonest_wrong_label": wrong.argmax(dim=1).where(wrong.sum(dim=1) > 0, -1),
            "right_label_leads": self.right_label_leads,
            "true_class_leads": self.true_class_leads,
        }
        frame = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
        return frame.rename_axis("class")

    def __str__(self) -> str:
        asked = "not requested" if self.requested is None else f"requested {self.requested:.2%}"
        unknown = f"; {self.num_unknown} of unknown class left out" if self.num_unknown else ""
        return "\n".join(
            [
                f"{self.realised:.2%} of {self.num_samples} labels are wrong ({asked}){unknown}.",
                f"By class from {_least(self.class_rates):.2%} to {_most(self.class_rates):.2%}.",
                _verdict("The right label is the commonest one in", self.right_label_leads),
                _verdict("The true class is the commonest one behind the label in", self.true_class_leads),
                *_matrix_lines(self.transition_matrix),
            ]
        )


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels made wrong on purpose, the truth, and the recipe that tells how.

    Raises:
        ValueError: if the labels do not belong together or are out of range.
    """

    noisy_labels: Tensor
    """(N,) int64, the given labels, on the CPU."""
    clean_labels: Tensor
    """(N,) int64, the true labels, on the CPU; -1 where one is not known."""
    num_classes: int
    """K."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Plain JSON: the name of the noise model, ``noise_rate`` as requested, its other settings, and the seed."""

    def __post_init__(self) -> None:
        _require_pair(self.clean_labels, self.noisy_labels, self.num_classes)

    @property
    def report(self) -> NoiseReport:
        """What the noise did, against the ``noise_rate`` of the recipe."""
        requested = self.recipe.get("noise_rate")
        return noise_report(self.clean_labels, self.noisy_labels, self.num_classes, requested=requested)

    def __str__(self) -> str:
        return f"{self.recipe.get('name', 'labels')}: {self.report}"


def noise_report(
    clean_labels: Tensor, noisy_labels: Tensor, num_classes: int, requested: float | None = None
) -> NoiseReport:
    """Count what became of each class.

    Args:
        clean_labels: (N,) int64, the true labels; -1 where one is not known: that sample is left out.
        noisy_labels: (N,) int64.
        num_classes: K.
        requested: the share of labels that was to become wrong, if there was one.

    Raises:
        ValueError: if labels are of a wrong dtype, length or range, or no true label is known.
    """
    _require_pair(clean_labels, noisy_labels, num_classes)
    clean_labels, noisy_labels = clean_labels.cpu(), noisy_labels.cpu()
    known = clean_labels >= 0
    if not bool(known.any()):
        raise ValueError("clean_labels name the true class of no sample, so there is nothing to report.")
    cells = clean_labels[known] * num_classes + noisy_labels[known]
    counts = torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)
    return NoiseReport(requested=requested, counts=counts, num_unknown=int((~known).sum()))


def transition_matrix(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> Tensor:
    """The transition matrix T, rows clean, columns noisy; see :attr:`NoiseReport.transition_matrix`."""
    return noise_report(clean_labels, noisy_labels, num_classes).transition_matrix


def _diagonal_leads(counts: Tensor) -> Tensor:
    others = counts.clone().fill_diagonal_(-1).amax(dim=1)
    absent = (counts.sum(dim=0) == 0) & (counts.sum(dim=1) == 0)
    return (counts.diagonal() > others) & (counts.diagonal() > 0) | absent


def _verdict(beginning: str, leads: Tensor) -> str:
    lost = (~leads).nonzero().flatten().tolist()
    return f"{beginning} every class." if not lost else f"{beginning} {len(leads) - len(lost)} classes, not in {lost}."


def _matrix_lines(matrix: Tensor) -> list[str]:
    """The transition matrix in whole per cent, if it is small enough to be read."""
    if len(matrix) > LARGEST_PRINTED:
        return []
    rows = [[f"{100 * share:4.0f}" if share == share else "   -" for share in row] for row in matrix.tolist()]
    head = "true \\ label" + "".join(f"{c:4d}" for c in range(len(matrix))) + "   (%)"
    return [head, *(f"{c:12d}" + "".join(row) for c, row in enumerate(rows))]


def _least(rates: Tensor) -> float:
    return float(rates[~rates.isnan()].min())


def _most(rates: Tensor) -> float:
    return float(rates[~rates.isnan()].max())


def _require_pair(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> None:
    known = clean_labels.clamp(min=0).where(clean_labels >= -1, clean_labels)  # -1, unknown, is allowed
    require_labels(known, "clean_labels", length=len(clean_labels), num_classes=num_classes)
    require_labels(noisy_labels, "noisy_labels", length=len(clean_labels), num_classes=num_classes)
