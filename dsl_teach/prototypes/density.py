"""How dense a class is around each of its samples: the paper's S, S_c, rho and eta.

Everywhere the samples are the m of **one** class: embeddings G are (m, D), the similarity S is (m, m), rho and eta are
(m,). Nothing here knows about labels or networks.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, section 3.2.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dsl_teach._validate import require, require_matrix, tensor

RhoTies = Literal["strict", "order"]


def unit_rows(embeddings: Tensor) -> Tensor:
    """Scale every row to length one, in float32 at least; a row of zeros stays zero.

    Raises:
        ValueError: if a row holds NaN or an infinite value.
    """
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    largest = rows.abs().amax(dim=-1, keepdim=True)  # first, so that squares neither overflow nor vanish
    broken = ~largest.isfinite().flatten()
    if bool(broken.any()):
        raise ValueError(
            f"embeddings hold NaN or infinite values in {int(broken.sum())} row(s), the first is row "
            f"{int(broken.nonzero()[0])}. Either the images do too, or training has diverged: lower learning_rate then."
        )
    rows = rows / largest.masked_fill(largest == 0, 1)
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows.div_(length.masked_fill(length == 0, 1))


def cosine_similarity(embeddings: Tensor) -> Tensor:
    r"""Compare every sample with every other.

    .. math:: S_{ij} = \frac{G(x_i)^\top G(x_j)}{\lVert G(x_i) \rVert \, \lVert G(x_j) \rVert}

    A zero embedding has no direction: its cosine with everything, itself included, is 0.

    Raises:
        ValueError: if ``embeddings`` is not a floating-point matrix, or holds NaN or infinite values.
    """
    rows = unit_rows(require_matrix(embeddings))
    return rows @ rows.T


def similarity_threshold(similarity: Tensor, quantile: float = 0.6, *, diagonal: bool = True) -> Tensor:
    r"""The similarity S_c above which two samples count as close: a single number.

    S_c is an **entry** of S, never a value between two entries: with the n entries in ascending order it is number
    ``ceil(quantile * n)``, so that a share of 1 - ``quantile`` lies above it; 0.6 for the paper's "top 40 %".
    ``diagonal`` says whether the entries S_ii take part (the paper leaves this open; our reading: they do).

    Raises:
        ValueError: if ``quantile`` is outside (0, 1], or a similarity is NaN.
    """
    require(0 < quantile <= 1, f"quantile must be above 0 and at most 1, but it is {quantile}; the paper's is 0.6.")
    similarity = _square(similarity)
    itself = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    entries = similarity.flatten() if diagonal or len(similarity) == 1 else similarity[~itself]
    place = max(math.ceil(quantile * len(entries) - 1e-9), 1)  # 0.6 * 35 is a hair above 21 in floating point
    if entries.device.type == "cpu":  # numpy's selection is ten times as fast as torch's on a CPU
        return torch.as_tensor(np.partition(entries.numpy(force=True), place - 1)[place - 1])
    return entries.kthvalue(place).values


def density(similarity: Tensor, threshold: Tensor | float) -> Tensor:
    r"""How many more samples lie close to each sample than far from it; ``threshold`` is S_c.

    .. math:: \rho_i = \sum_j \operatorname{sign}(S_{ij} - S_c), \qquad \operatorname{sign}(0) = 0

    Returns:
        Whole numbers from -m to m, int64.

    Raises:
        ValueError: if a similarity or the threshold is NaN.
    """
    require(not math.isnan(threshold), "threshold is NaN: nothing lies above it, nor below.")
    return torch.sign(_square(similarity) - threshold).sum(dim=1).long()


def eta(similarity: Tensor, rho: Tensor, *, rho_ties: RhoTies = "strict") -> Tensor:
    r"""How much each sample resembles the most similar sample that is denser than it.

    .. math:: \eta_i = \max_{j : \rho_j > \rho_i} S_{ij}, \qquad
              \eta_i = \min_j S_{ij} \ \text{ where no sample is denser}

    A small eta marks the top of a hill: nothing denser looks like this sample.

    With ``rho_ties="strict"`` (our reading) denser means strictly greater, and every sample at the maximum takes the
    minimum; with ``"order"``, of two equally dense samples the earlier one counts as denser.

    Raises:
        ValueError: if ``rho_ties`` is neither of the two, or there is not one rho a sample.
    """
    similarity, rho = _square(similarity), tensor(rho, "rho")
    require(len(rho) == len(similarity), f"rho must have {len(similarity)} entries, one a sample, not {len(rho)}.")
    denser = rho[None, :] > rho[:, None]
    if rho_ties == "order":
        place = torch.arange(len(rho), device=rho.device)
        denser |= (rho[None, :] == rho[:, None]) & (place[None, :] < place[:, None])
    elif rho_ties != "strict":
        raise ValueError(f"rho_ties must be 'strict' or 'order', but it is {rho_ties!r}.")
    most_similar_denser = similarity.where(denser, -torch.inf).amax(dim=1)
    nothing_denser = most_similar_denser == -torch.inf
    return torch.where(nothing_denser, similarity.amin(dim=1), most_similar_denser)


def _square(similarity: Tensor) -> Tensor:
    similarity = require_matrix(similarity, "similarity")
    told = f"similarity must compare every sample with every other, but its shape is {tuple(similarity.shape)}."
    require(len(similarity) == similarity.shape[1], told)
    require(not math.isnan(similarity.sum()), "similarity holds NaN, which is neither high nor low.")
    return similarity
