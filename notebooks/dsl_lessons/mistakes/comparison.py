"""What readers of lesson 04 write wrongly, and the sentence for each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dsl_lessons.mistakes.mistake import Mistake
from dsl_teach.prototypes import suspicion
from dsl_teach.training.losses import forward_cross_entropy, generalized_cross_entropy

# --- generalized cross-entropy ---------------------------------------------------------------------------------------


def _given(logits: Tensor, noisy_labels: Tensor) -> Tensor:
    """(B,) the probability of the given label."""
    return logits.softmax(dim=1).gather(1, noisy_labels[:, None]).squeeze(1)


GCE = [
    Mistake("That is plain cross-entropy: q does not take part.", lambda x, y, q: cross_entropy(x, y)),
    Mistake("The division by q is missing.", lambda x, y, q: (1 - _given(x, y) ** q).mean()),
    Mistake("You left out the power q: that is the loss for q = 1.", lambda x, y, q: (1 - _given(x, y)).mean()),
    Mistake(
        "You divided 1 − p_y by q: raise p_y to the power q first.", lambda x, y, q: ((1 - _given(x, y)) / q).mean()
    ),
    Mistake(
        "You raised 1 − p_y to the power q. Raise p_y, then subtract it from 1.",
        lambda x, y, q: ((1 - _given(x, y)) ** q / q).mean(),
    ),
    Mistake(
        "You took q from the mean probability: average the losses.", lambda x, y, q: (1 - _given(x, y).mean() ** q) / q
    ),
    Mistake(
        "The sign is reversed: a likely label must cost little.", lambda x, y, q: -generalized_cross_entropy(x, y, q)
    ),
    Mistake("You added the samples up: take the mean.", lambda x, y, q: ((1 - _given(x, y) ** q) / q).sum()),
]

# --- forward correction ----------------------------------------------------------------------------------------------


def _forward(logits: Tensor, noisy_labels: Tensor, matrix: Tensor) -> Tensor:
    """Minus the logarithm of the given label's probability, from probabilities times a matrix."""
    expected = logits.softmax(dim=1) @ matrix
    return -expected.gather(1, noisy_labels[:, None]).log().mean()


FORWARD = [
    Mistake("That is plain cross-entropy: T does not take part.", lambda x, y, t: cross_entropy(x, y)),
    Mistake(
        "You used T the other way round. Its rows are true classes: the noisy label j has probability Σ_i p_i T_ij, "
        "which is probabilities @ T.",
        lambda x, y, t: _forward(x, y, t.T),
    ),
    Mistake(
        "You multiplied the logits by T: make probabilities of them first, with softmax.",
        lambda x, y, t: cross_entropy(x @ t, y),
    ),
    Mistake(
        "You took the softmax after the multiplication once more: probabilities @ T are probabilities already.",
        lambda x, y, t: cross_entropy(x.softmax(dim=1) @ t, y),
    ),
    Mistake("The logarithm is missing.", lambda x, y, t: -(x.softmax(dim=1) @ t).gather(1, y[:, None]).mean()),
    Mistake("The sign is reversed: minus the logarithm.", lambda x, y, t: -forward_cross_entropy(x, y, t)),
    Mistake(
        "You undid the noise with T's inverse: that is the backward correction. Here the prediction is made noisy.",
        lambda x, y, t: (-(x.log_softmax(dim=1)) * t.inverse()[y]).sum(dim=1).mean(),
    ),
]

# --- how doubtful a label is -----------------------------------------------------------------------------------------


def _of_given(scores: Tensor, noisy_labels: Tensor) -> Tensor:
    return scores.gather(1, noisy_labels[:, None]).squeeze(1)


SUSPICION = [
    Mistake(
        "You took the best score of all classes, the given one among them: then no label comes out below 0, and sure "
        "labels cannot be told from doubtful ones. Take the best of the others.",
        lambda s, y: s.amax(dim=1) - _of_given(s, y),
    ),
    Mistake("The sign is reversed: doubtful is large.", lambda s, y: -suspicion(s, y)),
    Mistake("That is the best score alone: subtract the score of the given class.", lambda s, y: s.amax(dim=1)),
    Mistake(
        "That is 1 minus the score of the given class: the other classes do not take part.",
        lambda s, y: 1 - _of_given(s, y),
    ),
    Mistake(
        "That is minus the score of the given class: the other classes do not take part.", lambda s, y: -_of_given(s, y)
    ),
    Mistake(
        "You took the difference of the two best classes, whichever they are: start from the given class.",
        lambda s, y: s.topk(2, dim=1).values @ torch.tensor([1.0, -1.0]),
    ),
    Mistake(
        "You subtracted the mean of the other classes: take the best of them.",
        lambda s, y: (s.sum(dim=1) - _of_given(s, y)) / (s.shape[1] - 1) - _of_given(s, y),
    ),
]

# --- paired differences ----------------------------------------------------------------------------------------------


def paired(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean of the differences and its standard error, s / sqrt(n)."""
    return _mean_and_error(ours - theirs)


def _mean_and_error(difference: Tensor) -> Tensor:
    return torch.stack([difference.mean(), difference.std() / len(difference) ** 0.5])


def _unpaired(ours: Tensor, theirs: Tensor) -> Tensor:
    return ((ours.var() + theirs.var()) / len(ours)).sqrt()


PAIRED = [
    Mistake(
        "Your error is that of two separate groups: what both share on a seed stays in it. Subtract seed by seed "
        "first, then take the standard deviation of the differences.",
        lambda a, b: torch.stack([(a - b).mean(), _unpaired(a, b)]),
    ),
    Mistake("The sign is reversed: ours minus theirs.", lambda a, b: _mean_and_error(b - a)),
    Mistake(
        "Your second number is the standard deviation, how far single seeds spread. Divide by √n: the mean of n seeds "
        "spreads less.",
        lambda a, b: torch.stack([(a - b).mean(), (a - b).std()]),
    ),
    Mistake(
        "You divided by n: the standard error is s / √n.",
        lambda a, b: torch.stack([(a - b).mean(), (a - b).std() / len(a)]),
    ),
    Mistake(
        "Your standard deviation divides by n. The mean was taken from the same n numbers: divide by n − 1 (torch's "
        "std() does, numpy's needs ddof=1).",
        lambda a, b: torch.stack([(a - b).mean(), (a - b).std(correction=0) / len(a) ** 0.5]),
    ),
    Mistake(
        "Your second number is the variance over n: take the square root.",
        lambda a, b: torch.stack([(a - b).mean(), (a - b).var() / len(a)]),
    ),
]
