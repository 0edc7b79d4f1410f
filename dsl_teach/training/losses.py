"""The self-learning loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def self_learning_loss(
    logits: Tensor, noisy_labels: Tensor, corrected_labels: Tensor | None = None, alpha: float = 0.0
) -> Tensor:
    r"""Learn from the noisy and the corrected labels at once.

    .. math:: L = (1 - \alpha) \, \mathrm{CE}(F(x), y) + \alpha \, \mathrm{CE}(F(x), \hat{y})

    Until the first correction there are no corrected labels, and alpha counts as 0.

    Args:
        logits: (B, K), the network's output F(x).
        noisy_labels: (B,) int64, y.
        corrected_labels: (B,) int64, or (B, K) class probabilities, or None before the first correction.
        alpha: weight of the corrected labels, from 0 to 1.

    Returns:
        The mean over the batch.

    Source: Han, Luo, Wang, ICCV 2019, section 3.1.
    """
    if corrected_labels is None or alpha == 0:
        return cross_entropy(logits, noisy_labels)
    if alpha == 1:
        return cross_entropy(logits, corrected_labels)
    return (1 - alpha) * cross_entropy(logits, noisy_labels) + alpha * cross_entropy(logits, corrected_labels)
