"""Beyond the paper, to measure density peaks against: random prototypes, class means, neighbours, and a linear head.

Throughout, ``embeddings`` are (N, D), ``noisy_labels`` (N,) int64 below K = ``num_classes``, and ``generator`` is a CPU
generator; without one, one seeded with 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsl_teach._validate import require, require_labels
from dsl_teach.prototypes.density import unit_rows
from dsl_teach.prototypes.selection import Prototypes, no_prototypes, sample_by_class

PENALTIES = tuple(10.0 ** (power / 2) for power in range(-8, 9))
"""Tried as a multiple of the features' mean spread."""


def random_prototypes(
    embeddings: Tensor, noisy_labels: Tensor, *, num_classes: int, p: int, generator: torch.Generator | None = None
) -> Prototypes:
    """Draw p samples of each class at random, as many as density peaks would give; all it has if these are fewer."""
    found = no_prototypes(embeddings, num_classes, p)
    drawn = sample_by_class(noisy_labels, num_classes=num_classes, m=p, generator=generator)
    for c, rows in enumerate(drawn):
        found.embeddings[c, : len(rows)] = embeddings[rows]
        found.index[c, : len(rows)] = rows
        found.count[c] = found.sampled[c] = found.passed[c] = len(rows)
    return found


def class_means(
    embeddings: Tensor, noisy_labels: Tensor, *, num_classes: int, m: int, generator: torch.Generator | None = None
) -> Prototypes:
    r"""One prototype a class that is no sample (``index`` -1): the mean direction of m of its samples, drawn at random.

    .. math:: G_c = \frac{1}{m} \sum_{i=1}^{m} \hat{G}(x_i), \qquad \sigma_c(x) = \cos\bigl(G(x), G_c\bigr)
    """
    found = no_prototypes(embeddings, num_classes, 1)
    drawn = sample_by_class(noisy_labels, num_classes=num_classes, m=m, generator=generator)
    for c, rows in enumerate(drawn):
        if len(rows):
            found.embeddings[c, 0] = unit_rows(embeddings[rows]).mean(dim=0)
            found.count[c] = 1
        found.sampled[c] = found.passed[c] = len(rows)
    return found


def neighbour_scores(
    embeddings: Tensor, noisy_labels: Tensor, rows: Tensor, *, num_classes: int, neighbours: int = 50
) -> Tensor:
    r"""The share of each class among the samples most similar to each one, itself left out.

    .. math:: \sigma_c(x) = \frac{1}{k} \sum_{j \in N_k(x)} \mathbf{1}[y_j = c]

    Only the samples of ``rows``, (M,) int64, may be neighbours; k is ``neighbours``, or M - 1 if that is fewer.

    Returns:
        (N, K) shares, rows sum to 1.

    Raises:
        ValueError: if there are fewer than two candidates, or an embedding is NaN or infinite.
    """
    candidates = unit_rows(embeddings[rows])
    votes = one_hot(noisy_labels[rows], num_classes).to(candidates.dtype)
    k = min(neighbours, len(rows) - 1)
    require(k >= 1, f"A vote of neighbours needs at least two candidates, but there are {len(rows)}.")
    scores = []
    for index in torch.arange(len(embeddings), device=rows.device).split(512):
        similarity = unit_rows(embeddings[index]) @ candidates.T
        similarity.masked_fill_(index[:, None] == rows[None, :], -torch.inf)
        scores.append(votes[similarity.topk(k, dim=1).indices].mean(dim=1))
    return torch.cat(scores)


class RidgeHead(NamedTuple):
    """What a head says of the N samples that it was fitted to, linear in the features."""

    penalty: float
    fitted: Tensor
    """(N, K) scores."""
    left_out: Tensor
    """(N, K) scores of each sample by a head that was fitted without it."""
    weights: Tensor
    """(D, K)."""
    offset: Tensor
    """(K,)."""

    def scores(self, embeddings: Tensor) -> Tensor:
        """(B, K) float64, what the head says of other samples, (B, D)."""
        return embeddings.double() @ self.weights + self.offset


def ridge_head(embeddings: Tensor, noisy_labels: Tensor, *, num_classes: int) -> RidgeHead:
    r"""Ridge regression of the labels, one column a class, on the features; all N leave-one-out fits cost no more.

    .. math:: W = (X^\top X + \lambda I)^{-1} X^\top Y, \qquad f_i = x_i^\top W, \qquad
              h_{ii} = x_i^\top (X^\top X + \lambda I)^{-1} x_i, \qquad
              f_i^{(-i)} = \frac{f_i - h_{ii} y_i}{1 - h_{ii}}

    with X the features and Y the one-hot labels, both less their means. A sample votes for its own label with the
    weight h_ii; f^(-i) takes that vote away. Of 17 penalties the one counts whose leave-one-out scores have the
    smallest squared error against the given labels (PRESS).

    It is computed in float64.

    Raises:
        ValueError: if there are fewer than 3 samples, a feature is not finite, or the labels do not belong to them.

    Source: Allen, "The Relationship between Variable Selection and Data Augmentation and a Method for Prediction",
    Technometrics 1974; Golub, Heath, Wahba, "Generalized Cross-Validation as a Method for Choosing a Good Ridge
    Parameter", Technometrics 1979.
    """
    require_labels(noisy_labels, "noisy_labels", length=len(embeddings), num_classes=num_classes)
    if len(embeddings) < 3 or not bool(embeddings.isfinite().all()):
        raise ValueError(f"A head needs at least 3 samples, here are {len(embeddings)}, and finite embeddings.")
    x, y = embeddings.double(), one_hot(noisy_labels, num_classes).double()
    x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
    spread, directions = torch.linalg.eigh((x - x_mean).T @ (x - x_mean))
    z = (x - x_mean) @ directions  # the features along the axes in which nothing is mixed
    projected, squares = z.T @ (y - y_mean), z.square()
    tried = []
    for penalty in (spread.clamp(min=0).mean().clamp(min=1e-12) * torch.tensor(PENALTIES)).tolist():
        shrunk = 1 / (spread.clamp(min=0) + penalty)
        fitted = z @ (shrunk[:, None] * projected) + y_mean
        leverage = (squares @ shrunk + 1 / len(x))[:, None].clamp(max=1 - 1e-9)
        left_out = (fitted - leverage * y) / (1 - leverage)
        tried.append((penalty, fitted, left_out, shrunk))
    penalty, fitted, left_out, shrunk = min(tried, key=lambda one: float((one[2] - y).square().mean()))
    weights = directions @ (shrunk[:, None] * projected)
    return RidgeHead(penalty, fitted, left_out, weights, y_mean - x_mean @ weights)
