"""The usual mistakes in judging a ranking of doubtful labels: how many of the first are wrong, and how sure that is."""

from __future__ import annotations

import torch
from torch import Tensor

from dsl_lessons.exercises.judge import Wrong
from dsl_lessons.exercises.mistakes_labels import share


def precision(is_wrong: Tensor, first: int) -> Tensor:
    """Of the first labels of a ranking, the share that is wrong; ``is_wrong``, (N,) bool, is in its order."""
    return share(is_wrong[:first])


def recall(is_wrong: Tensor, first: int) -> Tensor:
    """Of all wrong labels, the share that is among the first."""
    return is_wrong[:first].sum().double() / is_wrong.sum()


def count(is_wrong: Tensor, first: int) -> Tensor:
    """Of the first, how many are wrong."""
    return is_wrong[:first].sum().double()


PRECISION: Wrong = {
    "recall": recall,
    "count": count,
    "of all labels": lambda w, n: count(w, n) / len(w),
    "the last": lambda w, n: share(w[-n:]),
    "one more": lambda w, n: share(w[: n + 1]),
    "all": lambda w, n: share(w),
}

RECALL: Wrong = {
    "precision": precision,
    "count": count,
    "of all labels": lambda w, n: count(w, n) / len(w),
    "what is left": lambda w, n: 1 - recall(w, n),
    "one more": lambda w, n: recall(w, n + 1),
}


def wilson(wrong: int, decided: int, z: float = 1.96) -> Tensor:
    """Bounds of the share of which ``wrong`` among ``decided`` are a sample, 95 % (Wilson 1927)."""
    share, n = wrong / decided, decided
    middle, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return torch.tensor([middle - half, middle + half], dtype=torch.float64) / (1 + z * z / n)


def _around(share: float, half: float) -> Tensor:
    return torch.tensor([share - half, share + half], dtype=torch.float64)


WILSON: Wrong = {
    "plain": lambda k, n: _around(k / n, 1.96 * (k / n * (1 - k / n) / n) ** 0.5),
    "one error": lambda k, n: wilson(k, n, 1.0),
    "one side": lambda k, n: wilson(k, n, 1.645),
    "counts": lambda k, n: n * wilson(k, n),
    "swapped": lambda k, n: wilson(k, n).flip(0),
    "not divided": lambda k, n: (1 + 1.96**2 / n) * wilson(k, n),
}
