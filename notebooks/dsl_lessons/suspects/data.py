"""Data for the suspects of lesson 07: views, test images in the training set, and digits divided into many classes."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dsl_lessons.suspects.trials import Parts, usual_parts
from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.data.catalog import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.digits import neighbour_probabilities
from dsl_teach.noise import instance_dependent_noise
from dsl_teach.seeds import stream


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move every image by up to one pixel each way. Digits are not mirrored: a mirrored 2 is no 2.

    Args:
        images: (B, C, H, W) uint8.
        generator: a CPU generator.
    """
    batch, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (1,) * 4)
    top, left = torch.randint(3, (2, batch, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    sample = torch.arange(batch)[:, None, None]
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def shifted(data: NoisyDataset, settings: Settings) -> Parts:
    """Training images moved by up to a pixel; correction and test see them unmoved."""
    parts = usual_parts(data, settings)
    train = InMemoryBatches(images_of(data)[0], data.noisy_labels, batch_size=settings.batch_size, view=shift)
    return dataclasses.replace(parts, train=train)


def half_of_the_test_trained_on(data: NoisyDataset, settings: Settings, *, noisy: bool = False) -> Parts:
    """Every second test image stands in the training set too, and the test counts all of them.

    Args:
        data: images in memory, clean labels known.
        settings: batch size, seed and noise.
        noisy: whether these images come with wrong labels at the rate of the training set, or with right ones.
    """
    images, test_images = images_of(data)
    seen = torch.arange(0, len(test_images), 2)
    unseen = seen[: len(test_images) // 2] + 1
    labels = wrong_labels(test_images, data.test_labels, data, settings) if noisy else data.test_labels
    train = InMemoryBatches(
        torch.cat([images, test_images[seen]]),
        torch.cat([data.noisy_labels, labels[seen]]),
        batch_size=settings.batch_size,
    )
    test = usual_parts(data, settings).test
    groups = {
        name: InMemoryBatches(test_images[rows], data.test_labels[rows], batch_size=test.batch_size)
        for name, rows in (("seen", seen), ("unseen", unseen))
    }
    clean = None if data.clean_labels is None else torch.cat([data.clean_labels, data.test_labels[seen]])
    return Parts(train, test, clean, groups)


def wrong_labels(images: Tensor, labels: Tensor, data: NoisyDataset, settings: Settings) -> Tensor:
    """Labels with the input-dependent noise of the settings."""
    probabilities = neighbour_probabilities(images.flatten(1), labels, num_classes=data.num_classes)
    generator = stream(settings.seed, "noise of the test images")
    temperature = settings.noise_temperature
    return instance_dependent_noise(
        probabilities, labels, settings.noise_rate, generator=generator, temperature=temperature
    ).noisy_labels


def images_of(data: NoisyDataset) -> tuple[Tensor, Tensor]:
    """Training and test images.

    Raises:
        TypeError: if they live on disk.
    """
    if not isinstance(data.images, Tensor) or not isinstance(data.test_images, Tensor):
        raise TypeError(f"{data.name} lives on disk: this needs images in memory, such as dataset='digits'.")
    return data.images, data.test_images


def digits_by_style(settings: Settings, styles: int) -> NoisyDataset:
    """The digits in many classes: each digit divided into ways of writing it, and labels made wrong anew.

    The styles of a digit are the groups that k-means finds among its training images.

    Args:
        settings: seed and noise.
        styles: groups a digit; 1 gives the ten digits themselves.

    Raises:
        ValueError: if ``styles`` is below 1.
    """
    if styles < 1:
        raise ValueError(f"styles must be at least 1, but it is {styles}.")
    if styles == 1:
        return load_dataset(settings.replace(dataset="digits"))
    data = load_dataset(settings.replace(dataset="digits", noise_rate=0.0))
    images, test_images = images_of(data)
    labels, test_labels = data.noisy_labels.clone(), data.test_labels.clone()  # without noise they are right
    for digit in range(10):
        mine, theirs = data.noisy_labels == digit, data.test_labels == digit
        groups, test_groups = _groups(images[mine], test_images[theirs], styles, settings.seed)
        labels[mine], test_labels[theirs] = digit * styles + groups, digit * styles + test_groups
    names = tuple(f"{digit}{'abcdefghijklmnopqrstuvwxyz'[style]}" for digit in range(10) for style in range(styles))
    clean = dataclasses.replace(
        data, noisy_labels=labels, clean_labels=labels, test_labels=test_labels, class_names=names
    )
    noise = f"{settings.noise_rate:.0%} input-dependent label noise"
    return dataclasses.replace(
        clean,
        noisy_labels=wrong_labels(images, labels, clean, settings),
        made_from=f"scikit-learn's handwritten digits in {10 * styles} styles; {noise}",
    )


def _groups(images: Tensor, test_images: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    from sklearn.cluster import KMeans  # slow to import

    means = KMeans(count, n_init=4, random_state=seed).fit(images.flatten(1).numpy().astype(float))
    return tuple(
        torch.from_numpy(means.predict(part.flatten(1).numpy().astype(float))).long() for part in (images, test_images)
    )  # type: ignore[return-value]
