"""What a run is judged by: accuracies, what correction did to the labels, and intervals over seeds.

Everywhere labels are (N,) int64, those below 0 are unknown and left out, and shares go from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dsl_teach._validate import require, require_labels, tensor


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """The share of samples whose predicted label is the given one; NaN if no label is known."""
    predicted, labels = tensor(predicted, "predicted"), tensor(labels, "labels")
    told = f"There must be one prediction a label, but there are {tuple(predicted.shape)} and {tuple(labels.shape)}."
    require(predicted.shape == labels.shape, told)
    known = labels >= 0
    return float((predicted == labels)[known].double().mean())


def class_shares(labels: Tensor, num_classes: int) -> Tensor:
    """(K,) the share of the labels that each class has."""
    labels = tensor(labels, "labels")
    known = labels[labels >= 0]
    require_labels(known, "labels", length=len(known), num_classes=num_classes)
    counts = torch.bincount(known, minlength=num_classes).double()
    return counts / counts.sum()


def chance_changed(noisy_labels: Tensor, corrected_labels: Tensor, num_classes: int) -> float:
    r"""The share of labels that would change if corrected labels were dealt out without looking at the samples.

    .. math:: 1 - \sum_c q_c \hat{q}_c

    with q_c the share of class c among the noisy labels and its hat the share among the corrected ones. A share
    changed near this level says that the corrected labels belong to other samples.
    """
    return float(1 - class_shares(noisy_labels, num_classes) @ class_shares(corrected_labels, num_classes))


@dataclass(frozen=True)
class CorrectionReport:
    """What a correction did to the labels, all as shares.

    The last four are None without clean labels, and else count the samples whose clean label is known.
    """

    changed: float
    """Share of samples whose corrected label differs from the noisy one."""
    chance_changed: float
    """What ``changed`` would be by chance, see :func:`chance_changed`."""
    noisy_accuracy: float | None = None
    """Share of noisy labels that are right."""
    label_accuracy: float | None = None
    """Share of corrected labels that are right."""
    wrong_to_right: float | None = None
    """Share of samples whose label was fixed: wrong before, right now."""
    right_to_wrong: float | None = None
    """Share of samples whose label was broken: right before, wrong now."""


def correction_report(
    noisy_labels: Tensor, corrected_labels: Tensor, clean_labels: Tensor | None, *, num_classes: int
) -> CorrectionReport:
    """Compare corrected labels with the noisy ones and, where they are known, with the clean ones.

    Raises:
        ValueError: if there is not one of each a sample, or a label is no class.
    """
    noisy_labels, corrected_labels = tensor(noisy_labels), tensor(corrected_labels)
    clean_labels = None if clean_labels is None else tensor(clean_labels)
    lengths = {len(x) for x in (noisy_labels, corrected_labels, clean_labels) if x is not None}
    require(len(lengths) == 1, f"There must be one label of each kind a sample, but there are {sorted(lengths)}.")
    changed = float((corrected_labels != noisy_labels).double().mean())
    chance = chance_changed(noisy_labels, corrected_labels, num_classes)
    if clean_labels is None or not bool((clean_labels >= 0).any()):
        return CorrectionReport(changed, chance)
    known = clean_labels >= 0
    was_right, is_right = (noisy_labels == clean_labels)[known], (corrected_labels == clean_labels)[known]
    shares = (was_right, is_right, ~was_right & is_right, was_right & ~is_right)
    return CorrectionReport(changed, chance, *(float(share.double().mean()) for share in shares))


@dataclass(frozen=True)
class Interval:
    """A mean over n seeds and its confidence interval, ``mean - half`` to ``mean + half``."""

    mean: float
    half: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.half:.1f}"


def interval(values: Sequence[float]) -> Interval:
    r"""The mean over seeds, one value a seed, with Student's t interval of 95 %.

    .. math:: \bar{x} \pm t_{n-1} \, s / \sqrt{n}

    Of a single value, ``half`` is NaN.

    Raises:
        ValueError: if there is no value, or one is no number.
    """
    x = np.asarray(values, dtype=float)
    require(x.size > 0, "An interval needs at least one value, one a seed.")
    require(bool(np.isfinite(x).all()), f"An interval needs numbers, but the values are {values}.")
    if x.size == 1:
        return Interval(float(x[0]), float("nan"), 1)
    from scipy import stats  # takes a second to import

    t = stats.t.ppf(0.975, df=x.size - 1)
    return Interval(float(x.mean()), float(t * x.std(ddof=1) / np.sqrt(x.size)), x.size)


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """The mean of ours minus theirs on the same seeds, with its interval.

    Pairing takes out what both share (the noise, the split, the first weights), so fewer seeds are needed.

    Raises:
        ValueError: if the two do not hold the same number of seeds.
    """
    told = f"Paired figures need the same seeds: there are {len(ours)} and {len(theirs)} values."
    require(len(ours) == len(theirs), told)
    return interval(np.subtract(ours, theirs).tolist())
