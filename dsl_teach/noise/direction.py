"""Noise with a direction: wrong labels only towards more frequent classes, or only towards rarer ones.

Where classes are uneven, this decides what prototypes can gain by being blind to class shares: noise that hides rare
classes under frequent ones is undone by treating all classes alike, noise the other way round is not.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from dsl_teach._validate import require_labels

Direction = Literal["any", "to_frequent", "to_rare"]

_WORDS = {"any": "", "to_frequent": " towards more frequent classes only", "to_rare": " towards rarer classes only"}


def in_words(direction: Direction) -> str:
    """What to put behind a description of the noise; nothing for ``"any"``."""
    return _WORDS[direction]


def more_frequent(labels: Tensor, num_classes: int) -> Tensor:
    """Which classes are more frequent than which.

    Args:
        labels: (N,) int64.
        num_classes: K.

    Returns:
        (K, K) bool: at [i, j] whether class j has more samples than class i.
    """
    sizes = torch.bincount(labels, minlength=num_classes)
    return sizes[None, :] > sizes[:, None]


def towards(probabilities: Tensor, clean_labels: Tensor, direction: Direction) -> Tensor:
    """Class probabilities that leave only some classes to mistake a sample for.

    Args:
        probabilities: (N, K), rows sum to 1.
        clean_labels: (N,) int64, the true classes; their numbers say which class is more frequent.
        direction: ``"to_frequent"`` takes every class out that is not more frequent than the true one, ``"to_rare"``
            every one that is not rarer, ``"any"`` none.

    Returns:
        (N, K), rows sum to 1. A sample of the most frequent class keeps nothing but its own class if the direction
        is ``"to_frequent"``.

    Raises:
        ValueError: if the direction is not one of these, or a label is out of range.
    """
    require_labels(clean_labels, "clean_labels", length=len(probabilities), num_classes=probabilities.shape[1])
    if direction not in get_args(Direction):
        raise ValueError(f"noise_direction must be one of {', '.join(get_args(Direction))}, but it is {direction!r}.")
    if direction == "any":
        return probabilities
    allowed = _allowed(clean_labels, direction, probabilities.shape[1])
    allowed.fill_diagonal_(True)  # its own class
    left = probabilities * allowed[clean_labels]
    return left / left.sum(dim=1, keepdim=True)


def keep_direction(noisy_labels: Tensor, clean_labels: Tensor, direction: Direction, *, num_classes: int) -> Tensor:
    """Keep the wrong labels of one direction and set the others right.

    Args:
        noisy_labels: (N,) int64.
        clean_labels: (N,) int64, all known.
        direction: see :func:`towards`.
        num_classes: K.

    Returns:
        (N,) int64.
    """
    if direction == "any":
        return noisy_labels
    kept = _allowed(clean_labels, direction, num_classes)[clean_labels, noisy_labels]
    return torch.where(kept, noisy_labels, clean_labels)


def _allowed(clean_labels: Tensor, direction: Direction, num_classes: int) -> Tensor:
    """(K, K) bool: at [i, j] whether a sample of class i may be called j."""
    more = more_frequent(clean_labels, num_classes)
    return more if direction == "to_frequent" else more.T.clone()


def share_to_frequent(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> Tensor:
    """Of the wrong labels, the share that belongs to a class with more clean labels than the true one."""
    wrong = noisy_labels != clean_labels
    up = more_frequent(clean_labels, num_classes)[clean_labels, noisy_labels]
    return up[wrong].double().mean()
