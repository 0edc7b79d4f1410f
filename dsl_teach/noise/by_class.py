"""Noise that knows only the class: every sample of a class is equally likely to be mislabelled, whatever it shows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.noise.draws import cpu_generator, highest, number_to_flip, recipe, require_classes, uniform
from dsl_teach.noise.report import NoisyLabels

CIFAR10_CONFUSIONS: Mapping[int, int] = MappingProxyType({9: 1, 2: 0, 4: 7, 3: 5, 5: 3})
"""CIFAR-10's usual class map: truck to automobile, bird to airplane, deer to horse, cat to dog and dog to cat."""


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
    require_classes(num_classes)
    generator = cpu_generator(generator)
    require_labels(clean_labels, "clean_labels", length=len(clean_labels), num_classes=num_classes)
    how = recipe("symmetric_noise", noise_rate, generator, num_classes=num_classes)
    clean = clean_labels.cpu()
    keys = uniform(len(clean), generator)
    step = 1 + (uniform(len(clean), generator) * (num_classes - 1)).long().clamp(max=num_classes - 2)
    return _mislabel(clean, (clean + step) % num_classes, keys, num_classes, how)


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
    require_classes(num_classes)
    next_class = {c: (c + 1) % num_classes for c in range(num_classes)}
    made = asymmetric_noise(clean_labels, noise_rate, next_class, num_classes=num_classes, generator=generator)
    how = {key: value for key, value in made.recipe.items() if key != "class_map"}
    return NoisyLabels(made.noisy_labels, made.clean_labels, num_classes, how | {"name": "pair_flip_noise"})


def asymmetric_noise(
    clean_labels: Tensor,
    noise_rate: float,
    class_map: Mapping[int, int],
    *,
    num_classes: int,
    generator: torch.Generator | None = None,
) -> NoisyLabels:
    r"""Mislabel samples of some classes, each as the class that its own class is mapped to.

    .. math:: T_{ii} = 1 - r_i, \qquad T_{i, \text{class\_map}(i)} = r_i, \qquad
              r_i \approx \frac{\text{noise\_rate} \cdot N}{N_{\text{mapped}}} \text{ in every mapped class}

    ``noise_rate`` counts **all** labels, as everywhere in this package. Papers often count within the mapped classes:
    their 40 % on CIFAR-10, where half of the classes are mapped, is ``noise_rate=0.2`` here.

    Args:
        clean_labels: (N,) int64, the true labels.
        noise_rate: share of all labels that become wrong: exactly round(noise_rate * N) do.
        class_map: true class to wrong class; a class that is left out keeps its labels. :data:`CIFAR10_CONFUSIONS`.
        num_classes: K.
        generator: a CPU generator; without one, one seeded with 0.

    Raises:
        ValueError: if a setting or a label is out of range, or the mapped classes hold too few samples.

    Source: Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss Correction Approach", CVPR 2017.
    """
    require_classes(num_classes)
    _require_map(class_map, num_classes)
    generator = cpu_generator(generator)
    require_labels(clean_labels, "clean_labels", length=len(clean_labels), num_classes=num_classes)
    pairs = [[int(a), int(b)] for a, b in sorted(class_map.items())]
    how = recipe("asymmetric_noise", noise_rate, generator, num_classes=num_classes, class_map=pairs)
    wrong_of = torch.arange(num_classes)
    for true_class, wrong_class in pairs:
        wrong_of[true_class] = wrong_class
    clean = clean_labels.cpu()
    return _mislabel(clean, wrong_of[clean], uniform(len(clean), generator), num_classes, how)


def _mislabel(clean: Tensor, wrong: Tensor, keys: Tensor, num_classes: int, how: dict[str, Any]) -> NoisyLabels:
    """Give the samples with the highest keys their wrong label, among those that have one."""
    possible = wrong != clean
    count = number_to_flip(
        how["noise_rate"], int(possible.sum()), len(clean), why="class_map leaves the other samples as they are"
    )
    flipped = highest(keys.where(possible, -1.0), count)
    noisy = clean.clone()
    noisy[flipped] = wrong[flipped]
    return NoisyLabels(noisy, clean, num_classes, how)


def _require_map(class_map: Mapping[int, int], num_classes: int) -> None:
    outside = [pair for pair in class_map.items() if not all(0 <= c < num_classes for c in pair)]
    if outside:
        raise ValueError(
            f"class_map must lead from and to classes in 0 .. {num_classes - 1} (num_classes = {num_classes}), but it "
            f"holds {outside[0][0]} to {outside[0][1]}."
        )
