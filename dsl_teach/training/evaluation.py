"""A network in eval mode, without gradients: embeddings, predictions and accuracy, by all processes together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dsl_teach.data.batches import Batches
from dsl_teach.metrics import accuracy
from dsl_teach.training.distributed import gathered_rows
from dsl_teach.training.networks import EmbeddingNetwork


@contextmanager
def evaluation(network: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; the mode it had afterwards."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def logits(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """F(x) of every sample, (N, K), in the order of the index."""
    return _collect(network, batches, 0)


def embed(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """G(x) of every sample, (N, D), in the order of the index."""
    return _collect(network, batches, 1)


def predict(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """(N,) int64, the class that the network gives each sample, in the order of the index."""
    found = logits(network, batches)
    if not bool(found.isfinite().all()):
        raise FloatingPointError("The network's answers are not finite: training has diverged, or the images hold NaN.")
    return found.argmax(dim=1)


def _collect(network: EmbeddingNetwork, batches: Batches, which: int) -> Tensor:
    """One of the network's outputs for every sample in its fixed view; row i is of index i, in every process."""
    rows = None
    mine = torch.zeros_like(batches.noisy_labels, dtype=torch.bool)
    with evaluation(network):
        for images, _, index in batches.in_order():
            output = network(images)[which]
            rows = output.new_empty(len(mine), output.shape[1]) if rows is None else rows
            rows[index], mine[index] = output, True
    if rows is None:
        raise ValueError("There is no sample to look at: the data set is empty.")
    return gathered_rows(rows, mine)


def evaluate(network: EmbeddingNetwork, test: Batches) -> float:
    """Share of test samples that the network gives the right label."""
    return accuracy(predict(network, test), test.noisy_labels)
