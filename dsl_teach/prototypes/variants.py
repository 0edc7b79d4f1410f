"""Beyond the paper: random prototypes, class means and a vote of neighbours, to measure density peaks against; and
whitened embeddings, another space to take cosines in.

Throughout, ``embeddings`` are (N, D), ``noisy_labels`` (N,) int64 below K = ``num_classes``, and ``generator`` is a CPU
generator; without one, one seeded with 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsl_teach._validate import require_labels, require_matrix
from dsl_teach.prototypes.density import unit_rows
from dsl_teach.prototypes.selection import Prototypes, no_prototypes, sample_by_class


def random_prototypes(
    embeddings: Tensor, noisy_labels: Tensor, *, num_classes: int, p: int, generator: torch.Generator | None = None
) -> Prototypes:
    """Draw p samples of each class at random: as many as density peaks would give, without looking at any.

    Returns:
        The prototypes; a class with fewer than p samples gives all it has.
    """
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
    r"""One prototype a class that is no sample: the mean direction of m of its samples, drawn at random.

    .. math:: G_c = \frac{1}{m} \sum_{i=1}^{m} \hat{G}(x_i), \qquad \sigma_c(x) = \cos\bigl(G(x), G_c\bigr)

    Returns:
        Prototypes with one place a class; its ``index`` is -1, because no sample stands there.
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


class ClassSums(NamedTuple):
    """Sums over samples, in float64: what whitening needs to know of them."""

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
        """(D,), the mean of the class means: each class counts the same, however large it is."""
        return self.means[self.size > 0].mean(dim=0)

    @property
    def within(self) -> Tensor:
        r"""(D, D), the covariance within classes.

        .. math:: W = \frac{1}{N} \sum_i (x_i - \mu_{y_i}) (x_i - \mu_{y_i})^\top
                    = \frac{1}{N} \Bigl( \sum_i x_i x_i^\top - \sum_c n_c \mu_c \mu_c^\top \Bigr)
        """
        return (self.second - self.first.T @ self.means) / self.size.sum()


def class_sums(embeddings: Tensor, noisy_labels: Tensor, *, num_classes: int, chunk_size: int = 8192) -> ClassSums:
    """Add up embeddings class by class, and their outer products; ``chunk_size`` rows at a time are float64.

    Raises:
        ValueError: if a shape or a label is out of range.
    """
    require_matrix(embeddings)
    require_labels(noisy_labels, "noisy_labels", length=len(embeddings), num_classes=num_classes)
    features = embeddings.shape[1]
    size = torch.bincount(noisy_labels, minlength=num_classes).double()
    first, second = size.new_zeros(num_classes, features), size.new_zeros(features, features)
    for x, labels in zip(embeddings.split(chunk_size), noisy_labels.split(chunk_size), strict=True):
        rows = x.double()
        first.index_add_(0, labels, rows)
        second += rows.T @ rows
    return ClassSums(size, first, second)


def whitened(embeddings: Tensor, sums: ClassSums, *, shrinkage: float = 0.1) -> Tensor:
    r"""Centre, and scale every direction by the spread within classes: what varies inside a class counts less.

    .. math:: x' = \Bigl((1 - s) W + s \, \frac{\mathrm{tr} W}{D} I\Bigr)^{-1/2} (x - \bar\mu), \qquad
              \bar\mu = \frac{1}{K} \sum_c \mu_c

    After a ReLU all embeddings lie in one corner of space and all cosines are large; seen from the middle of the
    classes they point in different directions.

    Args:
        embeddings: (N, D).
        sums: of the samples that say where the middle is and how classes spread.
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
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    return (rows - sums.middle.to(rows.dtype)) @ (directions * scale @ directions.T).to(rows.dtype)
