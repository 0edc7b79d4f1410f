"""The usual mistakes in counting: what noise and corrections do to labels, own votes, runs compared, and hours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsl_lessons.exercises.judge import Function, Wrong
from dsl_teach.noise import noise_report


def share(mask: Tensor) -> Tensor:
    """Of how many it is true, from 0 to 1."""
    return mask.double().mean()


def counts(labels: Tensor, k: int) -> Tensor:
    """(K,) how many labels each class has; those below 0 are unknown."""
    return torch.bincount(labels[labels >= 0], minlength=k).double()


def fixed(noisy_labels: Tensor, corrected_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """The share of samples whose label was wrong and is right now."""
    return share((noisy_labels != clean_labels) & (corrected_labels == clean_labels))


FIXED: Wrong = {
    "right now": lambda y, y_hat, t: share(y_hat == t),
    "broken": lambda y, y_hat, t: share((y == t) & (y_hat != t)),
    "changed": lambda y, y_hat, t: share(y != y_hat),
    "changed if wrong": lambda y, y_hat, t: share((y != t) & (y_hat != y)),
    "of the wrong": lambda y, y_hat, t: share((y_hat == t)[y != t]),
    "of the changed": lambda y, y_hat, t: share((y_hat == t)[y != y_hat]),
    "count": lambda y, y_hat, t: ((y != t) & (y_hat == t)).sum(),
    "net": lambda y, y_hat, t: fixed(y, y_hat, t) - share((y == t) & (y_hat != t)),
}


def memorised(predicted: Tensor, noisy_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """Among the wrongly labelled samples, the share for which the network gives the wrong label it was given."""
    return share((predicted == noisy_labels)[noisy_labels != clean_labels])


MEMORISED: Wrong = {
    "all samples": lambda f, y, t: share(f == y),
    "accuracy": lambda f, y, t: share(f == t),
    "true labels": lambda f, y, t: share((f == t)[y != t]),
    "of all": lambda f, y, t: share((f == y) & (y != t)),
    "of the right": lambda f, y, t: share((f == y)[y == t]),
    "any wrong answer": lambda f, y, t: share((f != t)[y != t]),
    "count": lambda f, y, t: ((f == y) & (y != t)).sum(),
}


def transition(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> Tensor:
    """The library's transition matrix: rows are true classes, columns are given labels, rows sum to 1."""
    return noise_report(clean_labels, noisy_labels, num_classes).transition_matrix


def _pairs(clean: Tensor, noisy: Tensor, k: int) -> Tensor:
    return counts(clean * k + noisy, k * k).view(k, k)


TRANSITION: Wrong = {
    "swapped": lambda t, y, k: transition(t, y, k).T,
    "columns": lambda t, y, k: _pairs(t, y, k) / _pairs(t, y, k).sum(dim=0, keepdim=True),
    "whole matrix": lambda t, y, k: _pairs(t, y, k) / len(y),
    "no keepdim": lambda t, y, k: _pairs(t, y, k) / _pairs(t, y, k).sum(dim=1),
    "no minlength": lambda t, y, k: transition(t, y, k) + 0 * torch.bincount(t * k + y).view(k, k),
    "counts": _pairs,
    "swapped, columns": lambda t, y, k: transition(y, t, k),
}


def symmetric_matrix(noise_rate: float, num_classes: int) -> Tensor:
    """T of symmetric noise: 1 - r on the diagonal, r / (K - 1) elsewhere."""
    return _matrix(num_classes, 1 - noise_rate, noise_rate / (num_classes - 1))


def _matrix(k: int, right: float, wrong: float) -> Tensor:
    return torch.full((k, k), wrong, dtype=torch.float64).fill_diagonal_(right)


SYMMETRIC_MATRIX: Wrong = {
    "all classes": lambda r, k: _matrix(k, 1 - r + r / k, r / k),
    "rows": lambda r, k: _matrix(k, 1 - r, r / k),
    "whole rate": lambda r, k: _matrix(k, 1 - r, r),
    "diagonal": lambda r, k: _matrix(k, r, (1 - r) / (k - 1)),
    "no rate": lambda r, k: torch.eye(k),
    "diagonal left": lambda r, k: _matrix(k, r / (k - 1), r / (k - 1)),
    "diagonal 0": lambda r, k: _matrix(k, 0, r / (k - 1)),
    "diagonal 1": lambda r, k: _matrix(k, 1, r / (k - 1)),
}

SHARES: Wrong = {
    "counts": counts,
    "of all": lambda y, k: counts(y, k) / len(y),
    "of the largest": lambda y, k: counts(y, k) / counts(y, k).max(),
    "equal": lambda y, k: torch.full((k,), 1 / k),
}

DIRECTION: Wrong = {
    "of all": lambda t, y, k: share(counts(t, k)[y] > counts(t, k)[t]),
    "noisy sizes": lambda t, y, k: share((counts(y, k)[y] > counts(y, k)[t])[y != t]),
    "to rarer": lambda t, y, k: 1 - noise_report(t, y, k).share_to_frequent,
    "wrong labels": lambda t, y, k: share(y != t),
}


def left_out(fitted: Tensor, leverage: Tensor, noisy_labels: Tensor) -> Tensor:
    """(N, K) what a linear head says of each sample without that sample's own label; the leverage is h_ii, (N,)."""
    h, y = leverage[:, None], one_hot(noisy_labels, fitted.shape[1])
    return (fitted - h * y) / (1 - h)


LEFT_OUT: Wrong = {
    "own label left in": lambda f, h, y: f,
    "not divided": lambda f, h, y: f - h[:, None] * one_hot(y, f.shape[1]),
    "not taken away": lambda f, h, y: f / (1 - h[:, None]),
    "added": lambda f, h, y: (f + h[:, None] * one_hot(y, f.shape[1])) / (1 - h[:, None]),
    "whole label": lambda f, h, y: (f - one_hot(y, f.shape[1])) / (1 - h[:, None]),
    "class number": lambda f, h, y: (f - (h * y)[:, None]) / (1 - h[:, None]),
    "divided by h": lambda f, h, y: (f - h[:, None] * one_hot(y, f.shape[1])) / h[:, None],
}


def paired(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean of the differences and its standard error, s / sqrt(n)."""
    difference = ours - theirs
    return torch.stack([difference.mean(), difference.std() / len(difference) ** 0.5])


def _with_error(error: Function) -> Function:
    """The right mean beside another error."""
    return lambda a, b: torch.stack([(a - b).mean(), error(a, b)])


PAIRED: Wrong = {
    "two groups": _with_error(lambda a, b: ((a.var() + b.var()) / len(a)).sqrt()),
    "sign": lambda a, b: paired(b, a),
    "deviation": _with_error(lambda a, b: (a - b).std()),
    "by n": _with_error(lambda a, b: (a - b).std() / len(a)),
    "population deviation": _with_error(lambda a, b: (a - b).std(correction=0) / len(a) ** 0.5),
    "variance": _with_error(lambda a, b: (a - b).var() / len(a)),
}


def run_hours(images: int, epochs: int, rate: float, gpus: int) -> float:
    """Hours to train, if GPUs together are so many times as fast as one."""
    return images * epochs / (rate * gpus) / 3600


HOURS: Wrong = {
    "one epoch": lambda n, e, r, g: n / (r * g) / 3600,
    "seconds": lambda n, e, r, g: n * e / (r * g),
    "minutes": lambda n, e, r, g: n * e / (r * g) / 60,
    "one GPU": lambda n, e, r, g: n * e / r / 3600,
    "multiplied by GPUs": lambda n, e, r, g: n * e * g / r / 3600,
}
