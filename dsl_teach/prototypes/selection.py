"""Which samples stand for their class: sampling by class and the choice of p prototypes.

Everywhere embeddings are (N, D), noisy labels are (N,) int64 in 0 .. K - 1, and ``generator`` is a CPU generator;
without one, one seeded with 0.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, section 3.2.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from dsl_teach._validate import require, require_labels, require_matrix, tensor
from dsl_teach.prototypes.density import RhoTies, cosine_similarity, density, eta, similarity_threshold

CutTies = Literal["eta", "index"]


@dataclass(frozen=True)
class Prototypes:
    """The samples that stand for each class. K classes, P places each, D features.

    A class with fewer samples than P leaves its last places empty: ``index`` is -1 there, ``eta`` is NaN, and the
    embedding is zero.
    """

    embeddings: Tensor
    """(K, P, D), the prototypes' embeddings, as given (not scaled)."""
    index: Tensor
    """(K, P) int64, each prototype's row in the embeddings it was chosen from; -1 for an empty place, or a mean."""
    rho: Tensor
    """(K, P) int64, the density of each prototype."""
    eta: Tensor
    """(K, P), the eta of each prototype; NaN for an empty place."""
    count: Tensor
    """(K,) int64, how many prototypes the class has."""
    sampled: Tensor
    """(K,) int64, how many samples of the class were looked at: at most m."""
    passed: Tensor
    """(K,) int64, how many of them passed the gate, eta < eta_max."""
    filled: Tensor
    """(K,) int64, how many places were filled with samples that did not pass."""
    zeros: Tensor
    """(K,) int64, how many of the samples looked at have a zero embedding."""

    def __repr__(self) -> str:
        classes, places, features = self.embeddings.shape
        filled = f", {int(self.filled.sum())} did not pass the gate" if self.filled.any() else ""
        return f"Prototypes({int(self.count.sum())} of {places} x {classes} classes, {features} features{filled})"

    def to(self, device: torch.device | str) -> Prototypes:
        """The same prototypes on another device."""
        return Prototypes(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def sample_by_class(
    noisy_labels: Tensor, *, num_classes: int, m: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Draw m samples of each class at random and without replacement; a class with fewer gives all it has.

    Returns:
        K tensors of row numbers, each in ascending order, on the CPU: the same on every device.
    """
    generator = generator or torch.Generator().manual_seed(0)
    labels = tensor(noisy_labels, "noisy_labels").cpu()
    drawn = []
    for c in range(num_classes):
        rows = (labels == c).nonzero().flatten()
        if len(rows) > m:
            rows = rows[torch.randperm(len(rows), generator=generator)[:m]].sort().values
        drawn.append(rows)
    return drawn


def choose(rho: Tensor, eta: Tensor, *, p: int, eta_max: float, fill_up: bool, cut_ties: CutTies) -> Tensor:
    """Rank the samples of one class and keep the first p: their row numbers, best first.

    First the samples with eta < ``eta_max``, densest first; then, to fill up, the others, smallest eta first.
    Equal densities: the smaller eta first (``cut_ties="eta"``), then the smaller row number.
    """
    passed = eta < eta_max
    order = eta.argsort(stable=True)
    if cut_ties == "index":
        order = torch.cat([passed.nonzero().flatten(), order[~passed[order]]])
    rank = torch.where(passed, rho, rho.min() - 1)  # all that fail share the last rank
    order = order[rank[order].argsort(descending=True, stable=True)]
    return order[: p if fill_up else min(p, int(passed.sum()))]


def select_prototypes(
    embeddings: Tensor,
    noisy_labels: Tensor,
    *,
    num_classes: int,
    p: int = 8,
    m: int = 1280,
    eta_max: float = 0.95,
    quantile: float = 0.6,
    generator: torch.Generator | None = None,
    diagonal: bool = True,
    rho_ties: RhoTies = "strict",
    fill_up: bool = True,
    cut_ties: CutTies = "eta",
    small_class: Literal["all", "error"] = "all",
) -> Prototypes:
    r"""Choose p prototypes a class by density peaks.

    For each class: take m samples with that noisy label, compare them (S), count how many lie close to each
    (rho), see whether something denser looks alike (eta); among the samples with eta < ``eta_max`` the p densest
    are the prototypes.

    Args:
        embeddings: of any device and floating dtype; arithmetic is in float32 at least.
        noisy_labels: y.
        num_classes: K.
        p: prototypes a class.
        m: samples a class, drawn at random; at least p.
        eta_max: the gate. A sample this similar to a denser one is left out; at 2 everything passes.
        quantile: where S_c lies among the entries of S.
        generator: draws the m samples.
        diagonal: whether S_ii takes part in S_c.
        rho_ties: ``"strict"`` or ``"order"``, see :func:`dsl_teach.prototypes.density.eta`.
        fill_up: if fewer than p pass the gate, fill up with the smallest remaining eta (else: fewer prototypes).
        cut_ties: at equal rho the smaller eta comes first (``"eta"``), or the smaller row (``"index"``).
        small_class: a class with fewer than m samples gives ``"all"`` it has, or is an ``"error"``.

    Raises:
        ValueError: if a setting, a shape or a label is out of range, or an embedding is NaN or infinite.
    """
    require(1 <= p <= m, f"p must be at least 1 and at most m, but p is {p} and m is {m}. Lower p or raise m.")
    require(-1 < eta_max <= 2, f"eta_max must be a cosine above -1 (2 lets everything pass), but it is {eta_max}.")
    require(cut_ties in ("eta", "index"), f"cut_ties must be 'eta' or 'index', but it is {cut_ties!r}.")
    require(small_class in ("all", "error"), f"small_class must be 'all' or 'error', but it is {small_class!r}.")
    embeddings = require_matrix(embeddings)
    noisy_labels = require_labels(noisy_labels, "noisy_labels", length=len(embeddings), num_classes=num_classes)
    drawn = sample_by_class(noisy_labels, num_classes=num_classes, m=m, generator=generator)
    _check_class_sizes([len(rows) for rows in drawn], m=m, small_class=small_class)

    found = no_prototypes(embeddings, num_classes, p)
    for c, rows in enumerate(rows.to(embeddings.device) for rows in drawn):
        if not len(rows):
            continue
        similarity = cosine_similarity(embeddings[rows])
        rho = density(similarity, similarity_threshold(similarity, quantile, diagonal=diagonal))
        eta_ = eta(similarity, rho, rho_ties=rho_ties)
        chosen = choose(rho, eta_, p=p, eta_max=eta_max, fill_up=fill_up, cut_ties=cut_ties)
        count = len(chosen)
        found.embeddings[c, :count] = embeddings[rows[chosen]]
        found.index[c, :count] = rows[chosen]
        found.rho[c, :count] = rho[chosen]
        found.eta[c, :count] = eta_[chosen]
        found.count[c] = count
        found.sampled[c] = len(rows)
        found.passed[c] = (eta_ < eta_max).sum()
        found.filled[c] = (eta_[chosen] >= eta_max).sum()
        found.zeros[c] = (similarity.diagonal() == 0).sum()  # only a zero row has cosine 0 with itself
    return found


def no_prototypes(embeddings: Tensor, num_classes: int, p: int) -> Prototypes:
    """Places for p prototypes a class, all of them empty."""
    device, dtype = embeddings.device, torch.promote_types(embeddings.dtype, torch.float32)
    counts = ("count", "sampled", "passed", "filled", "zeros")
    return Prototypes(
        embeddings=torch.zeros(num_classes, p, embeddings.shape[1], dtype=dtype, device=device),
        index=torch.full((num_classes, p), -1, dtype=torch.int64, device=device),
        rho=torch.zeros(num_classes, p, dtype=torch.int64, device=device),
        eta=torch.full((num_classes, p), torch.nan, dtype=dtype, device=device),
        **{name: torch.zeros(num_classes, dtype=torch.int64, device=device) for name in counts},
    )


def _check_class_sizes(sizes: list[int], *, m: int, small_class: str) -> None:
    require(any(sizes), "No class has a sample, so there is nothing to choose prototypes from.")
    if small_class == "error" and min(sizes) < m:
        raise ValueError(f"Class {sizes.index(min(sizes))} has {min(sizes)} samples, fewer than m = {m}. Lower m.")
    if 0 in sizes:
        warnings.warn(
            f"No sample carries the noisy label of class(es) {[c for c, size in enumerate(sizes) if size == 0]}: they "
            "get no prototype, and no label is corrected to them.",
            stacklevel=3,
        )
