"""Noise that knows only the class: every sample of a class is equally likely to be mislabelled, whatever it shows.

Everywhere ``clean_labels`` are (N,) int64, the true labels; exactly round(``noise_rate`` * N) of them become wrong, at
least none and not all; and ``generator`` is a CPU generator, without one, one seeded with 0. Every random number comes
from ``torch.rand`` in float64 on the CPU, and every draw is N numbers long whatever the rate: a seed gives the same
labels on every machine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsl_teach._validate import require, require_labels
from dsl_teach.noise.report import NoisyLabels


def symmetric_noise(
    clean_labels: Tensor, noise_rate: float, *, num_classes: int, generator: torch.Generator | None = None
) -> NoisyLabels:
    r"""Mislabel samples at random, each as any of the other classes with the same probability.

    .. math:: T_{ii} = 1 - r, \qquad T_{ij} = \frac{r}{K - 1}

    The label of a flipped sample is always wrong; where a paper lets the random label be right by chance, its rate
    times (K - 1) / K is the ``noise_rate`` here. With the same seed, a higher rate keeps every wrong label of a lower.

    Raises:
        ValueError: if a setting or a label is out of range.

    Source: van Rooyen et al., "Learning with Symmetric Label Noise", NeurIPS 2015, for two classes; the usual form.
    """
    clean = _checked(clean_labels, num_classes)
    generator = generator or torch.Generator().manual_seed(0)  # two draws from one
    keys = uniform(len(clean), generator)
    step = 1 + (uniform(len(clean), generator) * (num_classes - 1)).long().clamp(max=num_classes - 2)
    return mislabel(clean, (clean + step) % num_classes, keys, noise_rate, num_classes)


def pair_flip_noise(
    clean_labels: Tensor, noise_rate: float, *, num_classes: int, generator: torch.Generator | None = None
) -> NoisyLabels:
    r"""Mislabel samples at random, each as the next class; the last class becomes the first.

    .. math:: T_{ii} = 1 - r, \qquad T_{i, (i + 1) \bmod K} = r

    From r = 0.5 on the wrong label is as common as the right one.

    Raises:
        ValueError: if a setting or a label is out of range.

    Source: Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels",
    NeurIPS 2018.
    """
    clean = _checked(clean_labels, num_classes)
    return mislabel(clean, (clean + 1) % num_classes, uniform(len(clean), generator), noise_rate, num_classes)


def uniform(count: int, generator: torch.Generator | None) -> Tensor:
    """(count,) float64 numbers in [0, 1)."""
    return torch.rand(count, generator=generator or torch.Generator().manual_seed(0), dtype=torch.float64)


def mislabel(clean: Tensor, wrong: Tensor, keys: Tensor, noise_rate: float, num_classes: int) -> NoisyLabels:
    """Give the samples with the highest keys their wrong label; of equal keys the earlier sample.

    Raises:
        ValueError: if ``noise_rate`` is outside [0, 1), or reaches samples whose key is minus infinity.
    """
    require(0 <= noise_rate < 1, f"noise_rate must be at least 0 and below 1, but it is {noise_rate}.")
    count, possible = round(noise_rate * len(clean)), keys > -torch.inf
    if count > int(possible.sum()):
        raise ValueError(
            f"noise_rate {noise_rate} cannot be reached: at most {float(possible.double().mean()):.4f} can, since the "
            "other samples have all probability on the true class. Lower noise_rate."
        )
    flipped = keys.argsort(descending=True, stable=True)[:count]
    noisy = clean.clone()
    noisy[flipped] = wrong[flipped]
    return NoisyLabels(noisy, clean, num_classes)


def _checked(clean_labels: Tensor, num_classes: int) -> Tensor:
    require(num_classes >= 2, f"num_classes must be at least 2, or no label can be wrong, but it is {num_classes}.")
    return require_labels(clean_labels, "clean_labels", length=len(clean_labels), num_classes=num_classes).cpu()
