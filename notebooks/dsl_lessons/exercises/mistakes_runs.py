"""The usual mistakes in comparing runs seed by seed, and in telling how long one takes."""

from __future__ import annotations

import torch
from torch import Tensor

from dsl_lessons.exercises.judge import Function, Mistakes


def paired(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean of the differences and its standard error, s / sqrt(n)."""
    difference = ours - theirs
    return torch.stack([difference.mean(), difference.std() / len(difference) ** 0.5])


def _with_error(error: Function) -> Function:
    """The right mean beside another error."""
    return lambda a, b: torch.stack([(a - b).mean(), error(a, b)])


PAIRED: Mistakes = {
    "Your error is that of two separate groups: what both share on a seed stays in it. Subtract seed by seed first, "
    "then take the standard deviation of the "
    "differences.": _with_error(lambda a, b: ((a.var() + b.var()) / len(a)).sqrt()),
    "The sign is reversed: ours minus theirs.": lambda a, b: paired(b, a),
    "Your second number is the standard deviation, how far single seeds spread. Divide by √n: "
    "the mean of n seeds spreads less.": _with_error(lambda a, b: (a - b).std()),
    "You divided by n: the standard error is s / √n.": _with_error(lambda a, b: (a - b).std() / len(a)),
    "Your standard deviation divides by n. The mean was taken from the same n numbers: divide by n − 1 (torch's "
    "std() does, numpy's needs ddof=1).": _with_error(lambda a, b: (a - b).std(correction=0) / len(a) ** 0.5),
    "Your second number is the variance over n: take the square root.": _with_error(
        lambda a, b: (a - b).var() / len(a)
    ),
}


def run_hours(images: int, epochs: int, rate: float, gpus: int) -> float:
    """Hours to train, if GPUs together are so many times as fast as one."""
    return images * epochs / (rate * gpus) / 3600


HOURS: Mistakes = {
    "That is one epoch: multiply by the epochs.": lambda n, e, r, g: n / (r * g) / 3600,
    "These are seconds: an hour has 3600.": lambda n, e, r, g: n * e / (r * g),
    "These are minutes: divide by 60 once more.": lambda n, e, r, g: n * e / (r * g) / 60,
    "The GPUs are missing: together they have gpus times the rate.": lambda n, e, r, g: n * e / r / 3600,
    "More GPUs make it faster: divide by them.": lambda n, e, r, g: n * e * g / r / 3600,
}
