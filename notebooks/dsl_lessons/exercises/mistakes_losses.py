"""The usual mistakes in the self-learning loss and in the losses that lesson 04 compares it with."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy

from dsl_lessons.exercises.judge import Function, Wrong, given
from dsl_teach.training.losses import generalized_cross_entropy


def _loss(
    weights: Callable[[float], tuple[float, float]] = lambda a: (1 - a, a),
    ce: Function = cross_entropy,
    before: Function = cross_entropy,
) -> Function:
    """A loss with other weights after the first correction, or with another cross-entropy, before it or after."""

    def loss(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
        noisy, corrected = weights(alpha)
        return before(logits, y) if y_hat is None else noisy * ce(logits, y) + corrected * ce(logits, y_hat)

    return loss


def _halved_before(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
    noisy = (1 - alpha) * cross_entropy(logits, y)
    return noisy if y_hat is None else noisy + alpha * cross_entropy(logits, y_hat)


_CE: Wrong = {
    "sum": lambda z, y: cross_entropy(z, y, reduction="sum"),
    "no softmax": lambda z, y: -given(z, y).mean(),
    "no logarithm": lambda z, y: -given(z.softmax(dim=1), y).mean(),
    "softmax twice": lambda z, y: cross_entropy(z.softmax(dim=1), y),
    "sign": lambda z, y: -cross_entropy(z, y),
}
LOSS: dict[str, Function] = {
    "swapped": _loss(lambda a: (a, 1 - a)),
    "no weights": _loss(lambda a: (1, 1)),
    "noisy weight 1": _loss(lambda a: (1, a)),
    "both alpha": _loss(lambda a: (a, a)),
    "noisy only": lambda z, y, y_hat, a: cross_entropy(z, y),
    "halved before": _halved_before,
    "corrected only": _loss(lambda a: (0, 1)),
    "no if": lambda z, y, y_hat, a: (1 - a) * cross_entropy(z, y) + a * cross_entropy(z, y_hat),
}
LOSS |= {name: _loss(ce=ce, before=ce) for name, ce in _CE.items()}
LOSS |= {f"{name} (after)": _loss(ce=ce) for name, ce in _CE.items()}


def _probability(logits: Tensor, noisy_labels: Tensor) -> Tensor:
    return given(logits.softmax(dim=1), noisy_labels)


GCE: Wrong = {
    "cross-entropy": lambda x, y, q: cross_entropy(x, y),
    "no division": lambda x, y, q: (1 - _probability(x, y) ** q).mean(),
    "no power": lambda x, y, q: (1 - _probability(x, y)).mean(),
    "divided first": lambda x, y, q: ((1 - _probability(x, y)) / q).mean(),
    "power of the rest": lambda x, y, q: ((1 - _probability(x, y)) ** q / q).mean(),
    "of the mean": lambda x, y, q: (1 - _probability(x, y).mean() ** q) / q,
    "sign": lambda x, y, q: -generalized_cross_entropy(x, y, q),
    "sum": lambda x, y, q: ((1 - _probability(x, y) ** q) / q).sum(),
}
