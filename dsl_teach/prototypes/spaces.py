"""Other spaces to take cosines in: embeddings centred, or whitened by their spread within classes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.prototypes.density import _require_matrix


class ClassSums(NamedTuple):
    """Sums over samples, class by class; those of several groups of samples may be added up. Float64."""

    size: Tensor
    """(K,), samples of each class."""
    first: Tensor
    """(K, D), the sum of each class's embeddings."""
    second: Tensor
    """(D, D), the sum of the outer products of all embeddings with themselves."""

    @property
    def means(self) -> Tensor:
        """(K, D), mu_c; zero for a class without samples."""
        return self.first / self.size.clamp(min=1)[:, None]

    @property
    def middle(self) -> Tensor:
        r"""(D,), the mean of the class means: each class counts the same, however large it is."""
        return self.means[self.size > 0].mean(dim=0)

    @property
    def within(self) -> Tensor:
        r"""(D, D), the covariance within classes.

        .. math:: W = \frac{1}{N} \sum_i (x_i - \mu_{y_i}) (x_i - \mu_{y_i})^\top
                    = \frac{1}{N} \Bigl( \sum_i x_i x_i^\top - \sum_c n_c \mu_c \mu_c^\top \Bigr)
        """
        return (self.second - self.first.T @ self.means) / self.size.sum()


def class_sums(embeddings: Tensor, noisy_labels: Tensor, *, num_classes: int, chunk_size: int = 8192) -> ClassSums:
    """Add up embeddings and their outer products.

    Args:
        embeddings: (N, D).
        noisy_labels: (N,) int64.
        num_classes: K.
        chunk_size: rows raised to float64 at a time.

    Raises:
        ValueError: if a shape or a label is out of range.
    """
    _require_matrix(embeddings)
    require_labels(noisy_labels, "noisy_labels", length=len(embeddings), num_classes=num_classes)
    features = embeddings.shape[1]
    size = torch.bincount(noisy_labels, minlength=num_classes).double()
    first, second = size.new_zeros(num_classes, features), size.new_zeros(features, features)
    for x, labels in zip(embeddings.split(chunk_size), noisy_labels.split(chunk_size), strict=True):
        rows = x.double()
        first.index_add_(0, labels, rows)
        second += rows.T @ rows
    return ClassSums(size, first, second)


def centred(embeddings: Tensor, sums: ClassSums) -> Tensor:
    r"""Subtract the middle of the classes.

    .. math:: x' = x - \frac{1}{K} \sum_c \mu_c

    After a ReLU all embeddings lie in one corner of space and all cosines are large; seen from the middle they
    point in different directions.

    Args:
        embeddings: (N, D).
        sums: of the samples that say where the middle is.

    Returns:
        (N, D), float32 at least.
    """
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    return rows - sums.middle.to(rows.dtype)


def whitened(embeddings: Tensor, sums: ClassSums, *, shrinkage: float = 0.1) -> Tensor:
    r"""Centre, and scale every direction by the spread within classes: what varies inside a class counts less.

    .. math:: x' = \Bigl((1 - s) W + s \, \frac{\mathrm{tr} W}{D} I\Bigr)^{-1/2} (x - \bar\mu)

    Args:
        embeddings: (N, D).
        sums: of the samples that say how classes spread.
        shrinkage: s, how far W is drawn towards a sphere, so that directions without spread do not explode.

    Returns:
        (N, D), float32 at least.

    Raises:
        ValueError: if ``shrinkage`` is outside (0, 1].
    """
    if not 0 < shrinkage <= 1:
        raise ValueError(f"shrinkage must be above 0 and at most 1, but it is {shrinkage}.")
    within = sums.within
    sphere = torch.eye(len(within), dtype=within.dtype, device=within.device) * within.trace() / len(within)
    spread, directions = torch.linalg.eigh((1 - shrinkage) * within + shrinkage * sphere)
    rounding = 1e-15 * sums.second.trace() / sums.size.sum()  # classes of one point each: no spread but this
    scale = spread.clamp(min=rounding).clamp(min=torch.finfo(torch.float32).tiny).rsqrt()
    moved = centred(embeddings, sums)
    return moved @ (directions * scale @ directions.T).to(moved.dtype)
