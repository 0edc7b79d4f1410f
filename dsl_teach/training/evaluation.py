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


def look(network: EmbeddingNetwork, batches: Batches) -> tuple[Tensor, Tensor]:
    """Logits F(x), (N, K), and embeddings G(x), (N, D), of every sample in its fixed view; row i is of index i."""
    logits = embeddings = None
    mine = torch.zeros_like(batches.noisy_labels, dtype=torch.bool)
    with evaluation(network):
        for images, _, index in batches.in_order():
            said, seen = network(images)
            if logits is None or embeddings is None:
                logits, embeddings = (x.new_empty(len(mine), x.shape[1]) for x in (said, seen))
            logits[index], embeddings[index], mine[index] = said, seen, True
    if logits is None or embeddings is None:
        raise ValueError("There is no sample to look at: the data set is empty.")
    return gathered_rows(logits, mine), gathered_rows(embeddings, mine)


def embed(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """G(x) of every sample, (N, D), in the order of the index."""
    return look(network, batches)[1]


def predict(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """(N,) int64, the class that the network gives each sample, in the order of the index."""
    return look(network, batches)[0].argmax(dim=1)


def evaluate(network: EmbeddingNetwork, test: Batches) -> float:
    """Share of test samples that the network gives the right label."""
    return accuracy(predict(network, test), test.noisy_labels)
