"""Labels by the vote of the prototypes: the class scores sigma and the corrected labels.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.prototypes.density import _require_matrix, unit_rows
from dsl_teach.prototypes.selection import Prototypes

ScoreTies = Literal["noisy", "lowest"]


def class_scores(embeddings: Tensor, prototypes: Prototypes, *, chunk_size: int = 8192) -> Tensor:
    r"""How much each sample resembles each class: the mean of its cosines to the class's prototypes.

    .. math:: \sigma_c(x) = \frac{1}{p} \sum_{l=1}^{p} \cos\bigl(G(x), G(x_{cl})\bigr)
              = \hat{G}(x)^\top \; \frac{1}{p} \sum_{l=1}^{p} \hat{G}(x_{cl})

    The mean, not the maximum, so that the prototypes vote. A cosine is linear in the scaled sample: the p cosines
    never have to be computed one by one. A class without prototypes scores minus infinity.

    Args:
        embeddings: (N, D).
        prototypes: from :func:`dsl_teach.prototypes.selection.select_prototypes`.
        chunk_size: rows scaled at a time; memory beyond the result does not grow with N.

    Returns:
        (N, K) scores.

    Raises:
        ValueError: if the shapes do not fit, or an embedding is NaN or infinite.
    """
    scores = [chunk for _, chunk in _scores_in_chunks(embeddings, prototypes, chunk_size)]
    return torch.cat(scores) if scores else embeddings.new_zeros(0, len(prototypes.count))


def correct_labels(
    embeddings: Tensor,
    prototypes: Prototypes,
    noisy_labels: Tensor,
    *,
    score_ties: ScoreTies = "noisy",
    chunk_size: int = 8192,
    scores: Tensor | None = None,
) -> Tensor:
    r"""Give every sample the label of the class it resembles most.

    .. math:: \hat{y} = \arg\max_c \sigma_c

    Args:
        embeddings: (N, D).
        prototypes: from :func:`dsl_teach.prototypes.selection.select_prototypes`.
        noisy_labels: (N,) int64.
        score_ties: if several classes share the best score, keep the ``"noisy"`` label where it is one of them,
            else take the lowest class; or take the ``"lowest"`` always.
        chunk_size: rows at a time; memory beyond the result does not grow with N.

    Returns:
        (N,) int64, the corrected labels, in the order of ``embeddings``.

    Raises:
        ValueError: if a shape, a label or ``score_ties`` is wrong, or an embedding is NaN or infinite.
    """
    if score_ties not in ("noisy", "lowest"):
        raise ValueError(f"score_ties must be 'noisy' or 'lowest', but it is {score_ties!r}.")
    require_labels(noisy_labels, "noisy_labels", length=len(embeddings), num_classes=len(prototypes.count))
    if scores is not None:
        return best_class(scores, noisy_labels if score_ties == "noisy" else None)
    corrected_labels = torch.empty_like(noisy_labels)
    for rows, scores in _scores_in_chunks(embeddings, prototypes, chunk_size):
        corrected_labels[rows] = best_class(scores, noisy_labels[rows] if score_ties == "noisy" else None)
    return corrected_labels


def best_class(scores: Tensor, noisy_labels: Tensor | None = None) -> Tensor:
    """The class with the greatest score; of several the noisy label if it is one of them, else the lowest.

    Args:
        scores: (N, K).
        noisy_labels: (N,) int64, or None to take the lowest class in every tie.

    Returns:
        (N,) int64.
    """
    is_best = scores == scores.amax(dim=1, keepdim=True)
    lowest_best = is_best.to(torch.uint8).argmax(dim=1)  # argmax of a 0/1 row: the first 1
    if noisy_labels is None:
        return lowest_best
    return torch.where(is_best.gather(1, noisy_labels[:, None]).squeeze(1), noisy_labels, lowest_best)


def suspicion(scores: Tensor, noisy_labels: Tensor) -> Tensor:
    r"""How doubtful each given label is: how far the best other class is ahead of it.

    .. math:: u = \max_{c \ne y} \sigma_c - \sigma_y

    Above 0 another class scores best, and the corrected label is that class; below 0 the given label stands. Samples
    sorted from large to small are a list to look through by hand, the likeliest mistakes first.

    Args:
        scores: (N, K) class scores, from :func:`class_scores`.
        noisy_labels: (N,) int64, the given labels.

    Returns:
        (N,) of the dtype of ``scores``; plus infinity where the given class has no prototypes and another has.

    Raises:
        ValueError: if the shapes do not fit, or a label is no class.
    """
    if scores.ndim != 2:
        raise ValueError(f"scores must be a table of samples by classes, but their shape is {tuple(scores.shape)}.")
    require_labels(noisy_labels, "noisy_labels", length=len(scores), num_classes=scores.shape[1])
    given = scores.gather(1, noisy_labels[:, None]).squeeze(1)
    others = scores.scatter(1, noisy_labels[:, None], -torch.inf).amax(dim=1)
    return torch.where(others == given, 0, others - given)  # where both are minus infinity nothing is known


def class_votes(prototypes: Prototypes) -> Tensor:
    r"""The mean direction of each class's prototypes: all that the class scores need to know of them.

    .. math:: v_c = \frac{1}{p} \sum_{l=1}^{p} \hat{G}(x_{cl})

    Returns:
        (K, D); NaN for a class without prototypes.
    """
    return unit_rows(prototypes.embeddings).sum(dim=1) / prototypes.count[:, None]


def vote_scores(embeddings: Tensor, votes: Tensor, *, chunk_size: int = 8192) -> Tensor:
    r"""Class scores from mean directions, of these prototypes or of a running mean of former ones.

    .. math:: \sigma_c(x) = \hat{G}(x)^\top v_c

    Args:
        embeddings: (N, D).
        votes: (K, D), from :func:`class_votes`.
        chunk_size: rows at a time.

    Returns:
        (N, K); minus infinity for a class whose votes are NaN.
    """
    directions = votes.nan_to_num().to(torch.promote_types(votes.dtype, embeddings.dtype))
    scores = torch.cat([unit_rows(x).to(directions.dtype) @ directions.T for x in embeddings.split(chunk_size)])
    return scores.masked_fill(votes.isnan().any(dim=1), -torch.inf)


def soft_labels(scores: Tensor, temperature: float) -> Tensor:
    r"""Corrected labels that say how sure they are.

    .. math:: \hat{y}_c = \frac{\exp(\sigma_c / \tau)}{\sum_k \exp(\sigma_k / \tau)}

    Args:
        scores: (N, K), sigma; minus infinity for a class that cannot be assigned.
        temperature: tau, above 0; near 0 the labels are hard.

    Returns:
        (N, K), rows sum to 1.

    Raises:
        ValueError: if ``temperature`` is not above 0.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, but it is {temperature}.")
    return torch.softmax((scores - scores.amax(dim=1, keepdim=True)) / temperature, dim=1)  # never inf - inf


def keep_unless_beaten(scores: Tensor, noisy_labels: Tensor, corrected_labels: Tensor, margin: float) -> Tensor:
    r"""Change a label only if its score is clearly beaten.

    .. math:: \hat{y} = y \quad \text{if} \quad \max_c \sigma_c - \sigma_y \le \text{margin}

    Args:
        scores: (N, K), sigma.
        noisy_labels: (N,) int64.
        corrected_labels: (N,) int64, the classes with the best scores.
        margin: 0 or more.

    Returns:
        (N,) int64.
    """
    given = scores.gather(1, noisy_labels[:, None]).squeeze(1)
    return torch.where(scores.amax(dim=1) - given > margin, corrected_labels, noisy_labels)


def _scores_in_chunks(embeddings: Tensor, prototypes: Prototypes, chunk_size: int) -> Iterator[tuple[slice, Tensor]]:
    _require_matrix(embeddings)
    features = prototypes.embeddings.shape[2]
    if embeddings.shape[1] != features:
        raise ValueError(f"embeddings have {embeddings.shape[1]} features, but the prototypes have {features}.")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, but it is {chunk_size}.")
    votes = unit_rows(prototypes.embeddings).sum(dim=1)  # empty places are zero rows: they add nothing
    votes = votes.to(torch.promote_types(votes.dtype, embeddings.dtype))
    empty = prototypes.count == 0
    for start in range(0, len(embeddings), chunk_size):
        rows = slice(start, min(start + chunk_size, len(embeddings)))
        scores = unit_rows(embeddings[rows]).to(votes.dtype) @ votes.T
        yield rows, (scores / prototypes.count).masked_fill(empty, -torch.inf)
