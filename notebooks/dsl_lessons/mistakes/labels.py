"""The usual mistakes in the loss, in counting labels, and in noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dsl_lessons.mistakes.mistake import Mistake

# --- loss ------------------------------------------------------------------------------------------------------------


def _two(noisy: Callable[..., Tensor], corrected: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss that is right before the first correction and goes wrong after it."""

    def loss(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
        if y_hat is None:
            return cross_entropy(logits, y)
        return noisy(logits, y, alpha) + corrected(logits, y_hat, alpha)

    return loss


def _each(ce: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The right weights around a wrong cross-entropy."""

    def loss(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
        return ce(logits, y) if y_hat is None else (1 - alpha) * ce(logits, y) + alpha * ce(logits, y_hat)

    return loss


def _picked(rows: Tensor, labels: Tensor) -> Tensor:
    return rows.gather(1, labels[:, None]).squeeze(1)


def _halved_before(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
    noisy = (1 - alpha) * cross_entropy(logits, y)
    return noisy if y_hat is None else noisy + alpha * cross_entropy(logits, y_hat)


LOSS = [
    Mistake(
        "You swapped alpha and 1 − alpha: alpha is the weight of the corrected labels.",
        _two(lambda z, y, a: a * cross_entropy(z, y), lambda z, y, a: (1 - a) * cross_entropy(z, y)),
    ),
    Mistake(
        "You added the two losses without weights: the noisy one has weight 1 − alpha, the corrected one alpha.",
        _two(lambda z, y, a: cross_entropy(z, y), lambda z, y, a: cross_entropy(z, y)),
    ),
    Mistake(
        "The noisy labels have weight 1 instead of 1 − alpha: the two weights must sum to 1.",
        _two(lambda z, y, a: cross_entropy(z, y), lambda z, y, a: a * cross_entropy(z, y)),
    ),
    Mistake(
        "Both parts have weight alpha: the noisy labels have 1 − alpha.",
        _two(lambda z, y, a: a * cross_entropy(z, y), lambda z, y, a: a * cross_entropy(z, y)),
    ),
    Mistake(
        "The corrected labels do not take part: add alpha times the cross-entropy against them.",
        lambda z, y, y_hat, a: cross_entropy(z, y),
    ),
    Mistake(
        "Before the first correction there are no corrected labels (None), and alpha counts as 0: the noisy labels "
        "then have the whole weight 1.",
        _halved_before,
    ),
    Mistake(
        "You summed over the batch: take the mean, so that the loss does not depend on the batch size.",
        _each(lambda z, y: cross_entropy(z, y, reduction="sum")),
    ),
    Mistake(
        "You left out the softmax: cross-entropy needs the logarithm of probabilities, not logits.",
        _each(lambda z, y: -_picked(z, y).mean()),
    ),
    Mistake(
        "You left out the logarithm: cross-entropy is minus the log of the label's probability.",
        _each(lambda z, y: -_picked(z.softmax(dim=1), y).mean()),
    ),
    Mistake(
        "You took the softmax twice: torch's cross_entropy wants logits and takes the softmax itself.",
        _each(lambda z, y: cross_entropy(z.softmax(dim=1), y)),
    ),
    Mistake(
        "The sign is wrong: cross-entropy is minus the log of the label's probability.",
        _each(lambda z, y: -cross_entropy(z, y)),
    ),
]


# --- chance ----------------------------------------------------------------------------------------------------------


def _shares(labels: Tensor, k: int) -> Tensor:
    return torch.bincount(labels, minlength=k).double() / len(labels)


CHANCE = [
    Mistake(
        "You took 1 − Σ p_c², the noisy shares with themselves. The corrected labels have shares of their own: "
        "1 − Σ q_c q̂_c.",
        lambda y, y_hat, k: 1 - _shares(y, k) @ _shares(y, k),
    ),
    Mistake(
        "You took the corrected shares with themselves: 1 − Σ q_c q̂_c needs the noisy ones too.",
        lambda y, y_hat, k: 1 - _shares(y_hat, k) @ _shares(y_hat, k),
    ),
    Mistake(
        "You took 1 − 1/K. That holds only where all classes are equally frequent.",
        lambda y, y_hat, k: 1 - 1 / k,
    ),
    Mistake(
        "That is the chance that the label stays: take 1 minus it.",
        lambda y, y_hat, k: _shares(y, k) @ _shares(y_hat, k),
    ),
    Mistake(
        "That is the share that did change. The chance level asks what it would be if corrected labels were dealt out "
        "blindly.",
        lambda y, y_hat, k: (y != y_hat).double().mean(),
    ),
    Mistake(
        "You multiplied counts: divide them by the number of samples first.",
        lambda y, y_hat, k: 1 - torch.bincount(y, minlength=k).double() @ torch.bincount(y_hat, minlength=k).double(),
    ),
]


# --- mended ----------------------------------------------------------------------------------------------------------


def mended(noisy_labels: Tensor, corrected_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """The share of samples whose label was wrong and is right now."""
    return ((noisy_labels != clean_labels) & (corrected_labels == clean_labels)).double().mean()


MENDED = [
    Mistake(
        "You counted every label that is right now. Mended are only those that were wrong before.",
        lambda y, y_hat, clean: (y_hat == clean).double().mean(),
    ),
    Mistake(
        "That is the share spoilt: right before, wrong now.",
        lambda y, y_hat, clean: ((y == clean) & (y_hat != clean)).double().mean(),
    ),
    Mistake(
        "That is the share changed. A changed label may have been right before, or may be wrong still.",
        lambda y, y_hat, clean: (y != y_hat).double().mean(),
    ),
    Mistake(
        "You counted every wrong label that was changed: some were changed to another wrong one.",
        lambda y, y_hat, clean: ((y != clean) & (y_hat != y)).double().mean(),
    ),
    Mistake(
        "You divided by the number of wrong labels: divide by the number of all samples.",
        lambda y, y_hat, clean: (y_hat == clean)[y != clean].double().mean(),
    ),
    Mistake(
        "You returned how many: divide by the number of samples.",
        lambda y, y_hat, clean: ((y != clean) & (y_hat == clean)).sum(),
    ),
    Mistake(
        "You took mended minus spoilt: here only the mended ones count.",
        lambda y, y_hat, clean: mended(y, y_hat, clean) - ((y == clean) & (y_hat != clean)).double().mean(),
    ),
]


# --- memorised -------------------------------------------------------------------------------------------------------


def memorised(predicted: Tensor, noisy_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """Among the wrongly labelled samples, the share for which the network gives the wrong label it was given."""
    return (predicted == noisy_labels)[noisy_labels != clean_labels].double().mean()


MEMORISED = [
    Mistake(
        "You looked at all samples: memorising is about the wrongly labelled ones only.",
        lambda f, y, clean: (f == y).double().mean(),
    ),
    Mistake(
        "You compared with the true labels. Memorised means: the network gives the wrong label that it was given.",
        lambda f, y, clean: (f == clean)[y != clean].double().mean(),
    ),
    Mistake(
        "You divided by the number of all samples: divide by the number of wrongly labelled ones.",
        lambda f, y, clean: ((f == y) & (y != clean)).double().mean(),
    ),
    Mistake(
        "You looked at the rightly labelled samples: take those whose noisy label differs from the clean one.",
        lambda f, y, clean: (f == y)[y == clean].double().mean(),
    ),
    Mistake(
        "You counted every wrong answer on them: only the given, wrong label counts, not some third class.",
        lambda f, y, clean: (f != clean)[y != clean].double().mean(),
    ),
    Mistake(
        "You returned how many: divide by the number of wrongly labelled samples.",
        lambda f, y, clean: ((f == y) & (y != clean)).sum(),
    ),
]


# --- transition matrix -----------------------------------------------------------------------------------------------


def transition(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> Tensor:
    """Rows are true classes, columns are given labels, rows sum to 1."""
    counts = _counts(clean_labels, noisy_labels, num_classes)
    return counts / counts.sum(dim=1, keepdim=True)


def _counts(clean: Tensor, noisy: Tensor, k: int) -> Tensor:
    return torch.bincount(clean * k + noisy, minlength=k * k).view(k, k).double()


TRANSITION = [
    Mistake(
        "Rows and columns are swapped: rows are true classes, columns are given labels.",
        lambda clean, y, k: transition(clean, y, k).T,
    ),
    Mistake(
        "Your columns sum to 1: divide each row by its sum (dim=1, keepdim=True).",
        lambda clean, y, k: _counts(clean, y, k) / _counts(clean, y, k).sum(dim=0, keepdim=True),
    ),
    Mistake(
        "The whole matrix sums to 1: each row must, so divide by the number of samples of the true class.",
        lambda clean, y, k: _counts(clean, y, k) / len(y),
    ),
    Mistake("These are counts: divide each row by its sum.", _counts),
    Mistake(
        "Rows and columns are swapped, and the columns of the matrix wanted sum to something else than 1: rows are "
        "true classes, and each row sums to 1.",
        lambda clean, y, k: transition(y, clean, k),
    ),
]


# --- symmetric noise -------------------------------------------------------------------------------------------------


def symmetric_matrix(noise_rate: float, num_classes: int) -> Tensor:
    """T of symmetric noise: 1 - r on the diagonal, r / (K - 1) elsewhere."""
    matrix = torch.full((num_classes, num_classes), noise_rate / (num_classes - 1), dtype=torch.float64)
    return matrix.fill_diagonal_(1 - noise_rate)


SYMMETRIC_MATRIX = [
    Mistake(
        "You spread the rate over all K classes, the true one too. A flipped label is always wrong: spread it over "
        "the K − 1 others.",
        lambda r, k: torch.full((k, k), r / k).fill_diagonal_(1 - r + r / k),
    ),
    Mistake(
        "Your rows do not sum to 1: each of the K − 1 wrong labels gets r / (K − 1).",
        lambda r, k: torch.full((k, k), r / k).fill_diagonal_(1 - r),
    ),
    Mistake(
        "Every wrong label got the whole rate: all K − 1 together have it.",
        lambda r, k: torch.full((k, k), r).fill_diagonal_(1 - r),
    ),
    Mistake(
        "The diagonal holds the wrong labels: a label stays right with probability 1 − r.",
        lambda r, k: torch.full((k, k), (1 - r) / (k - 1)).fill_diagonal_(r),
    ),
    Mistake("That is the matrix without noise: the rate is missing.", lambda r, k: torch.eye(k)),
]
