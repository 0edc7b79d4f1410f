"""What a batch is trained on: the loss against the noisy labels that the settings name, and mixed pairs of samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softmax

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, Batches
from dsl_teach.seeds import stream
from dsl_teach.training.distributed import ALONE, Team
from dsl_teach.training.evaluation import frozen
from dsl_teach.training.losses import (
    Loss,
    early_learning_regularization,
    early_learning_targets,
    estimated_transition_matrix,
    forward_cross_entropy,
    generalized_cross_entropy,
    smoothed_cross_entropy,
    symmetric_cross_entropy,
)
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.state import TARGETS, Memory


def noisy_loss(settings: Settings, memory: Memory, index: Tensor) -> Loss:
    """The loss against the noisy labels of one batch.

    Args:
        settings: which, and its numbers.
        memory: what it remembers, see :func:`remember`; it is not changed.
        index: (B,) int64, the samples of the batch.
    """
    if settings.loss == "smoothed":
        return partial(smoothed_cross_entropy, smoothing=settings.smoothing)
    if settings.loss == "gce":
        return partial(generalized_cross_entropy, q=settings.gce_q)
    if settings.loss == "sce":
        return partial(symmetric_cross_entropy, a=settings.sce_a, b=settings.sce_b)
    if settings.loss == "elr":
        return partial(early_learning_loss, targets=memory[TARGETS][index], weight=settings.elr_weight)
    if settings.loss == "forward" and "transition_matrix" in memory:
        return partial(forward_cross_entropy, transition_matrix=memory["transition_matrix"])
    return cross_entropy


def early_learning_loss(logits: Tensor, noisy_labels: Tensor, *, targets: Tensor, weight: float) -> Tensor:
    """Cross-entropy with the pull towards what the network used to say of the samples."""
    return cross_entropy(logits, noisy_labels) + weight * early_learning_regularization(logits, targets)


def remember(settings: Settings, memory: Memory, index: Tensor, logits: Tensor) -> None:
    """Bring up to date what the loss remembers of the samples of a batch: once a step, before the loss is taken."""
    if settings.loss == "elr":
        before = memory[TARGETS][index]
        memory[TARGETS][index] = early_learning_targets(before, logits, settings.elr_momentum)


def first_memory(settings: Settings, train: Batches, num_classes: int) -> Memory:
    """What a run remembers before its first step."""
    if settings.loss != "elr":
        return {}
    like = train.noisy_labels
    return {TARGETS: torch.zeros(len(like), num_classes, device=like.device)}


def estimate_transition_matrix(network: EmbeddingNetwork, train: Batches, team: Team = ALONE) -> Tensor:
    """T from what the network says of the training samples, in the fixed view and with frozen weights."""
    probabilities = train.noisy_labels.new_zeros(len(train.noisy_labels), network.num_classes, dtype=torch.float32)
    with frozen(network):
        for batch in train.in_order():
            probabilities[batch.index] = softmax(network(batch.images)[0], dim=1).float()
    return estimated_transition_matrix(team.total(probabilities))


class Mixture(NamedTuple):
    """The images of a batch as the network sees them, each perhaps mixed with another."""

    images: Tensor
    partner: Tensor | None = None
    """(B,) int64, the place in the batch of the sample that each is mixed with; None: nothing is mixed."""
    share: float = 1.0
    """Lambda, how much of each mixture is the sample itself."""

    def of(self, loss: Callable[..., Tensor], *labels: Tensor | None) -> Tensor:
        """The loss against the samples' own labels, mixed with that against their partners'."""
        if self.partner is None:
            return loss(*labels)
        theirs = [None if known is None else known[self.partner] for known in labels]
        return self.share * loss(*labels) + (1 - self.share) * loss(*theirs)


def mix_batch(batch: Batch, settings: Settings, epoch: int, step: int) -> Mixture:
    r"""Each image mixed with another of its batch, if the settings ask for it.

    .. math:: \tilde{x} = \lambda x_i + (1 - \lambda) x_j, \quad \lambda = \max(b, 1 - b), \; b \sim \mathrm{Beta}(a, a)

    The loss is mixed likewise. Because lambda is a half at least, the answer still belongs to sample i. Of several
    processes each mixes within its part of the batch, all with the same lambda.

    Args:
        batch: images (B, ...), labels and index.
        settings: ``mixup`` is a; at 0 the images stay as they are.
        epoch: with ``step`` it names the draw.
        step: of the epoch.

    Returns:
        The mixed images as floating numbers, with each sample's partner and lambda.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    if not settings.mixup:
        return Mixture(batch.images)
    generator = stream(settings.seed, "mixup", epoch, step)
    numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    beta = numbers.beta(settings.mixup, settings.mixup)
    share = float(max(beta, 1 - beta))
    partner = torch.randperm(len(batch.index), generator=generator).to(batch.index.device)
    images = batch.images.float()
    return Mixture(share * images + (1 - share) * images[partner], partner, share)
