"""The 1,797 handwritten digits that scikit-learn carries: real images, no download, noise that depends on them."""

from __future__ import annotations

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset, confused_labels
from dsl_teach.seeds import stream

TEST_SHARE = 0.3
"""The share of the images that is held out."""


def load(settings: Settings) -> NoisyDataset:
    """Digits of 8 x 8 pixels, a share of them mislabelled as the digit they resemble most.

    Split, thinning and noise follow from the seed. The images that lie close to another class are mislabelled first.
    With ``rarest_share`` below 1, the training classes thin out evenly from digit 0 (all kept) to digit 9, and what an
    image resembles is judged among those left.

    Returns:
        uint8 images (N, 1, 8, 8), noisy and clean labels, and a test set with equally many of each digit.
    """
    from sklearn.datasets import load_digits

    bunch, seed, rate = load_digits(), settings.seed, settings.noise_rate or 0.0
    pixels = (torch.from_numpy(bunch.images).unsqueeze(1) * 255 / 16).round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).long()
    order, held_out = torch.randperm(len(labels), generator=stream(seed, "split")), round(TEST_SHARE * len(labels))
    train, test = order[held_out:].sort().values, order[:held_out].sort().values
    train = _thinned(train, labels, settings.rarest_share, stream(seed, "thin"))
    smallest = int(torch.bincount(labels[test]).min())
    test = torch.cat([test[labels[test] == digit][:smallest] for digit in range(10)]).sort().values
    likely = neighbour_probabilities(pixels[train].flatten(1), labels[train], num_classes=10)
    told = "" if settings.rarest_share == 1 else f", classes thinned from 1 to {settings.rarest_share:g}"
    return NoisyDataset(
        name="digits",
        images=pixels[train],
        noisy_labels=confused_labels(likely, labels[train], settings),
        clean_labels=labels[train],
        class_names=tuple(map(str, range(10))),
        test_images=pixels[test],
        test_labels=labels[test],
        made_from=f"scikit-learn's handwritten digits, {rate:.0%} input-dependent label noise{told}",
    )


def _thinned(train: Tensor, labels: Tensor, rarest_share: float, generator: torch.Generator) -> Tensor:
    shuffled = train[torch.randperm(len(train), generator=generator)]
    kept = []
    for digit, share in enumerate(torch.linspace(1, rarest_share, 10, dtype=torch.float64).tolist()):
        rows = shuffled[labels[shuffled] == digit]
        kept.append(rows[: round(share * len(rows))])
    return torch.cat(kept).sort().values


def neighbour_probabilities(points: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    r"""Class probabilities of each point by the other points around it.

    .. math:: p_c(x_i) \propto \sum_{j \ne i,\, y_j = c} \exp\bigl(-\lVert x_i - x_j \rVert^2 / 2 h^2\bigr)

    with h the median distance from a point to its nearest neighbour. Distances between whole numbers are exact, so
    every machine gives the same probabilities. From (N, D) points and their (N,) int64 true classes to (N, K) float64.
    """
    x = points.double()
    squares = (x * x).sum(dim=1)
    distance = (squares[:, None] + squares[None, :] - 2 * x @ x.T).fill_diagonal_(torch.inf)
    width = distance.amin(dim=1).median()
    log_kernel = -distance / (2 * width)
    log_kernel -= log_kernel.amax(dim=1, keepdim=True)  # the nearest neighbour has weight 1: nothing underflows to 0/0
    by_class = log_kernel.exp() @ torch.nn.functional.one_hot(labels, num_classes).double()
    return by_class / by_class.sum(dim=1, keepdim=True)
