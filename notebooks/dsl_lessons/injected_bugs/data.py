"""Data of lesson 07: shifted views, wrong labels for images of one's own, and digits divided into many classes."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.digits import neighbour_probabilities
from dsl_teach.noise import instance_dependent_noise
from dsl_teach.seeds import stream


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move every image, (B, C, H, W) uint8, by up to a pixel each way; none is mirrored: a mirrored 2 is no 2."""
    batch, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (1,) * 4)
    top, left = torch.randint(3, (2, batch, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    sample = torch.arange(batch)[:, None, None]
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def wrong_labels(images: Tensor, labels: Tensor, settings: Settings, num_classes: int) -> Tensor:
    """(N,) int64, labels with the input-dependent noise of the settings."""
    probabilities = neighbour_probabilities(images.flatten(1), labels, num_classes=num_classes)
    return instance_dependent_noise(
        probabilities, labels, settings.noise_rate or 0.0,
        generator=stream(settings.seed, "noise of the test images"), temperature=settings.noise_temperature,
    ).noisy_labels  # fmt: skip


def digits_by_style(settings: Settings, styles: int) -> NoisyDataset:
    """The digits in many classes: each digit divided into ways of writing it, and labels made wrong anew.

    The styles of a digit are the groups that k-means finds among its training images; with one, the digits stay.

    Raises:
        ValueError: if ``styles`` is below 1.
    """
    from sklearn.cluster import KMeans  # slow to import

    if styles < 1:
        raise ValueError(f"styles must be at least 1, but it is {styles}.")
    if styles == 1:
        return load_dataset(settings.replace(dataset="digits"))
    data = load_dataset(settings.replace(dataset="digits", noise_rate=0.0))
    assert isinstance(data.images, Tensor)
    assert isinstance(data.test_images, Tensor)
    images, tests = (part.flatten(1).double().numpy() for part in (data.images, data.test_images))
    labels, test_labels = data.noisy_labels.clone(), data.test_labels.clone()  # without noise they are right
    for digit in range(10):
        mine, theirs = data.noisy_labels == digit, data.test_labels == digit
        means = KMeans(styles, n_init=4, random_state=settings.seed).fit(images[mine])
        labels[mine] = digit * styles + torch.from_numpy(means.labels_).long()
        test_labels[theirs] = digit * styles + torch.from_numpy(means.predict(tests[theirs])).long()
    noise = f"{settings.noise_rate:.0%} input-dependent label noise"
    return dataclasses.replace(
        data,
        noisy_labels=wrong_labels(data.images, labels, settings, 10 * styles),
        clean_labels=labels,
        test_labels=test_labels,
        class_names=tuple(f"{digit}{'abcdefghijklmnopqrstuvwxyz'[s]}" for digit in range(10) for s in range(styles)),
        made_from=f"scikit-learn's handwritten digits in {10 * styles} styles; {noise}",
    )
