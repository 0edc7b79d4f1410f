"""Checks of labels, embeddings and scores that every part of the package makes; arrays and lists become tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def require(condition: bool, sentence: str) -> None:
    """A ValueError that says so, unless the condition holds; a number that is NaN fulfils none."""
    if not condition:
        raise ValueError(sentence)


def tensor(x: Any, name: str = "it") -> Tensor:
    """A tensor as it is; an array or a list of numbers as one."""
    if isinstance(x, Tensor):
        return x
    try:
        array = np.asarray(x)
        dtype = np.dtype(np.int64) if array.dtype.kind in "iu" or not array.size else array.dtype.newbyteorder("=")
        return torch.from_numpy(np.require(array, dtype, ["C", "W"]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers in a tensor, an array or a list ({error}).") from None


def require_labels(labels: Any, name: str, *, length: int, num_classes: int) -> Tensor:
    """The labels as a tensor; those of a wrong dtype, length or range are refused."""
    found = tensor(labels, name)
    if found.dtype != torch.int64 or found.ndim != 1:
        raise ValueError(
            f"{name} must be one int64 number a sample, but they are {found.dtype} of shape {tuple(found.shape)}; "
            "convert them with .long()."
        )
    require(len(found) == length, f"{name} must have one entry for each of the {length} samples, not {len(found)}.")
    if length and not 0 <= int(found.min()) <= int(found.max()) < num_classes:
        raise ValueError(
            f"{name} must lie in 0 .. {num_classes - 1} (num_classes = {num_classes}), "
            f"but they run from {int(found.min())} to {int(found.max())}."
        )
    return found


def require_matrix(embeddings: Any, name: str = "embeddings") -> Tensor:
    """The floating-point matrix that they must be, one row a sample."""
    found = tensor(embeddings, name)
    if found is not embeddings and not found.is_floating_point():
        found = found.float()
    told = f"but they are {found.dtype} of shape {tuple(found.shape)}."
    shape = f"{name} must be a floating-point matrix of shape (samples, features), {told}"
    require(found.ndim == 2 and found.is_floating_point(), shape)
    return found


def require_scores(scores: Any, samples: int | None = None, classes: int | None = None) -> Tensor:
    """(N, K) class scores, numbers or minus infinity, for so many samples and classes if these are known."""
    found = require_matrix(scores, "scores")
    wanted = (len(found) if samples is None else samples, found.shape[1] if classes is None else classes)
    broken = int((found.isnan() | (found == torch.inf)).sum())
    if found.shape != wanted or broken:
        raise ValueError(
            f"scores must hold a number for each of {wanted[0]} samples and {wanted[1]} classes, but they are of shape "
            f"{tuple(found.shape)}, with NaN or infinity in {broken} entries."
        )
    return found
