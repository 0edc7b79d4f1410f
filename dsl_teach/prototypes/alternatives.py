"""What density peaks are measured against: random prototypes, class means, a vote of neighbours.

Each gives class scores of the same shape on the same embeddings, so that only the choice differs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsl_teach.prototypes.density import unit_rows
from dsl_teach.prototypes.selection import Prototypes, no_prototypes, sample_by_class


def random_prototypes(
    embeddings: Tensor, noisy_labels: Tensor, *, num_classes: int, p: int, generator: torch.Generator | None = None
) -> Prototypes:
    """Draw p samples of each class at random: as many as density peaks would give, without looking at any.

    Args:
        embeddings: (N, D).
        noisy_labels: (N,) int64.
        num_classes: K.
        p: prototypes a class; a class with fewer samples gives all it has.
        generator: a CPU generator; without one, one seeded with 0.
    """
    found = no_prototypes(embeddings, num_classes, p)
    drawn = sample_by_class(noisy_labels, num_classes=num_classes, m=p, generator=generator)
    for c, rows in enumerate(rows.to(embeddings.device) for rows in drawn):
        places = slice(0, len(rows))
        found.embeddings[c, places] = embeddings[rows].to(found.embeddings.dtype)
        found.index[c, places] = rows
        found.count[c] = found.sampled[c] = found.passed[c] = len(rows)
    return found


def class_means(
    embeddings: Tensor,
    noisy_labels: Tensor,
    *,
    num_classes: int,
    m: int,
    generator: torch.Generator | None = None,
) -> Prototypes:
    r"""One prototype a class that is no sample: the mean direction of m of its samples.

    .. math:: G_c = \frac{1}{m} \sum_{i=1}^{m} \hat{G}(x_i), \qquad \sigma_c(x) = \cos\bigl(G(x), G_c\bigr)

    Args:
        embeddings: (N, D).
        noisy_labels: (N,) int64.
        num_classes: K.
        m: samples a class, drawn at random.
        generator: a CPU generator; without one, one seeded with 0.

    Returns:
        Prototypes with one place a class; its ``index`` is -1, because no sample stands there.
    """
    found = no_prototypes(embeddings, num_classes, 1)
    drawn = sample_by_class(noisy_labels, num_classes=num_classes, m=m, generator=generator)
    for c, rows in enumerate(rows.to(embeddings.device) for rows in drawn):
        if len(rows):
            found.embeddings[c, 0] = unit_rows(embeddings[rows]).mean(dim=0).to(found.embeddings.dtype)
        found.sampled[c] = found.passed[c] = len(rows)
    return replace(found, count=(found.sampled > 0).long())


def neighbour_scores(
    embeddings: Tensor,
    index: Tensor,
    candidates: Tensor,
    candidate_labels: Tensor,
    candidate_index: Tensor,
    *,
    num_classes: int,
    neighbours: int = 50,
    chunk_size: int = 512,
) -> Tensor:
    r"""The share of each class among the samples most similar to each one, itself left out.

    .. math:: \sigma_c(x) = \frac{1}{k} \sum_{j \in N_k(x)} \mathbf{1}[y_j = c]

    Args:
        embeddings: (N, D).
        index: (N,) int64, which samples they are.
        candidates: (M, D), the samples that may be neighbours.
        candidate_labels: (M,) int64, their noisy labels.
        candidate_index: (M,) int64, which samples they are.
        num_classes: K.
        neighbours: k, how many vote; of fewer candidates all but one vote.
        chunk_size: rows compared with all candidates at a time.

    Returns:
        (N, K) shares, rows sum to 1.

    Raises:
        ValueError: if there are fewer than two candidates, or an embedding is NaN or infinite.
    """
    others = unit_rows(candidates)
    votes = one_hot(candidate_labels, num_classes).to(others.dtype)
    k = min(neighbours, len(others) - 1)
    if k < 1:
        raise ValueError(f"A vote of neighbours needs at least two candidates, but there are {len(others)}.")
    scores = []
    for x, rows in zip(embeddings.split(chunk_size), index.split(chunk_size), strict=True):
        similarity = unit_rows(x).to(others.dtype) @ others.T
        similarity.masked_fill_(rows[:, None] == candidate_index[None, :], -torch.inf)
        scores.append(votes[similarity.topk(k, dim=1).indices].mean(dim=1))
    return torch.cat(scores)
