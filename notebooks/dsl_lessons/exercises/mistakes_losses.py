"""The usual mistakes in the self-learning loss and in the losses that lesson 04 compares it with."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy

from dsl_lessons.exercises.judge import Function, Mistakes, given
from dsl_teach.training.losses import forward_cross_entropy, generalized_cross_entropy


def _loss(
    weights: Callable[[float], tuple[float, float]] = lambda a: (1 - a, a), ce: Function = cross_entropy
) -> Function:
    """A loss with other weights after the first correction, or with another cross-entropy."""

    def loss(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
        noisy, corrected = weights(alpha)
        return ce(logits, y) if y_hat is None else noisy * ce(logits, y) + corrected * ce(logits, y_hat)

    return loss


def _halved_before(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
    noisy = (1 - alpha) * cross_entropy(logits, y)
    return noisy if y_hat is None else noisy + alpha * cross_entropy(logits, y_hat)


LOSS: Mistakes = {
    "You swapped alpha and 1 − alpha: alpha is the weight of the corrected labels.": _loss(lambda a: (a, 1 - a)),
    "You added the two losses without weights: the noisy one has weight 1 − alpha, the corrected one alpha.": _loss(
        lambda a: (1, 1)
    ),
    "The noisy labels have weight 1 instead of 1 − alpha: the two weights must sum to 1.": _loss(lambda a: (1, a)),
    "Both parts have weight alpha: the noisy labels have 1 − alpha.": _loss(lambda a: (a, a)),
    "The corrected labels do not take part: add alpha times the cross-entropy against them.": lambda z, y, y_hat, a: (
        cross_entropy(z, y)
    ),
    "Before the first correction there are no corrected labels (None), "
    "and alpha counts as 0: the noisy labels then have the whole weight 1.": _halved_before,
    "You summed over the batch: take the mean, so that the loss does not depend on the batch size.": _loss(
        ce=lambda z, y: cross_entropy(z, y, reduction="sum")
    ),
    "You left out the softmax: cross-entropy needs the logarithm of probabilities, not logits.": _loss(
        ce=lambda z, y: -given(z, y).mean()
    ),
    "You left out the logarithm: cross-entropy is minus the log of the label's probability.": _loss(
        ce=lambda z, y: -given(z.softmax(dim=1), y).mean()
    ),
    "You took the softmax twice: torch's cross_entropy wants logits and takes the softmax itself.": _loss(
        ce=lambda z, y: cross_entropy(z.softmax(dim=1), y)
    ),
    "The sign is wrong: cross-entropy is minus the log of the label's probability.": _loss(
        ce=lambda z, y: -cross_entropy(z, y)
    ),
}


def _probability(logits: Tensor, noisy_labels: Tensor) -> Tensor:
    return given(logits.softmax(dim=1), noisy_labels)


GCE: Mistakes = {
    "That is plain cross-entropy: q does not take part.": lambda x, y, q: cross_entropy(x, y),
    "The division by q is missing.": lambda x, y, q: (1 - _probability(x, y) ** q).mean(),
    "You left out the power q: that is the loss for q = 1.": lambda x, y, q: (1 - _probability(x, y)).mean(),
    "You divided 1 − p_y by q: raise p_y to the power q first.": lambda x, y, q: ((1 - _probability(x, y)) / q).mean(),
    "You raised 1 − p_y to the power q. Raise p_y, then subtract it from 1.": lambda x, y, q: (
        (1 - _probability(x, y)) ** q / q
    ).mean(),
    "You took q from the mean probability: average the losses.": lambda x, y, q: (
        (1 - _probability(x, y).mean() ** q) / q
    ),
    "The sign is reversed: a likely label must cost little.": lambda x, y, q: -generalized_cross_entropy(x, y, q),
    "You added the samples up: take the mean.": lambda x, y, q: ((1 - _probability(x, y) ** q) / q).sum(),
}


def _forward(logits: Tensor, noisy_labels: Tensor, matrix: Tensor) -> Tensor:
    return -given(logits.softmax(dim=1) @ matrix, noisy_labels).log().mean()


FORWARD: Mistakes = {
    "That is plain cross-entropy: T does not take part.": lambda x, y, t: cross_entropy(x, y),
    "You used T the other way round. Its rows are true classes: the noisy label j has probability Σ_i p_i T_ij, "
    "which is probabilities @ T.": lambda x, y, t: _forward(x, y, t.T),
    "You multiplied the logits by T: make probabilities of them first, with softmax.": lambda x, y, t: cross_entropy(
        x @ t, y
    ),
    "You took the softmax after the multiplication once more: "
    "probabilities @ T are probabilities already.": lambda x, y, t: cross_entropy(x.softmax(dim=1) @ t, y),
    "The logarithm is missing.": lambda x, y, t: -given(x.softmax(dim=1) @ t, y).mean(),
    "The sign is reversed: minus the logarithm.": lambda x, y, t: -forward_cross_entropy(x, y, t),
    "You undid the noise with T's inverse: that is the backward correction. "
    "Here the prediction is made noisy.": lambda x, y, t: (-(x.log_softmax(dim=1)) * t.inverse()[y]).sum(dim=1).mean(),
}
