"""Does noise depend on the input, or only on the class? Measured by what a clean-trained model thinks of the images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.noise import require_probabilities

Z_95 = 1.959963984540054
"""The normal distribution's two-sided 95 % point."""


@dataclass(frozen=True)
class InputDependence:
    """How much likelier the wrong labels look on their own images than on others of the same class."""

    on_image: float
    """Mean probability of the noisy label on the mislabelled image itself."""
    class_mean: float
    """The same label's mean probability over all images of the same true class."""
    low: float
    """Lower end of the ratio's 95 % interval."""
    high: float
    """Upper end of the ratio's 95 % interval."""
    num_mislabelled: int
    """How many samples this rests on."""

    @property
    def ratio(self) -> float:
        """``on_image`` / ``class_mean``: about 1 if noise knows only the class."""
        return self.on_image / self.class_mean

    @property
    def input_dependent(self) -> bool:
        """Whether the whole interval lies above 1."""
        return self.low > 1

    def __str__(self) -> str:
        verdict = "depends on the input" if self.input_dependent else "is not shown to depend on more than the class"
        return (
            f"Ratio {self.ratio:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}, "
            f"{self.num_mislabelled} wrong labels): the noise {verdict}."
        )


def input_dependence(probabilities: Tensor, clean_labels: Tensor, noisy_labels: Tensor) -> InputDependence:
    r"""Compare the wrong labels' probability on their own images with its mean over the class.

    .. math:: \text{ratio} = \frac{\sum_{i \in W} p_{\tilde y_i}(x_i)}
                                   {\sum_{i \in W} \bar p_{\tilde y_i}(y_i)}, \qquad
              W = \{ i : \tilde y_i \ne y_i \}, \qquad
              \bar p_k(c) = \frac{1}{|\{j : y_j = c\}|} \sum_{j : y_j = c} p_k(x_j)

    If noise knows only the class, the mislabelled samples of a class are a random part of it, and the ratio is 1 up
    to chance. Published input-dependent labels of CIFAR-10 give about 2 to 3. The weaker the model, the nearer to 1
    everything comes; noise that depends on the image in a way that does not confuse the model, as the part-dependent
    kind does, stays near 1 too.

    Args:
        probabilities: (N, K), class probabilities of a model trained on clean labels that has **not seen the images
            it judges**: cross-validated or held out. On its own training images a network is sure of everything.
        clean_labels: (N,) int64, the true labels; -1 where one is not known: that sample is left out.
        noisy_labels: (N,) int64.

    Returns:
        The ratio with its 95 % interval, from the standard error of the logarithm of a ratio of means.

    Raises:
        ValueError: if a shape or a label is out of range, or fewer than two labels are wrong.
    """
    known = (clean_labels >= 0).cpu()
    if len(known) != len(probabilities):
        raise ValueError(
            f"clean_labels must have one entry for each of the {len(probabilities)} rows of probabilities."
        )
    clean = clean_labels.cpu()[known]
    rows = require_probabilities(probabilities.cpu()[known], clean)
    require_labels(noisy_labels, "noisy_labels", length=len(known), num_classes=rows.shape[1])
    noisy = noisy_labels.cpu()[known]

    wrong = noisy != clean
    if int(wrong.sum()) < 2:
        raise ValueError(f"noisy_labels hold {int(wrong.sum())} wrong label(s); this check needs at least two.")
    on_image = rows.gather(1, noisy[:, None]).squeeze(1)[wrong]
    sums = torch.zeros(rows.shape[1], rows.shape[1], dtype=rows.dtype).index_add_(0, clean, rows)
    class_mean = sums[clean[wrong], noisy[wrong]] / torch.bincount(clean)[clean[wrong]]
    if not bool(class_mean.any()):
        raise ValueError(
            "probabilities give the noisy labels 0 everywhere in their classes; take a less certain model."
        )
    ratio = float(on_image.mean() / class_mean.mean())
    error = float((on_image - ratio * class_mean).std() / (class_mean.mean() * len(on_image) ** 0.5))
    factor = math.exp(Z_95 * error / ratio) if ratio else math.inf
    low, high = (ratio / factor, ratio * factor) if ratio else (0.0, math.inf)
    return InputDependence(float(on_image.mean()), float(class_mean.mean()), low, high, int(wrong.sum()))
