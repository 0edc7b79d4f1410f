"""Wrong labels whose truth is known: noise that knows only the class, noise that looks at the image, and a report.

Everywhere ``clean_labels`` are (N,) int64, the true labels below K; exactly round(``noise_rate`` * N) of them become
wrong, at least none and not all; and ``generator`` is a CPU generator, without one, one seeded with 0. Every random
number comes from ``torch.rand`` in float64 on the CPU, and every draw is N numbers long whatever the rate: a seed gives
the same labels on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dsl_teach._validate import require, require_labels, require_matrix, tensor


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """What became of the labels of K classes, where the true class is known."""

    counts: Tensor
    """(K, K) int64, how many samples of each true class (row) carry each label (column)."""

    @property
    def realised(self) -> float:
        """The share of labels that is wrong."""
        return 1 - int(self.counts.trace()) / int(self.counts.sum())

    @property
    def transition_matrix(self) -> Tensor:
        r"""(K, K) float64, the share of each true class (row) that carries each label (column).

        .. math:: T_{ij} = P(\text{label } j \mid \text{true class } i), \qquad \sum_j T_{ij} = 1

        The row of a class without samples is NaN.
        """
        return self.counts.double() / self.counts.sum(dim=1, keepdim=True)

    @property
    def share_to_frequent(self) -> float:
        """Of the wrong labels, the share that belongs to a class with more samples than the true one."""
        sizes, wrong = self.counts.sum(dim=1), self.counts.clone().fill_diagonal_(0)
        return float(wrong[sizes[None, :] > sizes[:, None]].sum() / wrong.sum())

    @property
    def true_class_leads(self) -> Tensor:
        """(K,) bool: among the samples **labelled** c, is c the commonest true class, without a tie?

        Prototypes need this: they are chosen among the samples that carry one label. A class that occurs neither as
        a true class nor as a label counts as yes.
        """
        right = self.counts.diagonal()
        others = self.counts.clone().fill_diagonal_(-1).amax(dim=0)
        absent = (self.counts.sum(dim=0) == 0) & (self.counts.sum(dim=1) == 0)
        return (right > others) & (right > 0) | absent


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels made wrong on purpose, and the truth; both (N,) int64 on the CPU."""

    noisy_labels: Tensor
    clean_labels: Tensor
    num_classes: int

    @property
    def report(self) -> NoiseReport:
        """What the noise did."""
        return noise_report(self.clean_labels, self.noisy_labels, self.num_classes)


def noise_report(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> NoiseReport:
    """Count what became of each class. Labels are (N,) int64; a true one below 0 is not known, and left out.

    Raises:
        ValueError: if labels are of a wrong dtype, length or range, or no true label is known.
    """
    clean_labels, n = tensor(clean_labels, "clean_labels").cpu(), len(clean_labels)
    require_labels(clean_labels.clamp(min=0), "clean_labels", length=n, num_classes=num_classes)
    noisy_labels = require_labels(noisy_labels, "noisy_labels", length=n, num_classes=num_classes).cpu()
    known = clean_labels >= 0
    require(bool(known.any()), "clean_labels name the true class of no sample, so there is nothing to report.")
    pairs = (clean_labels * num_classes + noisy_labels)[known]
    return NoiseReport(torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes))


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
    keys = _uniform(len(clean), generator)
    step = 1 + (_uniform(len(clean), generator) * (num_classes - 1)).long().clamp(max=num_classes - 2)
    return _mislabel(clean, (clean + step) % num_classes, keys, noise_rate, num_classes)


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
    return _mislabel(clean, (clean + 1) % num_classes, _uniform(len(clean), generator), noise_rate, num_classes)


def instance_dependent_noise(
    probabilities: Tensor,
    clean_labels: Tensor,
    noise_rate: float,
    *,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> NoisyLabels:
    r"""Mislabel the samples that a model of the clean labels confuses most, each as its second choice.

    .. math:: s_i = \arg\max_{c \ne y_i} p_c(x_i), \qquad
              k_i = \log \frac{p_{s_i}(x_i)}{p_{y_i}(x_i)} + \text{temperature} \cdot g_i, \qquad
              g_i \sim \operatorname{Gumbel}

    The round(noise_rate * N) samples with the highest k become s. At temperature 0 these are the most confusable
    samples, whatever the generator; above 0 they are drawn without replacement with weights
    (p_s / p_y) ** (1 / temperature), so that some clear samples are mislabelled and some confusing ones are not.

    The ``probabilities`` are (N, K), rows sum to 1: those of any model trained on clean labels that has not learnt
    these images by heart, or it confuses nothing: a linear model by cross-validation (CIFAR here), the votes of
    neighbours (digits here), a network's softmax outputs averaged over its epochs (SEAL). Between processors, the
    logarithms may differ in the last of 16 digits: a label changes only if two samples tie to within that.

    Raises:
        ValueError: if a setting, a shape or a label is out of range, or too few samples have a second choice.

    Source: after Chen et al., "Beyond Class-Conditional Assumption: A Primary Attempt to Combat Instance-Dependent
    Label Noise", AAAI 2021 (SEAL), which has no temperature and ranks the samples by p_s alone.
    """
    rows = require_probabilities(probabilities, clean_labels)
    clean = _checked(clean_labels, rows.shape[1])
    require(0 <= temperature < torch.inf, f"temperature must be at least 0 and finite, but it is {temperature}.")
    second_p, second = rows.scatter(1, clean[:, None], -1.0).max(dim=1)
    confusion = second_p.log() - rows.gather(1, clean[:, None]).squeeze(1).log()
    gumbel = -(-_uniform(len(clean), generator).clamp(min=1e-300).log()).log()  # finite
    return _mislabel(clean, second, confusion + temperature * gumbel, noise_rate, rows.shape[1])


def require_probabilities(probabilities: Tensor, clean_labels: Tensor) -> Tensor:
    """The class probabilities in float64 on the CPU; a ValueError if they are none, or the labels do not belong."""
    rows = require_matrix(probabilities, "probabilities").detach().cpu().double()
    told = f"probabilities must have a column for each of at least 2 classes, but have {rows.shape[1]}."
    require(rows.shape[1] >= 2, told)
    broken = ~((rows >= 0).all(dim=1) & ((rows.sum(dim=1) - 1).abs() <= 0.01))  # NaN fails every comparison
    if bool(broken.any()):
        raise ValueError(
            f"probabilities must be at least 0 and sum to 1 in every row, but {int(broken.sum())} row(s) do not, the "
            f"first is row {int(broken.nonzero()[0])}. If they are logits, apply softmax(dim=1)."
        )
    require_labels(clean_labels, "clean_labels", length=len(rows), num_classes=rows.shape[1])
    return rows


def _uniform(count: int, generator: torch.Generator | None) -> Tensor:
    """(count,) float64 numbers in [0, 1)."""
    return torch.rand(count, generator=generator or torch.Generator().manual_seed(0), dtype=torch.float64)


def _mislabel(clean: Tensor, wrong: Tensor, keys: Tensor, noise_rate: float, num_classes: int) -> NoisyLabels:
    """Give the samples with the highest keys their wrong label; of equal keys the earlier sample.

    A ValueError if ``noise_rate`` is outside [0, 1), or reaches samples whose key is minus infinity.
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
