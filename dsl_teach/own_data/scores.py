r"""How doubtful each given label is: class scores in the space of the features, each sample asked without its label.

Leave-one-out class means, compared by the cosine in whitened features, and where these say more of the given labels
back, the votes of the ten nearest beside them. With A the covariance within
classes, drawn a little towards a sphere, and all quantities primed that are computed without sample i,

.. math:: \sigma_c(x_i) = \frac{x_i^\top A'^{-1} \mu'_c}{|x_i|_{A'} \, |\mu'_c|_{A'}}, \qquad
          A'^{-1} = A^{-1} + \frac{c \, A^{-1} u u^\top A^{-1}}{1 - c \, u^\top A^{-1} u}, \qquad u = x_i - \mu_{y_i}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import cross_entropy

from dsl_teach.prototypes.variants import neighbour_scores

SHRINKAGE = 0.1
"""How far whitening draws the covariance towards a sphere, so that directions without spread do not explode."""
MOST_AXES = 256
"""Principal axes of the features that count."""
BLOCK = 8192
MOST_FITTED = 50_000
"""Rows that the temperature is fitted on, at most."""
NEAREST, MOST_VOTING = 10, 20_000
"""Neighbours that vote, and images among which they are looked for: of more, class means alone count."""


def label_scores(features: Tensor, axes: Tensor, noisy_labels: Tensor, *, num_classes: int) -> tuple[Tensor, str]:
    """(N, K) class scores that do not know a sample's own label, and what they are.

    Class means; where the vote of the nearest says more of the given labels back, their sum, each in units of its
    deviation: nobody knows which labels are right, but what agrees more with the given ones finds the classes better.
    Features are (N, D), ``axes`` their :func:`principal_axes`.
    """
    means = class_mean_scores(axes, noisy_labels, num_classes=num_classes)
    if not 2 <= len(features) <= MOST_VOTING:
        return means, "class means"
    rows = torch.arange(len(features))
    votes = neighbour_scores(features.float(), noisy_labels, rows, num_classes=num_classes, neighbours=NEAREST)
    said_back = [float((scores.argmax(dim=1) == noisy_labels).double().mean()) for scores in (means, votes)]
    told = f"given labels said back by class means {said_back[0]:.1%}, by the {NEAREST} nearest {said_back[1]:.1%}"
    if said_back[1] <= said_back[0]:
        return means, f"class means ({told})"
    return means / means.std().clamp(min=1e-6) + votes / votes.std().clamp(min=1e-6), f"both ({told})"


def principal_axes(features: Tensor) -> Tensor:
    """(N, D') float32, centred features along the axes of greatest spread, at most half as many as samples."""
    rows, middle = features.split(BLOCK), features.new_zeros(features.shape[1], dtype=torch.float64)
    for x in rows:
        middle += x.sum(dim=0, dtype=torch.float64) / len(features)
    second = torch.zeros(len(middle), len(middle), dtype=torch.float64)
    for x in rows:
        centred = x.float() - middle.float()
        second += centred.T @ centred
    _, directions = torch.linalg.eigh(second.float())
    axes = directions.flip(1)[:, : max(1, min(MOST_AXES, len(features) // 2))]
    return torch.cat([(x.float() - middle.float()) @ axes for x in rows])


def class_mean_scores(features: Tensor, noisy_labels: Tensor, *, num_classes: int) -> Tensor:
    """(N, K) cosines in whitened features to the class means, all computed without the sample itself.

    The only sample of its class is like nothing in it: -1 there. Centred features are (N, D), labels (N,) below K.
    """
    n = torch.bincount(noisy_labels, minlength=num_classes).float()
    sums = features.new_zeros(num_classes, features.shape[1]).index_add_(0, noisy_labels, features)
    means = sums / n.clamp(min=1)[:, None]
    within = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for x, y in zip(features.split(BLOCK), noisy_labels.split(BLOCK), strict=True):
        within += (x - means[y]).T @ (x - means[y]) / len(features)
    sphere = within.trace().clamp(min=1e-12) / len(within)
    spread, directions = torch.linalg.eigh((1 - SHRINKAGE) * within)
    whiten = (directions * (spread.clamp(min=0) + SHRINKAGE * sphere).rsqrt()).float()
    means = means @ whiten
    products = means @ means.T
    found = []
    for x, y in zip((features @ whiten).split(BLOCK), noisy_labels.split(BLOCK), strict=True):
        rows, size = torch.arange(len(y)), n[y]
        u = x - means[y]
        c = (1 - SHRINKAGE) / len(features) * size / (size - 1).clamp(min=1)
        gain = c / (1 - c * u.square().sum(dim=1)).clamp(min=1e-3)
        to_x, to_u = x @ means.T, u @ means.T
        length = products.diagonal().expand(len(y), -1).clone()
        own = means[y] - u / (size - 1).clamp(min=1)[:, None]
        to_x[rows, y], to_u[rows, y] = (x * own).sum(dim=1), (u * own).sum(dim=1)
        length[rows, y] = own.square().sum(dim=1)
        along = (x * u).sum(dim=1)
        top = to_x + (gain * along)[:, None] * to_u
        under = (length + gain[:, None] * to_u.square()) * (x.square().sum(dim=1) + gain * along.square())[:, None]
        cosines = (top * under.clamp(min=1e-20).rsqrt()).masked_fill(n == 0, -1)
        cosines[rows[size == 1], y[size == 1]] = -1
        found.append(cosines)
    return torch.cat(found)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the class scores say of N given labels. Probabilities are those of a model fitted to the given labels."""

    quality: Tensor
    """(N,) probability of the given class; low is doubtful."""
    predicted: Tensor
    """(N,) int64, the likeliest class."""
    sureness: Tensor
    """(N,) probability of that class."""
    wrong: Tensor
    """(N,) probability that the given label is wrong, if mistakes fall at random."""
    mistakes: float
    """The share of labels that such mistakes make wrong."""


def judge(scores: Tensor, noisy_labels: Tensor) -> Judgement:
    r"""Turn class scores that do not know a sample's own label into probabilities, and tell how many labels are wrong.

    .. math:: p_c(x) \propto n_c^{\,w} \, e^{a \sigma_c(x)}, \qquad
              q_y(x) = (1 - \epsilon) \, p_y(x) + \epsilon \, \frac{1 - p_y(x)}{K - 1}, \qquad
              P(\text{wrong}) = \epsilon \, \frac{1 - p_y(x)}{K - 1} \Big/ q_y(x)

    a, w and epsilon are those under which the given labels are likeliest. Labels that fell on any class alike stand out
    against what the scores find hard; labels that people confused where classes look alike do not, and count as hard.
    """
    k = scores.shape[1]
    prior = torch.bincount(noisy_labels, minlength=k).double().clamp(min=1).log()
    some = torch.arange(0, len(scores), max(1, len(scores) // max(1000, min(MOST_FITTED, 20_000_000 // k))))
    known, labels = scores[some].double(), noisy_labels[some]

    def loss(point: Any) -> tuple[float, Any]:
        free = torch.tensor(point, requires_grad=True)
        p = (-cross_entropy(free[0].exp() * known + free[1] * prior, labels, reduction="none")).exp()
        rate = free[2].sigmoid()
        value = -((1 - rate) * p + rate * (1 - p) / (k - 1)).clamp(min=1e-30).log().mean()
        value.backward()
        return value.item(), free.grad.numpy()  # type: ignore[union-attr]

    # log a, w, logit of epsilon; torch's own L-BFGS would take seconds to load
    log_a, weight, logit = minimize(loss, [3.0, 1.0, -4.0], jac=True, bounds=((-3, 8), (None, None), (-20, 0))).x
    a, rate = math.exp(log_a), 1 / (1 + math.exp(-logit))
    parts = []
    for block, y in zip(scores.split(BLOCK), noisy_labels.split(BLOCK), strict=True):
        p = torch.softmax(a * block.double() + weight * prior, dim=1)
        given, (sureness, predicted) = p.gather(1, y[:, None]).squeeze(1), p.max(dim=1)
        by_chance = rate * (1 - given) / (k - 1)
        parts.append((given, predicted, sureness, by_chance / ((1 - rate) * given + by_chance).clamp(min=1e-300)))
    quality, predicted, sureness, wrong = (torch.cat(part) for part in zip(*parts, strict=True))
    return Judgement(quality, predicted, sureness, wrong, rate)


def wrong_in_first(found: Judgement, first: int = 100) -> tuple[float, float, float]:
    """How many of the ``first`` most doubtful labels are wrong, and its 95 % interval, if mistakes fall at random.

    Where people confused classes that look alike it says too few: scores cannot tell such labels from hard samples.
    The variance is that of independent samples, and that of the number of mistakes, which is not known either.
    """
    wrong, number = found.wrong[found.quality.argsort(stable=True)[:first]], float(found.wrong.sum())
    expected, variance = float(wrong.sum()), float((wrong * (1 - wrong)).sum())
    half = 1.96 * (variance + variance**2 / max(number, 1)) ** 0.5
    high = max(expected + half, 3.0)  # none seen: up to three of any number, by the rule of three
    return expected, max(0.0, expected - half), min(len(wrong), high)
