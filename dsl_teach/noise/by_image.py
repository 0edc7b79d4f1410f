"""Noise that depends on the image: confusing samples are mislabelled more often, and as what they resemble."""

from __future__ import annotations

import torch
from torch import Tensor

from dsl_teach.noise.draws import cpu_generator, gumbel, highest, number_to_flip, recipe, require_probabilities
from dsl_teach.noise.report import NoisyLabels


def instance_dependent_noise(
    probabilities: Tensor,
    clean_labels: Tensor,
    noise_rate: float,
    *,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> NoisyLabels:
    r"""Mislabel the samples that a clean-trained network confuses most, each as its second choice.

    .. math:: s_i = \arg\max_{c \ne y_i} p_c(x_i), \qquad
              k_i = \log \frac{p_{s_i}(x_i)}{p_{y_i}(x_i)} + \text{temperature} \cdot g_i, \qquad
              g_i \sim \operatorname{Gumbel}

    The round(noise_rate * N) samples with the highest k become s. At temperature 0 these are the most confusable
    samples, whatever the generator; above 0 they are drawn without replacement with weights
    (p_s / p_y) ** (1 / temperature), so that some clear samples are mislabelled and some confusing ones are not.

    Args:
        probabilities: (N, K), class probabilities of a network trained on clean labels: softmax outputs averaged over
            its epochs, or held out by cross-validation. A network that has learnt these images by heart confuses
            nothing.
        clean_labels: (N,) int64, the true labels.
        noise_rate: share of the labels that become wrong, at least 0 and below 1.
        generator: a CPU generator; without one, one seeded with 0.
        temperature: how much chance takes part, at least 0.

    Raises:
        ValueError: if a setting, a shape or a label is out of range, or too few samples have a second choice.

    Source: after Chen et al., "Beyond Class-Conditional Assumption: A Primary Attempt to Combat Instance-Dependent
    Label Noise", AAAI 2021 (SEAL), which has no temperature and ranks the samples by p_s alone.
    """
    rows = require_probabilities(probabilities, clean_labels)
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be at least 0 and finite, but it is {temperature}.")
    generator = cpu_generator(generator)
    how = recipe("instance_dependent_noise", noise_rate, generator, temperature=float(temperature))
    clean = clean_labels.cpu()
    second_p, second = rows.scatter(1, clean[:, None], -1.0).max(dim=1)
    possible = second_p > 0
    count = number_to_flip(
        noise_rate, int(possible.sum()), len(clean), why="the other samples have all probability on the true class"
    )
    confusion = second_p.log() - rows.gather(1, clean[:, None]).squeeze(1).log()
    key = (confusion + temperature * gumbel(len(clean), generator)).where(possible, -torch.inf)
    flipped = highest(key, count)
    noisy = clean.clone()
    noisy[flipped] = second[flipped]
    return NoisyLabels(noisy, clean, rows.shape[1], how)
