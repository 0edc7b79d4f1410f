"""The self-learning loss, the robust losses that it is compared with, and mixed pairs of samples.

Everywhere logits F(x) are (B, K), noisy labels y are (B,) int64, p = softmax(F(x)), and a loss is the mean over the
batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softmax

from dsl_teach._validate import require, require_labels

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, K) and labels (B,) in, the mean over the batch out."""


def self_learning_loss(
    logits: Tensor,
    noisy_labels: Tensor,
    corrected_labels: Tensor | None = None,
    alpha: float = 0.0,
    *,
    noisy_loss: Loss = cross_entropy,
) -> Tensor:
    r"""Learn from the noisy and the corrected labels at once.

    .. math:: L = (1 - \alpha) \, \mathrm{CE}(F(x), y) + \alpha \, \mathrm{CE}(F(x), \hat{y})

    The corrected labels are (B,) int64, or (B, K) class probabilities, or None before the first correction: alpha,
    from 0 to 1, counts as 0 then. ``noisy_loss`` may be used instead of CE(F(x), y).

    Raises:
        ValueError: if alpha is out of range, or a label is no class (on a GPU nobody looks: it would stall every step).

    Source: Han, Luo, Wang, ICCV 2019, section 3.1.
    """
    require(0 <= alpha <= 1, f"alpha must lie in 0 .. 1, but it is {alpha}.")
    _require_classes(logits, noisy_labels, corrected_labels)
    if corrected_labels is None or alpha == 0:
        return noisy_loss(logits, noisy_labels)
    if alpha == 1:
        return cross_entropy(logits, corrected_labels)
    return (1 - alpha) * noisy_loss(logits, noisy_labels) + alpha * cross_entropy(logits, corrected_labels)


def smoothed_cross_entropy(logits: Tensor, noisy_labels: Tensor, smoothing: float = 0.5) -> Tensor:
    r"""Label smoothing: a part of every label is shared by all classes alike, so no label is believed entirely.

    .. math:: L = (1 - \epsilon) \, \mathrm{CE}(F(x), y) - \frac{\epsilon}{K} \sum_c \log p_c, \qquad 0 \le \epsilon < 1

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016; against label
    noise: Lukasik et al., "Does Label Smoothing Mitigate Label Noise?", ICML 2020.
    """
    require(0 <= smoothing < 1, f"smoothing must be at least 0 and below 1, but it is {smoothing}.")
    _require_classes(logits, noisy_labels)
    return cross_entropy(logits, noisy_labels, label_smoothing=smoothing)


def generalized_cross_entropy(logits: Tensor, noisy_labels: Tensor, q: float = 0.7) -> Tensor:
    r"""Between cross-entropy (q near 0) and the mean absolute error (q = 1): hard samples pull less.

    .. math:: L = \frac{1 - p_y^{\,q}}{q}, \qquad 0 < q \le 1

    Source: Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
    NeurIPS 2018.
    """
    require(0 < q <= 1, f"q must be above 0 and at most 1, but it is {q}.")
    _require_classes(logits, noisy_labels)
    return ((1 - torch.exp(-q * cross_entropy(logits, noisy_labels, reduction="none"))) / q).mean()


def early_learning_regularization(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Pull the network towards what it used to say of a sample, before it learned wrong labels by heart.

    .. math:: R = \log\bigl(1 - \langle p, t \rangle\bigr)

    with the targets t, (B, K), from :func:`early_learning_targets`.

    Source: Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020.
    """
    return torch.log(1 - (probabilities_inside(logits) * targets).sum(dim=1)).mean()


@torch.no_grad()
def early_learning_targets(targets: Tensor, logits: Tensor, momentum: float = 0.7) -> Tensor:
    r"""The running mean of a network's answers to each sample.

    .. math:: t \leftarrow \beta t + (1 - \beta) \, p / \lVert p \rVert_1

    with the targets t so far, (B, K), zeros for samples not seen yet, and beta, the momentum. Source: as above.
    """
    require(0 <= momentum < 1, f"momentum must be at least 0 and below 1, but it is {momentum}.")
    probabilities = probabilities_inside(logits)
    return momentum * targets + (1 - momentum) * probabilities / probabilities.sum(dim=1, keepdim=True)


def probabilities_inside(logits: Tensor) -> Tensor:
    """Softmax kept away from 0 and 1, where the logarithm above would not be finite."""
    return softmax(logits, dim=1).clamp(1e-4, 1 - 1e-4)


def early_learning_loss(logits: Tensor, noisy_labels: Tensor, *, targets: Tensor, weight: float) -> Tensor:
    """Cross-entropy, and ``weight`` times :func:`early_learning_regularization`."""
    _require_classes(logits, noisy_labels)
    return cross_entropy(logits, noisy_labels) + weight * early_learning_regularization(logits, targets)


def mixup(images: Tensor, a: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    r"""Each image, (B, ...), mixed with another of its batch.

    .. math:: \tilde{x} = \lambda x_i + (1 - \lambda) x_j, \quad \lambda = \max(b, 1 - b), \; b \sim \mathrm{Beta}(a, a)

    The loss is to be mixed likewise. Because lambda is a half at least, the answer still belongs to sample i. Of
    several processes each mixes within its part of the batch, all with the same lambda. With a near 0 hardly anything
    is mixed; the generator is a CPU's.

    Returns:
        The mixed images as floating numbers; (B,) int64, the place in the batch of each sample's partner; lambda.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    require(0 < a < torch.inf, f"mixup's a must be above 0 and finite, but it is {a}.")
    numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    beta = numbers.beta(a, a)
    share = float(max(beta, 1 - beta))
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    images = images.float()
    return share * images + (1 - share) * images[partner], partner, share


def _require_classes(logits: Tensor, noisy_labels: Tensor, corrected_labels: Tensor | None = None) -> None:
    """Labels must be classes, or rows of probabilities: of some others, -100 say, torch would say nothing."""
    for name, labels in (("noisy_labels", noisy_labels), ("corrected_labels", corrected_labels)):
        if labels is not None and labels.is_floating_point():
            told = f"{name} must be {tuple(logits.shape)} probabilities, but their shape is {tuple(labels.shape)}."
            require(labels.shape == logits.shape, told)
        elif labels is not None and not labels.is_cuda:
            require_labels(labels, name, length=len(logits), num_classes=logits.shape[1])
