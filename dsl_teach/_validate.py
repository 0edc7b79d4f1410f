"""Checks of labels and embeddings that every part of the package makes."""

from __future__ import annotations

import torch
from torch import Tensor


def require_labels(labels: Tensor, name: str, *, length: int, num_classes: int) -> None:
    """Refuse labels of a wrong dtype, length or range, in a sentence that says which."""
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise ValueError(
            f"{name} must be one int64 number a sample, but they are {labels.dtype} of shape {tuple(labels.shape)}; "
            "convert them with .long()."
        )
    if len(labels) != length:
        raise ValueError(f"{name} must have one entry for each of the {length} samples, but there are {len(labels)}.")
    if length and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"{name} must lie in 0 .. {num_classes - 1} (num_classes = {num_classes}), "
            f"but they run from {int(labels.min())} to {int(labels.max())}."
        )


def require_matrix(embeddings: Tensor) -> None:
    """Refuse embeddings that are no floating-point matrix, one row a sample."""
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise ValueError(
            "embeddings must be a floating-point matrix of shape (samples, features), "
            f"but they are {embeddings.dtype} of shape {tuple(embeddings.shape)}."
        )
