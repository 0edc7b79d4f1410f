"""Noise that knows only the class: every sample of a class is equally likely to be mislabelled, whatever it shows.

Every random number comes from ``torch.rand`` in float64 on the CPU, and every draw is N numbers long whatever the rate:
a seed gives the same labels on every machine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.noise.report import NoisyLabels


def symmetric_noise(
    clean_labels: Tensor, noise_rate: float, *, num_classes: int, generator: torch.Generator | None = None
) -> NoisyLabels:
    r"""Mislabel samples at random, each as any of the other classes with the same probability.

    .. math:: T_{ii} = 1 - r, \qquad T_{ij} = \frac{r}{K - 1}

    The label of a flipped sample is always wrong; where a paper lets the random label be right by chance, its rate
    times (K - 1) / K is the ``noise_rate`` here. With the same seed, a higher rate keeps every wrong label of a lower.

    Args:
        clean_labels: (N,) int64, the true labels.
        noise_rate: r, share of the labels that become wrong: exactly round(noise_rate * N) do.
        num_classes: K.
        generator: a CPU generator; without one, one seeded with 0.

    Raises:
        ValueError: if a setting or a label is out of range.

    Source: van Rooyen et al., "Learning with Symmetric Label Noise", NeurIPS 2015, for two classes; the usual form.
    """
    clean, generator = _checked(clean_labels, num_classes, generator)
    keys = uniform(len(clean), generator)
    step = 1 + (uniform(len(clean), generator) * (num_classes - 1)).long().clamp(max=num_classes - 2)
    return _mislabel(clean, (clean + step) % num_classes, keys, noise_rate, num_classes)


def pair_flip_noise(
    clean_labels: Tensor, noise_rate: float, *, num_classes: int, generator: torch.Generator | None = None
) -> NoisyLabels:
    r"""Mislabel samples at random, each as the next class; the last class becomes the first.

    .. math:: T_{ii} = 1 - r, \qquad T_{i, (i + 1) \bmod K} = r

    From r = 0.5 on the wrong label is as common as the right one.

    Args:
        clean_labels: (N,) int64, the true labels.
        noise_rate: r, share of the labels that become wrong: exactly round(noise_rate * N) do.
        num_classes: K.
        generator: a CPU generator; without one, one seeded with 0.

    Raises:
        ValueError: if a setting or a label is out of range.

    Source: Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels",
    NeurIPS 2018.
    """
    clean, generator = _checked(clean_labels, num_classes, generator)
    keys = uniform(len(clean), generator)
    return _mislabel(clean, (clean + 1) % num_classes, keys, noise_rate, num_classes)


def cpu_generator(generator: torch.Generator | None) -> torch.Generator:
    """The generator, or one seeded with 0.

    Raises:
        ValueError: if it does not live on the CPU.
    """
    generator = generator or torch.Generator().manual_seed(0)
    if generator.device.type != "cpu":
        raise ValueError(
            f"generator must live on the CPU, but it lives on {generator.device}: only there does a seed give the "
            "same labels on every machine. Pass torch.Generator().manual_seed(...)."
        )
    return generator


def uniform(count: int, generator: torch.Generator) -> Tensor:
    """(count,) float64 numbers in [0, 1)."""
    return torch.rand(count, generator=generator, dtype=torch.float64)


def highest(keys: Tensor, count: int) -> Tensor:
    """The ``count`` samples with the highest keys; of equal keys the earlier sample."""
    return keys.argsort(descending=True, stable=True)[:count]


def number_to_flip(noise_rate: float, total: int) -> int:
    """How many of ``total`` labels become wrong: round(noise_rate * total).

    Raises:
        ValueError: if ``noise_rate`` is outside [0, 1).
    """
    if not 0 <= noise_rate < 1:
        raise ValueError(f"noise_rate must be at least 0 and below 1, but it is {noise_rate}.")
    return round(noise_rate * total)


def _checked(
    clean_labels: Tensor, num_classes: int, generator: torch.Generator | None
) -> tuple[Tensor, torch.Generator]:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, or no label can be wrong, but it is {num_classes}.")
    require_labels(clean_labels, "clean_labels", length=len(clean_labels), num_classes=num_classes)
    return clean_labels.cpu(), cpu_generator(generator)


def _mislabel(clean: Tensor, wrong: Tensor, keys: Tensor, noise_rate: float, num_classes: int) -> NoisyLabels:
    """Give the samples with the highest keys their wrong label."""
    flipped = highest(keys, number_to_flip(noise_rate, len(clean)))
    noisy = clean.clone()
    noisy[flipped] = wrong[flipped]
    return NoisyLabels(noisy, clean, num_classes)
