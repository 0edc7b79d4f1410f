"""What readers of lessons 05 and 06 write wrongly, and the sentence for each."""

from __future__ import annotations

import torch
from dsl_teach.noise.direction import share_to_frequent
from torch import Tensor

from dsl_lessons.mistakes.mistake import Mistake
from dsl_teach.noise import more_frequent

# --- class shares ----------------------------------------------------------------------------------------------------


def _counts(labels: Tensor, k: int) -> Tensor:
    return torch.bincount(labels[labels >= 0], minlength=k).double()


SHARES = [
    Mistake("These are counts: divide by their sum.", _counts),
    Mistake(
        "You divided by all samples. Labels of -1 are unknown: count among those that are known.",
        lambda y, k: _counts(y, k) / len(y),
    ),
    Mistake("You divided by the largest class: shares add up to 1.", lambda y, k: _counts(y, k) / _counts(y, k).max()),
    Mistake("Every class got the same share: count its labels.", lambda y, k: torch.full((k,), 1 / k)),
]

# --- the direction of noise ------------------------------------------------------------------------------------------


DIRECTION = [
    Mistake(
        "You counted among all labels. Asked is the share of the **wrong** labels.",
        lambda clean, y, k: more_frequent(clean, k)[clean, y].double().mean(),
    ),
    Mistake(
        "You took the sizes of the classes from the noisy labels, which the noise itself has moved. Take clean ones.",
        lambda clean, y, k: more_frequent(y, k)[clean, y][y != clean].double().mean(),
    ),
    Mistake(
        "That is the share of wrong labels that go to a rarer class, or one of the same size: look the other way.",
        lambda clean, y, k: 1 - share_to_frequent(clean, y, k),
    ),
    Mistake("That is the share of wrong labels.", lambda clean, y, k: (y != clean).double().mean()),
]

# --- soft labels -----------------------------------------------------------------------------------------------------


def soft_label(class_scores: Tensor, temperature: float) -> Tensor:
    """(N, K), softmax of the scores divided by the temperature."""
    return (class_scores / temperature).softmax(dim=1)


SOFT = [
    Mistake("The temperature does not take part: divide the scores by it first.", lambda s, t: s.softmax(dim=1)),
    Mistake("You multiplied by the temperature: divide.", lambda s, t: (s * t).softmax(dim=1)),
    Mistake("You divided after the softmax: divide the scores before it.", lambda s, t: s.softmax(dim=1) / t),
    Mistake("Your softmax runs over the samples: over the classes, dim=1.", lambda s, t: (s / t).softmax(dim=0)),
    Mistake(
        "That is a hard label, one class with all the weight.",
        lambda s, t: torch.nn.functional.one_hot(s.argmax(dim=1), s.shape[1]).double(),
    ),
]

# --- hours -----------------------------------------------------------------------------------------------------------


def run_hours(images: int, epochs: int, rate: float, gpus: int) -> float:
    """Hours to train, if GPUs together are so many times as fast as one."""
    return images * epochs / (rate * gpus) / 3600


HOURS = [
    Mistake("That is one epoch: multiply by the epochs.", lambda n, e, r, g: n / (r * g) / 3600),
    Mistake("These are seconds: an hour has 3600.", lambda n, e, r, g: n * e / (r * g)),
    Mistake("These are minutes: divide by 60 once more.", lambda n, e, r, g: n * e / (r * g) / 60),
    Mistake("The GPUs are missing: together they have gpus times the rate.", lambda n, e, r, g: n * e / r / 3600),
    Mistake("More GPUs make it faster: divide by them.", lambda n, e, r, g: n * e * g / r / 3600),
]
