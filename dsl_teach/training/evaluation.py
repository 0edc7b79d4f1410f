"""A network that only looks: embeddings and accuracy with frozen weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dsl_teach.data.batches import Batches
from dsl_teach.metrics import accuracy
from dsl_teach.training.distributed import ALONE, Team
from dsl_teach.training.memory import halve_on_out_of_memory
from dsl_teach.training.networks import EmbeddingNetwork


@halve_on_out_of_memory("batch_size")
def embed(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """G(x) of every sample, by frozen weights.

    Returns:
        (N, D), row i belonging to the sample with index i; where several processes share the work, only the rows of
        this process are filled.
    """
    embeddings = None
    with frozen(network):
        for batch in batches.in_order():
            rows = network(batch.images)[1]
            if embeddings is None:
                embeddings = rows.new_empty(len(batches.noisy_labels), rows.shape[1])
            embeddings[batch.index] = rows
    if embeddings is None:
        raise ValueError("There is no sample to embed: the training set is empty.")
    return embeddings


@halve_on_out_of_memory("batch_size")
def evaluate(network: EmbeddingNetwork, test: Batches, *, team: Team = ALONE) -> float:
    """Share of test samples that the network gives the right label."""
    predicted = torch.full_like(test.noisy_labels, -1)
    with frozen(network):
        for images, _, index in test.in_order():
            predicted[index] = network(images)[0].argmax(dim=1)
    return accuracy(team.largest(predicted), test.noisy_labels)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; the mode it had afterwards."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)
