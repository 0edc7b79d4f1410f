"""Which labels to look at first, by cleanlab's scores, which stand beside the margins of class scores.

Source: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of Artificial
Intelligence Research, 2021, as the library cleanlab computes them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dsl_teach.data.batches import Batches
from dsl_teach.training.evaluation import logits
from dsl_teach.training.networks import EmbeddingNetwork

Score = Literal["self_confidence", "normalized_margin"]


def label_quality(probabilities: Tensor, noisy_labels: Tensor, score: Score = "normalized_margin") -> Tensor:
    """cleanlab's label quality score by (N, K) probabilities: (N,) float64 from 0 to 1, low is doubtful."""
    from cleanlab.rank import get_label_quality_scores

    rows = probabilities.double().numpy(force=True)
    return torch.from_numpy(get_label_quality_scores(noisy_labels.numpy(force=True), rows, method=score))


def probabilities_of(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """What the network gives each sample: softmax of its logits, (N, K), in the order of the index."""
    return logits(network, batches).softmax(dim=1)
