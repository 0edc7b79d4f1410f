"""The usual mistakes in counting: what noise, a correction and chance do to labels, runs compared, and hours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsl_lessons.exercises.judge import Function, Mistakes
from dsl_teach.metrics import class_shares
from dsl_teach.noise import noise_report


def share(mask: Tensor) -> Tensor:
    """Of how many it is true, from 0 to 1."""
    return mask.double().mean()


def counts(labels: Tensor, k: int) -> Tensor:
    """(K,) how many labels each class has; those below 0 are unknown."""
    return torch.bincount(labels[labels >= 0], minlength=k).double()


CHANCE: Mistakes = {
    "You took 1 − Σ p_c², the noisy shares with themselves. The corrected labels have shares of their own: "
    "1 − Σ q_c q̂_c.": lambda y, y_hat, k: 1 - class_shares(y, k) @ class_shares(y, k),
    "You took the corrected shares with themselves: 1 − Σ q_c q̂_c needs the noisy ones too.": lambda y, y_hat, k: (
        1 - class_shares(y_hat, k) @ class_shares(y_hat, k)
    ),
    "You took 1 − 1/K. That holds only where all classes are equally frequent.": lambda y, y_hat, k: 1 - 1 / k,
    "That is the chance that the label stays: take 1 minus it.": lambda y, y_hat, k: (
        class_shares(y, k) @ class_shares(y_hat, k)
    ),
    "That is the share that did change. The chance level asks what it would be if "
    "corrected labels were dealt out blindly.": lambda y, y_hat, k: share(y != y_hat),
    "You multiplied counts: divide them by the number of samples first.": lambda y, y_hat, k: (
        1 - counts(y, k) @ counts(y_hat, k)
    ),
}


def fixed(noisy_labels: Tensor, corrected_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """The share of samples whose label was wrong and is right now."""
    return share((noisy_labels != clean_labels) & (corrected_labels == clean_labels))


FIXED: Mistakes = {
    "You counted every label that is right now. Fixed are only those that were wrong before.": lambda y, y_hat, t: (
        share(y_hat == t)
    ),
    "That is the share broken: right before, wrong now.": lambda y, y_hat, t: share((y == t) & (y_hat != t)),
    "That is the share changed. A changed label may have been right before, "
    "or may be wrong still.": lambda y, y_hat, t: share(y != y_hat),
    "You counted every wrong label that was changed: some were changed to another wrong one.": lambda y, y_hat, t: (
        share((y != t) & (y_hat != y))
    ),
    "You divided by the number of wrong labels: divide by the number of all samples.": lambda y, y_hat, t: share(
        (y_hat == t)[y != t]
    ),
    "You returned how many: divide by the number of samples.": lambda y, y_hat, t: ((y != t) & (y_hat == t)).sum(),
    "You took fixed minus broken: here only the fixed ones count.": lambda y, y_hat, t: (
        fixed(y, y_hat, t) - share((y == t) & (y_hat != t))
    ),
}


def memorised(predicted: Tensor, noisy_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """Among the wrongly labelled samples, the share for which the network gives the wrong label it was given."""
    return share((predicted == noisy_labels)[noisy_labels != clean_labels])


MEMORISED: Mistakes = {
    "You looked at all samples: memorising is about the wrongly labelled ones only.": lambda f, y, t: share(f == y),
    "You compared with the true labels. Memorised means: "
    "the network gives the wrong label that it was given.": lambda f, y, t: share((f == t)[y != t]),
    "You divided by the number of all samples: divide by the number of wrongly labelled ones.": lambda f, y, t: share(
        (f == y) & (y != t)
    ),
    "You looked at the rightly labelled samples: "
    "take those whose noisy label differs from the clean one.": lambda f, y, t: share((f == y)[y == t]),
    "You counted every wrong answer on them: only the given, wrong label counts, "
    "not some third class.": lambda f, y, t: share((f != t)[y != t]),
    "You returned how many: divide by the number of wrongly labelled samples.": lambda f, y, t: (
        (f == y) & (y != t)
    ).sum(),
}


def transition(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> Tensor:
    """The library's transition matrix: rows are true classes, columns are given labels, rows sum to 1."""
    return noise_report(clean_labels, noisy_labels, num_classes).transition_matrix


def _pairs(clean: Tensor, noisy: Tensor, k: int) -> Tensor:
    return counts(clean * k + noisy, k * k).view(k, k)


TRANSITION: Mistakes = {
    "Rows and columns are swapped: rows are true classes, columns are given labels.": lambda t, y, k: (
        transition(t, y, k).T
    ),
    "Your columns sum to 1: divide each row by its sum (dim=1, keepdim=True).": lambda t, y, k: (
        _pairs(t, y, k) / _pairs(t, y, k).sum(dim=0, keepdim=True)
    ),
    "The whole matrix sums to 1: each row must, "
    "so divide by the number of samples of the true class.": lambda t, y, k: _pairs(t, y, k) / len(y),
    "These are counts: divide each row by its sum.": _pairs,
    "Rows and columns are swapped, and the columns of the matrix wanted sum to something else than 1: "
    "rows are true classes, and each row sums to 1.": lambda t, y, k: transition(y, t, k),
}


def symmetric_matrix(noise_rate: float, num_classes: int) -> Tensor:
    """T of symmetric noise: 1 - r on the diagonal, r / (K - 1) elsewhere."""
    return _matrix(num_classes, 1 - noise_rate, noise_rate / (num_classes - 1))


def _matrix(k: int, right: float, wrong: float) -> Tensor:
    return torch.full((k, k), wrong, dtype=torch.float64).fill_diagonal_(right)


SYMMETRIC_MATRIX: Mistakes = {
    "You spread the rate over all K classes, the true one too. A flipped label is always wrong: "
    "spread it over the K − 1 others.": lambda r, k: _matrix(k, 1 - r + r / k, r / k),
    "Your rows do not sum to 1: each of the K − 1 wrong labels gets r / (K − 1).": lambda r, k: _matrix(
        k, 1 - r, r / k
    ),
    "Every wrong label got the whole rate: all K − 1 together have it.": lambda r, k: _matrix(k, 1 - r, r),
    "The diagonal holds the wrong labels: a label stays right with probability 1 − r.": lambda r, k: _matrix(
        k, r, (1 - r) / (k - 1)
    ),
    "That is the matrix without noise: the rate is missing.": lambda r, k: torch.eye(k),
}

SHARES: Mistakes = {
    "These are counts: divide by their sum.": counts,
    "You divided by all samples. Labels of -1 are unknown: count among those that are known.": lambda y, k: (
        counts(y, k) / len(y)
    ),
    "You divided by the largest class: shares add up to 1.": lambda y, k: counts(y, k) / counts(y, k).max(),
    "Every class got the same share: count its labels.": lambda y, k: torch.full((k,), 1 / k),
}

DIRECTION: Mistakes = {
    "You counted among all labels. Asked is the share of the **wrong** labels.": lambda t, y, k: share(
        counts(t, k)[y] > counts(t, k)[t]
    ),
    "You took the sizes of the classes from the noisy labels, which the noise itself has moved. "
    "Take clean ones.": lambda t, y, k: share((counts(y, k)[y] > counts(y, k)[t])[y != t]),
    "That is the share of wrong labels that go to a rarer class, or one of the same size: "
    "look the other way.": lambda t, y, k: 1 - noise_report(t, y, k).share_to_frequent,
    "That is the share of wrong labels.": lambda t, y, k: share(y != t),
}

SOFT: Mistakes = {
    "The temperature does not take part: divide the scores by it first.": lambda s, t: s.softmax(dim=1),
    "You multiplied by the temperature: divide.": lambda s, t: (s * t).softmax(dim=1),
    "You divided after the softmax: divide the scores before it.": lambda s, t: s.softmax(dim=1) / t,
    "Your softmax runs over the samples: over the classes, dim=1.": lambda s, t: (s / t).softmax(dim=0),
    "That is a hard label, one class with all the weight.": lambda s, t: one_hot(s.argmax(dim=1), s.shape[1]).double(),
}


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
