"""Beyond the paper: random prototypes, class means and a vote of neighbours, to measure density peaks against.

Throughout, ``embeddings`` are (N, D), ``noisy_labels`` (N,) int64 below K = ``num_classes``, and ``generator`` is a CPU
generator; without one, one seeded with 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsl_teach._validate import require
from dsl_teach.prototypes.density import unit_rows
from dsl_teach.prototypes.selection import Prototypes, no_prototypes, sample_by_class


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
