"""Labels by the vote of the prototypes: the class scores sigma and the corrected labels.

Everywhere embeddings G(x) are (N, D), noisy labels y are (N,) int64 below K, scores sigma are (N, K), and prototypes
come from :func:`dsl_teach.prototypes.selection.select_prototypes`.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, section 3.2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dsl_teach._validate import require, require_labels, require_matrix, require_scores
from dsl_teach.prototypes.density import unit_rows
from dsl_teach.prototypes.selection import Prototypes

CHUNK = 8192
"""Rows scored at a time, so that memory beyond the result does not grow with N."""


def class_scores(embeddings: Tensor, prototypes: Prototypes) -> Tensor:
    r"""How much each sample resembles each class: the mean of its cosines to the class's prototypes.

    .. math:: \sigma_c(x) = \frac{1}{p} \sum_{l=1}^{p} \cos\bigl(G(x), G(x_{cl})\bigr)
              = \hat{G}(x)^\top \; \frac{1}{p} \sum_{l=1}^{p} \hat{G}(x_{cl})

    The mean, not the maximum, so that the prototypes vote. A cosine is linear in the scaled sample: the p cosines
    never have to be computed one by one. A class without prototypes scores minus infinity.

    Raises:
        ValueError: if the shapes do not fit, or an embedding is NaN or infinite.
    """
    embeddings, features = require_matrix(embeddings), prototypes.embeddings.shape[2]
    told = f"embeddings have {embeddings.shape[1]} features, but the prototypes have {features}."
    require(embeddings.shape[1] == features, told)
    votes = unit_rows(prototypes.embeddings).sum(dim=1)  # empty places are zero rows: they add nothing
    votes = votes.to(torch.promote_types(votes.dtype, embeddings.dtype))
    sums = torch.cat([unit_rows(rows).to(votes.dtype) @ votes.T for rows in embeddings.split(CHUNK)])
    return sums.div_(prototypes.count).masked_fill_(prototypes.count == 0, -torch.inf)


def correct_labels(
    embeddings: Tensor,
    prototypes: Prototypes,
    noisy_labels: Tensor,
    *,
    score_ties: Literal["noisy", "lowest"] = "noisy",
    scores: Tensor | None = None,
) -> Tensor:
    r"""Give every sample the label of the class it resembles most: (N,) int64, in the order of ``embeddings``.

    .. math:: \hat{y} = \arg\max_c \sigma_c

    If several classes share the best score, the ``"noisy"`` label is kept where it is one of them, else the lowest
    class is taken; with ``score_ties="lowest"`` always. ``scores`` are sigma where it is known already: the embeddings
    are then only counted.

    Raises:
        ValueError: if a shape, a label or ``score_ties`` is wrong, or an embedding or a score is not a number.
    """
    require(score_ties in ("noisy", "lowest"), f"score_ties must be 'noisy' or 'lowest', but it is {score_ties!r}.")
    n, k = len(embeddings), len(prototypes.count)
    noisy_labels = require_labels(noisy_labels, "noisy_labels", length=n, num_classes=k)
    if scores is None:  # a part at a time: the scores of a million samples would take more memory than anything else
        parts = zip(require_matrix(embeddings).split(CHUNK), noisy_labels.split(CHUNK), strict=True)
        labels = [best_class(class_scores(x, prototypes), y if score_ties == "noisy" else None) for x, y in parts]
        return torch.cat(labels)
    return best_class(require_scores(scores, n, k), noisy_labels if score_ties == "noisy" else None)


def best_class(scores: Tensor, noisy_labels: Tensor | None = None) -> Tensor:
    """The class with the greatest score; of several the noisy label, if given and one of them, else the lowest."""
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

    Returns:
        (N,) of the dtype of ``scores``; minus infinity where the given class has no prototypes and another has, 0
        where no class has any.

    Raises:
        ValueError: if the shapes do not fit, a label is no class, or a score is NaN.
    """
    scores = require_scores(scores)
    noisy_labels = require_labels(noisy_labels, "noisy_labels", length=len(scores), num_classes=scores.shape[1])
    given = scores.gather(1, noisy_labels[:, None]).squeeze(1)
    others = scores.scatter(1, noisy_labels[:, None], -torch.inf).amax(dim=1)
    return torch.where(given == others, 0, given - others)  # where both are minus infinity nothing is known
