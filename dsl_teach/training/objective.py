"""What a batch is trained on: the loss against the noisy labels that the settings name, and mixed pairs of samples."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softmax

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, Batches
from dsl_teach.seeds import stream
from dsl_teach.training.distributed import ALONE, Team
from dsl_teach.training.frozen import frozen
from dsl_teach.training.losses import (
    Loss,
    early_learning_regularization,
    early_learning_targets,
    estimated_transition_matrix,
    forward_cross_entropy,
    generalized_cross_entropy,
    symmetric_cross_entropy,
)
from dsl_teach.training.models import EmbeddingNetwork
from dsl_teach.training.state import Memory


def noisy_loss(settings: Settings, memory: Memory, index: Tensor) -> Loss:
    """The loss against the noisy labels of one batch.

    Args:
        settings: which, and its numbers.
        memory: what it remembers; early-learning targets are brought up to date in it as the loss is taken.
        index: (B,) int64, the samples of the batch.
    """
    losses: dict[str, Loss] = {
        "cross_entropy": cross_entropy,
        "gce": partial(generalized_cross_entropy, q=settings.gce_q),
        "sce": partial(symmetric_cross_entropy, a=settings.sce_a, b=settings.sce_b),
        "elr": partial(_early_learning_loss, settings=settings, memory=memory, index=index),
    }
    if settings.loss == "forward":
        known = memory.get("transition_matrix")
        return cross_entropy if known is None else partial(forward_cross_entropy, transition_matrix=known)
    return losses[settings.loss]


def _early_learning_loss(
    logits: Tensor, noisy_labels: Tensor, *, settings: Settings, memory: Memory, index: Tensor
) -> Tensor:
    targets = early_learning_targets(memory["early_learning_targets"][index], logits, settings.elr_momentum)
    memory["early_learning_targets"][index] = targets
    return cross_entropy(logits, noisy_labels) + settings.elr_weight * early_learning_regularization(logits, targets)


def first_memory(settings: Settings, train: Batches, num_classes: int) -> Memory:
    """What a run remembers before its first step."""
    if settings.loss != "elr":
        return {}
    like = train.noisy_labels
    return {"early_learning_targets": torch.zeros(len(like), num_classes, device=like.device)}


def estimate_transition_matrix(network: EmbeddingNetwork, train: Batches, team: Team = ALONE) -> Tensor:
    """T from what the network says of the training samples, in the fixed view and with frozen weights."""
    probabilities = train.noisy_labels.new_zeros(len(train.noisy_labels), network.num_classes, dtype=torch.float32)
    with frozen(network):
        for batch in train.in_order():
            probabilities[batch.index] = softmax(network(batch.images)[0], dim=1).float()
    return estimated_transition_matrix(team.total(probabilities))


def mix_batch(batch: Batch, settings: Settings, epoch: int, step: int) -> tuple[Tensor, Tensor, float]:
    r"""Each image mixed with another of its batch.

    .. math:: \tilde{x} = \lambda x_i + (1 - \lambda) x_j, \quad \lambda = \max(b, 1 - b), \; b \sim \mathrm{Beta}(a, a)

    The loss is mixed likewise. Because lambda is a half at least, the answer still belongs to sample i.

    Args:
        batch: images (B, ...), labels and index.
        settings: ``mixup`` is a.
        epoch: with ``step`` it names the draw.
        step: of the epoch.

    Returns:
        The mixed images as floating numbers, (B,) the place in the batch of each sample's partner, and lambda.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    generator = stream(settings.seed, "mixup", epoch, step)
    beta = np.random.default_rng(int(torch.randint(2**62, (), generator=generator))).beta(
        settings.mixup, settings.mixup
    )
    share = float(max(beta, 1 - beta))
    partner = torch.randperm(len(batch.index), generator=generator).to(batch.index.device)
    images = batch.images.float()
    return share * images + (1 - share) * images[partner], partner, share
