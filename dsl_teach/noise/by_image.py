"""Noise that depends on the image: confusing samples are mislabelled more often, and as what they resemble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.noise.draws import (
    cpu_generator,
    draw,
    flip_probabilities,
    gumbel,
    highest,
    number_to_flip,
    recipe,
    require_classes,
    require_probabilities,
    uniform,
)
from dsl_teach.noise.report import NoisyLabels

PMDKind = Literal["I", "II", "III"]

MARGIN_POLYNOMIALS: dict[str, Callable[[Tensor], Tensor]] = {
    "I": lambda margin: (1 - margin**2) / 2,
    "II": lambda margin: 1 - margin**3,
    "III": lambda margin: 1 - (margin**3 + margin**2 + margin) / 3,
}
"""How prone to flip a sample is whose two most probable classes differ by the margin: less, the clearer it is."""

RATE_SPREAD = 0.1
"""Standard deviation of the samples' own flip rates in the part-dependent model, as in its paper."""


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
    return _relabelled(clean, flipped, second[flipped], rows.shape[1], how)


def pmd_noise(
    probabilities: Tensor,
    clean_labels: Tensor,
    noise_rate: float,
    *,
    kind: PMDKind = "I",
    generator: torch.Generator | None = None,
) -> NoisyLabels:
    r"""Swap the two most probable classes of a sample, the more often the closer they are.

    This is polynomial margin diminishing noise. With u and s the two most probable classes of a sample and the
    margin :math:`\mu = p_u - p_s`:

    .. math:: \tau_{\text{I}} = \tfrac12 - \tfrac12 \mu^2, \qquad
              \tau_{\text{II}} = 1 - \mu^3, \qquad
              \tau_{\text{III}} = 1 - \tfrac13 (\mu^3 + \mu^2 + \mu)

    A sample whose true class is u becomes s, and the other way round, with probability
    :math:`\min(1, a \, \tau)`; a is such that exactly round(noise_rate * N) labels become wrong. A sample whose true
    class is neither u nor s keeps its label. The recipe's ``certain_flips`` counts the samples whose probability
    reached 1: where there are many, the rate is too high for the polynomial's shape to survive.

    Args:
        probabilities: (N, K), class probabilities of a network trained on clean labels.
        clean_labels: (N,) int64, the true labels.
        noise_rate: share of the labels that become wrong, at least 0 and below 1.
        kind: the polynomial, ``"I"``, ``"II"`` or ``"III"``.
        generator: a CPU generator; without one, one seeded with 0.

    Raises:
        ValueError: if a setting, a shape or a label is out of range, or the network is too sure of too many samples.

    Source: after Zhang et al., "Learning with Feature-Dependent Label Noise: A Progressive Approach", ICLR 2021. There
    the factor is set by hand, and the label is drawn from u and s even where the true class is neither.
    """
    rows = require_probabilities(probabilities, clean_labels)
    if kind not in MARGIN_POLYNOMIALS:
        raise ValueError(f"kind must be 'I', 'II' or 'III', but it is {kind!r}.")
    generator, clean = cpu_generator(generator), clean_labels.cpu()
    top, classes = rows.sort(dim=1, descending=True, stable=True)
    first, second = classes[:, 0], classes[:, 1]
    prone = MARGIN_POLYNOMIALS[kind]((top[:, 0] - top[:, 1]).clamp(max=1)).clamp(min=0)
    prone = prone.where((clean == first) | (clean == second), 0)
    why = "the network gives the others a margin of 1, or the true class is not one of its two most probable ones"
    count = number_to_flip(noise_rate, int((prone > 0).sum()), len(clean), why=why)
    chance = flip_probabilities(prone, count)
    how = recipe("pmd_noise", noise_rate, generator, kind=kind, certain_flips=int((chance == 1).sum()))
    flipped = draw(chance, generator)
    other = torch.where(clean == first, second, first)
    return _relabelled(clean, flipped, other[flipped], rows.shape[1], how)


def part_dependent_noise(
    features: Tensor,
    clean_labels: Tensor,
    noise_rate: float,
    *,
    num_classes: int,
    generator: torch.Generator | None = None,
) -> NoisyLabels:
    r"""Give each sample its own flip rate, and a wrong class by a random projection of its features.

    .. math:: q_i \sim \mathcal{N}(\text{noise\_rate}, 0.1^2) \text{ within } [0, 1], \qquad
              P(\text{label } c \mid x_i, \text{ flipped}) \propto \exp(x_i^\top W^{(y_i)}_{\cdot c}), \; c \ne y_i

    W is a Gaussian matrix for each true class. The rates are scaled so that exactly round(noise_rate * N) labels
    become wrong. No network takes part: the wrong class follows from the image, but hardly resembles it, and whether
    a label is wrong does not depend on the image at all.

    Args:
        features: (N, ...), images of any numeric dtype, or features. Their unit does not matter: they are centred and
            scaled by one mean and one standard deviation (our reading; the paper takes normalised images).
        clean_labels: (N,) int64, the true labels.
        noise_rate: share of the labels that become wrong, at least 0 and below 1.
        num_classes: K.
        generator: a CPU generator; without one, one seeded with 0.

    Raises:
        ValueError: if a setting, a shape or a label is out of range, or the features are not finite or all the same.

    Source: after Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label Noise", NeurIPS 2020,
    whose labels are flipped one by one, so that only the expected rate is the requested one.
    """
    require_classes(num_classes)
    rows = _flat_rows(features)
    require_labels(clean_labels, "clean_labels", length=len(rows), num_classes=num_classes)
    generator, clean = cpu_generator(generator), clean_labels.cpu()
    centre, scale = _mean_and_spread(rows)
    count = number_to_flip(noise_rate, len(clean), len(clean), why="there are no more samples")
    how = recipe("part_dependent_noise", noise_rate, generator, num_classes=num_classes)
    rates = _truncated_normal(noise_rate, len(clean), generator)
    flipped = draw(flip_probabilities(rates, count), generator).sort().values
    luck = gumbel(len(clean) * num_classes, generator).view(-1, num_classes)
    noisy = clean.clone()
    for c in range(num_classes):
        projection = _normal(rows.shape[1] * num_classes, generator).view(-1, num_classes)
        of_class = flipped[clean[flipped] == c]
        pull = (rows[of_class].double() - centre) / scale @ projection + luck[of_class]
        pull[:, c] = -torch.inf
        noisy[of_class] = pull.argmax(dim=1)
    return NoisyLabels(noisy, clean, num_classes, how)


def _relabelled(clean: Tensor, flipped: Tensor, labels: Tensor, num_classes: int, how: dict[str, Any]) -> NoisyLabels:
    noisy = clean.clone()
    noisy[flipped] = labels
    return NoisyLabels(noisy, clean, num_classes, how)


def _flat_rows(features: Tensor) -> Tensor:
    if not isinstance(features, Tensor) or features.ndim < 2 or features.is_complex() or not features.numel():
        raise ValueError(
            "features must be a tensor of real numbers, one row or image a sample; convert an array with "
            "torch.as_tensor."
        )
    return features.detach().cpu().flatten(1)


def _normal(count: int, generator: torch.Generator) -> Tensor:
    return torch.special.ndtri(uniform(count, generator).clamp(min=1e-300))


def _truncated_normal(mean: float, count: int, generator: torch.Generator) -> Tensor:
    ends = (torch.tensor([0.0, 1.0], dtype=torch.float64) - mean) / RATE_SPREAD
    low, high = torch.special.ndtr(ends)
    return mean + RATE_SPREAD * torch.special.ndtri(low + (high - low) * uniform(count, generator).clamp(min=1e-12))


def _mean_and_spread(rows: Tensor) -> tuple[float, float]:
    """The mean and the standard deviation of all entries, a chunk at a time."""
    chunks = rows.split(4096)
    mean = sum(float(chunk.double().sum()) for chunk in chunks) / rows.numel()
    variance = sum(float((chunk.double() - mean).square().sum()) for chunk in chunks) / rows.numel()
    if not 0 < variance < float("inf"):
        raise ValueError(
            "features must be finite and not all the same, but their mean is "
            f"{mean} and their variance {variance}. Look for NaN, infinite values or blank images."
        )
    return mean, variance**0.5
