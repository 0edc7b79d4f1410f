"""Labels by the vote of the prototypes: the class scores sigma and the corrected labels.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, section 3.2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dsl_teach._validate import require_labels, require_matrix
from dsl_teach.prototypes.density import unit_rows
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
    require_matrix(embeddings)
    features = prototypes.embeddings.shape[2]
    if embeddings.shape[1] != features:
        raise ValueError(f"embeddings have {embeddings.shape[1]} features, but the prototypes have {features}.")
    _require_chunk(chunk_size)
    votes = unit_rows(prototypes.embeddings).sum(dim=1)  # empty places are zero rows: they add nothing
    votes = votes.to(torch.promote_types(votes.dtype, embeddings.dtype))
    sums = torch.cat([unit_rows(rows).to(votes.dtype) @ votes.T for rows in embeddings.split(chunk_size)])
    return sums.div_(prototypes.count).masked_fill_(prototypes.count == 0, -torch.inf)


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
        chunk_size: rows scored at a time; memory beyond the result does not grow with N.
        scores: (N, K) to decide by, known already or from elsewhere; the embeddings are then only counted. None:
            :func:`class_scores`.

    Returns:
        (N,) int64, the corrected labels, in the order of ``embeddings``.

    Raises:
        ValueError: if a shape, a label or ``score_ties`` is wrong, or an embedding or a score is not a number.
    """
    if score_ties not in ("noisy", "lowest"):
        raise ValueError(f"score_ties must be 'noisy' or 'lowest', but it is {score_ties!r}.")
    require_labels(noisy_labels, "noisy_labels", length=len(embeddings), num_classes=len(prototypes.count))
    _require_chunk(chunk_size)
    if scores is None:  # a part at a time: memory beyond the labels does not grow with N
        parts = zip(embeddings.split(chunk_size), noisy_labels.split(chunk_size), strict=True)
        labels = [best_class(class_scores(x, prototypes), y if score_ties == "noisy" else None) for x, y in parts]
        return torch.cat(labels) if labels else noisy_labels.clone()
    if scores.shape != (len(embeddings), len(prototypes.count)) or bool(scores.isnan().any()):
        raise ValueError(
            f"scores must hold a number for each of {len(embeddings)} samples and {len(prototypes.count)} classes, but "
            f"they are of shape {tuple(scores.shape)}, with NaN in {int(scores.isnan().sum())} entries."
        )
    return best_class(scores, noisy_labels if score_ties == "noisy" else None)


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


def label_margin(scores: Tensor, noisy_labels: Tensor) -> Tensor:
    r"""How well each given label stands: how far it is ahead of the best other class. Low is doubtful.

    .. math:: \text{margin} = \sigma_y - \max_{c \ne y} \sigma_c

    Below 0 another class scores best, and the corrected label is that class; above 0 the given label stands. Samples
    sorted from small to large are a list to look through by hand, the likeliest mistakes first.

    Args:
        scores: (N, K) class scores, from :func:`class_scores`.
        noisy_labels: (N,) int64, the given labels.

    Returns:
        (N,) of the dtype of ``scores``; minus infinity where the given class has no prototypes and another has, 0
        where no class has any.

    Raises:
        ValueError: if the shapes do not fit, or a label is no class.
    """
    if scores.ndim != 2:
        raise ValueError(f"scores must be a table of samples by classes, but their shape is {tuple(scores.shape)}.")
    require_labels(noisy_labels, "noisy_labels", length=len(scores), num_classes=scores.shape[1])
    given = scores.gather(1, noisy_labels[:, None]).squeeze(1)
    others = scores.scatter(1, noisy_labels[:, None], -torch.inf).amax(dim=1)
    return torch.where(given == others, 0, given - others)  # where both are minus infinity nothing is known


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


def _require_chunk(chunk_size: int) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, but it is {chunk_size}.")
