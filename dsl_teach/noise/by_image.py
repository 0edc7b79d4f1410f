"""Noise that depends on the image: confusing samples are mislabelled more often, and as what they resemble.

The noise may also have a direction: wrong labels only towards more frequent classes, or only towards rarer ones. Where
classes are uneven, this decides what prototypes can gain by being blind to class shares: noise that hides rare classes
under frequent ones is undone by treating all classes alike, noise the other way round is not.

Everywhere ``probabilities`` are (N, K), rows sum to 1, and labels are (N,) int64 below K.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dsl_teach._validate import require, require_labels, require_matrix
from dsl_teach.noise.by_class import mislabel, uniform
from dsl_teach.noise.report import NoisyLabels

Direction = Literal["any", "to_frequent", "to_rare"]

IN_WORDS = {"any": "", "to_frequent": " towards more frequent classes only", "to_rare": " towards rarer classes only"}
"""What to put behind a description of the noise."""


def instance_dependent_noise(
    probabilities: Tensor,
    clean_labels: Tensor,
    noise_rate: float,
    *,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> NoisyLabels:
    r"""Mislabel the samples that a model of the clean labels confuses most, each as its second choice.

    .. math:: s_i = \arg\max_{c \ne y_i} p_c(x_i), \qquad
              k_i = \log \frac{p_{s_i}(x_i)}{p_{y_i}(x_i)} + \text{temperature} \cdot g_i, \qquad
              g_i \sim \operatorname{Gumbel}

    The round(noise_rate * N) samples with the highest k become s. At temperature 0 these are the most confusable
    samples, whatever the generator; above 0 they are drawn without replacement with weights
    (p_s / p_y) ** (1 / temperature), so that some clear samples are mislabelled and some confusing ones are not.

    The probabilities are those of any model trained on clean labels that has not learnt these images by heart, or it
    confuses nothing: a linear model by cross-validation (CIFAR here), the votes of neighbours (digits here), a
    network's softmax outputs averaged over its epochs (SEAL). The generator is one of the CPU; without one, one seeded
    with 0. Between processors, the logarithms may differ in the last of 16 digits: a label changes only if two samples
    tie to within that.

    Raises:
        ValueError: if a setting, a shape or a label is out of range, or too few samples have a second choice.

    Source: after Chen et al., "Beyond Class-Conditional Assumption: A Primary Attempt to Combat Instance-Dependent
    Label Noise", AAAI 2021 (SEAL), which has no temperature and ranks the samples by p_s alone.
    """
    rows = require_probabilities(probabilities, clean_labels)
    clean = require_labels(clean_labels, "clean_labels", length=len(rows), num_classes=rows.shape[1]).cpu()
    require(0 <= temperature < torch.inf, f"temperature must be at least 0 and finite, but it is {temperature}.")
    second_p, second = rows.scatter(1, clean[:, None], -1.0).max(dim=1)
    confusion = second_p.log() - rows.gather(1, clean[:, None]).squeeze(1).log()
    gumbel = -(-uniform(len(clean), generator).clamp(min=1e-300).log()).log()  # finite
    return mislabel(clean, second, confusion + temperature * gumbel, noise_rate, rows.shape[1])


def more_frequent(labels: Tensor, num_classes: int) -> Tensor:
    """(K, K) bool: at [i, j] whether class j has more samples than class i."""
    sizes = torch.bincount(labels, minlength=num_classes)
    return sizes[None, :] > sizes[:, None]


def towards(probabilities: Tensor, clean_labels: Tensor, direction: Direction) -> Tensor:
    """Class probabilities that leave only some classes to mistake a sample for; rows sum to 1 again.

    ``"to_frequent"`` takes every class out that has not more samples than the true one, so that a sample of the most
    frequent class keeps nothing but its own; ``"to_rare"`` every one that has not fewer; ``"any"`` none.
    """
    if direction == "any":
        return probabilities
    allowed = _allowed(clean_labels, direction, probabilities.shape[1]).fill_diagonal_(True)  # its own class
    left = probabilities * allowed[clean_labels]
    return left / left.sum(dim=1, keepdim=True)


def keep_direction(noisy_labels: Tensor, clean_labels: Tensor, direction: Direction, *, num_classes: int) -> Tensor:
    """(N,) the wrong labels of one direction, see :func:`towards`, and the others set right."""
    if direction == "any":
        return noisy_labels
    kept = _allowed(clean_labels, direction, num_classes)[clean_labels, noisy_labels]
    return torch.where(kept, noisy_labels, clean_labels)


def share_to_frequent(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> Tensor:
    """Of the wrong labels, the share that belongs to a class with more clean labels than the true one."""
    wrong = noisy_labels != clean_labels
    up = more_frequent(clean_labels, num_classes)[clean_labels, noisy_labels]
    return up[wrong].double().mean()


def require_probabilities(probabilities: Tensor, clean_labels: Tensor) -> Tensor:
    """Check class probabilities with their labels; returns them in float64 on the CPU.

    Raises:
        ValueError: if it is not a matrix of probabilities, or the labels do not belong to it.
    """
    rows = require_matrix(probabilities, "probabilities").detach().cpu().double()
    told = f"probabilities must have a column for each of at least 2 classes, but have {rows.shape[1]}."
    require(rows.shape[1] >= 2, told)
    broken = ~((rows >= 0).all(dim=1) & ((rows.sum(dim=1) - 1).abs() <= 0.01))  # NaN fails every comparison
    if bool(broken.any()):
        raise ValueError(
            f"probabilities must be at least 0 and sum to 1 in every row, but {int(broken.sum())} row(s) do not, the "
            f"first is row {int(broken.nonzero()[0])}. If they are logits, apply softmax(dim=1)."
        )
    require_labels(clean_labels, "clean_labels", length=len(rows), num_classes=rows.shape[1])
    return rows


def _allowed(clean_labels: Tensor, direction: Direction, num_classes: int) -> Tensor:
    """(K, K) bool: at [i, j] whether a sample of class i may be called j."""
    more = more_frequent(clean_labels, num_classes)
    return {"to_frequent": more, "to_rare": more.T}[direction]
