"""What all noise models share: checks, random numbers that are the same on every machine, draws of an exact size.

Every random number comes from ``torch.rand`` in float64 on the CPU, drawn one by one, and every draw is N numbers long
whatever the rate: a seed gives the same numbers on every machine. Models that only compare and count them give the
same labels without exception. Models that take logarithms or products on the way can differ in the last of 16 digits
between processors; a label changes only if two samples tie to within that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dsl_teach._validate import require_labels


def uniform(count: int, generator: torch.Generator) -> Tensor:
    """(count,) float64 numbers in [0, 1)."""
    return torch.rand(count, generator=generator, dtype=torch.float64)


def gumbel(count: int, generator: torch.Generator) -> Tensor:
    r"""(count,) float64 numbers of the standard Gumbel distribution, all finite.

    .. math:: g = -\log(-\log u), \qquad P\bigl(\arg\max_i (\log w_i + g_i) = j\bigr) = w_j / \textstyle\sum_i w_i
    """
    return -(-uniform(count, generator).clamp(min=1e-300).log()).log()


def highest(keys: Tensor, count: int) -> Tensor:
    """The ``count`` samples with the highest keys; of equal keys the earlier sample."""
    return keys.argsort(descending=True, stable=True)[:count]


def flip_probabilities(weights: Tensor, count: int) -> Tensor:
    r"""Scale weights to probabilities that add up to ``count``.

    .. math:: q_i = \min(1, \; a \, w_i), \qquad a \text{ such that } \textstyle\sum_i q_i = \text{count}

    Args:
        weights: (N,) float64, at least 0; at least ``count`` of them above 0.
        count: the sum to reach.
    """
    certain = torch.zeros_like(weights, dtype=torch.bool)
    while True:
        left = count - int(certain.sum())
        scaled = weights * (left / weights[~certain].sum().clamp(min=1e-300))
        more = ~certain & (scaled >= 1)
        if not bool(more.any()):
            return scaled.masked_fill(certain, 1.0)
        certain |= more


def draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Draw samples so that each is taken with its own probability and their number is always the same.

    The samples lie in random order on a line, each as long as its probability; pegs at distance one, the first at a
    random place, take the samples they hit (systematic sampling).

    Args:
        probabilities: (N,) float64 in [0, 1], adding up to a whole number, from :func:`flip_probabilities`.
        generator: a CPU generator.

    Returns:
        As many different row numbers as the probabilities add up to.
    """
    order = uniform(len(probabilities), generator).argsort(stable=True)
    first_peg = uniform(1, generator).clamp(max=1 - 1e-9)
    count = round(float(probabilities.sum()))
    if not count:
        return order[:0]
    ends = probabilities[order].cumsum(0)
    pegs = first_peg + torch.arange(count)
    return order[torch.searchsorted(ends * (count / ends[-1]), pegs, right=True)]


def cpu_generator(generator: torch.Generator | None) -> torch.Generator:
    """The generator, or one seeded with 0.

    Raises:
        ValueError: if it does not live on the CPU.
    """
    if generator is None:
        return torch.Generator().manual_seed(0)
    if generator.device.type != "cpu":
        raise ValueError(
            f"generator must live on the CPU, but it lives on {generator.device}: only there does a seed give the "
            "same labels on every machine. Pass torch.Generator().manual_seed(...)."
        )
    return generator


def recipe(name: str, noise_rate: float, generator: torch.Generator, **settings: Any) -> dict[str, Any]:
    """What it takes to make the labels again; call it before the first random number is drawn.

    ``seed_is_enough`` tells whether the generator was fresh, so that its seed alone gives the same labels.
    """
    seed = generator.initial_seed()
    fresh = torch.Generator().manual_seed(seed).get_state()
    enough = torch.equal(generator.get_state(), fresh)
    return {"name": name, "noise_rate": float(noise_rate), **settings, "seed": seed, "seed_is_enough": enough}


def number_to_flip(noise_rate: float, possible: int, total: int, *, why: str) -> int:
    """How many of ``total`` labels become wrong: round(noise_rate * total).

    Raises:
        ValueError: if ``noise_rate`` is outside [0, 1), or fewer than that many labels can become wrong.
    """
    if not 0 <= noise_rate < 1:
        raise ValueError(f"noise_rate must be at least 0 and below 1, but it is {noise_rate}.")
    count = round(noise_rate * total)
    if count > possible:
        raise ValueError(
            f"noise_rate {noise_rate} cannot be reached: at most {possible / total:.4f} can, since {why}. "
            "Lower noise_rate."
        )
    return count


def require_classes(num_classes: int) -> None:
    """Refuse fewer than two classes."""
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, or no label can be wrong, but it is {num_classes}.")


def require_probabilities(probabilities: Tensor, clean_labels: Tensor) -> Tensor:
    """Check an (N, K) matrix of class probabilities with its N labels; returns it in float64 on the CPU.

    Raises:
        ValueError: if it is not a matrix of probabilities, or the labels do not belong to it.
    """
    if not isinstance(probabilities, Tensor) or probabilities.ndim != 2 or not probabilities.is_floating_point():
        raise ValueError(
            "probabilities must be a floating-point tensor of shape (samples, classes), one row a sample; "
            "convert an array with torch.as_tensor."
        )
    rows = probabilities.detach().cpu().double()
    if rows.shape[1] < 2:
        raise ValueError(f"probabilities must have a column for each of at least 2 classes, but have {rows.shape[1]}.")
    broken = ~((rows >= 0).all(dim=1) & ((rows.sum(dim=1) - 1).abs() <= 0.01))  # NaN fails every comparison
    if bool(broken.any()):
        raise ValueError(
            f"probabilities must be at least 0 and sum to 1 in every row, but {int(broken.sum())} row(s) do not, the "
            f"first is row {int(broken.nonzero()[0])}. If they are logits, apply softmax(dim=1)."
        )
    require_labels(clean_labels, "clean_labels", length=len(rows), num_classes=rows.shape[1])
    return rows
