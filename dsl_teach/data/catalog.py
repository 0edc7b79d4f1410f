"""The data set that a run's settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsl_teach.config import Settings
from dsl_teach.data.cifar import cifar10, cifar100, cifar_n_labels
from dsl_teach.data.clothing1m import clothing1m
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.digits import digits, neighbour_probabilities
from dsl_teach.data.folders import image_folder
from dsl_teach.data.food101n import food101n
from dsl_teach.data.label_files import PublishedLabels, labels_from_file
from dsl_teach.data.relabel import thinned, with_labels
from dsl_teach.data.toy import toy_clusters, toy_moons
from dsl_teach.noise import in_words, instance_dependent_noise, keep_direction
from dsl_teach.seeds import stream


def load_dataset(settings: Settings) -> NoisyDataset:
    """Make or read the data set of a run; the same settings give the same samples and labels.

    Digits and toys get input-dependent noise at ``noise_rate``. The others come with the labels that people, or
    published files, gave them.

    Raises:
        FileNotFoundError: if a folder or file is missing; the sentence says how to get it.
        ValueError: if its content is not what it should be.
    """
    return _LOADERS[settings.dataset](settings)


def _digits(s: Settings) -> NoisyDataset:
    noise: dict[str, Any] = {"noise_rate": s.noise_rate, "direction": s.noise_direction}
    return digits(seed=s.seed, temperature=s.noise_temperature, rarest_share=s.rarest_share, **noise)


def _toy(make: Callable[..., NoisyDataset]) -> Callable[[Settings], NoisyDataset]:
    def load(s: Settings) -> NoisyDataset:
        data = make(seed=s.seed)
        probabilities = neighbour_probabilities(data.images, data.noisy_labels, num_classes=data.num_classes)  # type: ignore[arg-type]
        noise = instance_dependent_noise(
            probabilities,
            data.noisy_labels,
            s.noise_rate,
            generator=stream(s.seed, "noise"),
            temperature=s.noise_temperature,
        )
        return with_labels(data, noise.noisy_labels, made_from=f"{s.noise_rate:.0%} input-dependent label noise")

    return load


def _cifar(make: Callable[..., NoisyDataset]) -> Callable[[Settings], NoisyDataset]:
    def load(s: Settings) -> NoisyDataset:
        labels = _published(s)
        data = make(s.data_root, labels=labels, subset=s.subset or None, seed=s.seed, checksum=s.official_files)
        return _uneven(data, s)

    return load


def _uneven(data: NoisyDataset, s: Settings) -> NoisyDataset:
    """Thin the classes out, and set wrong labels of the other direction back to the clean ones."""
    if s.rarest_share < 1:
        data = thinned(data, s.rarest_share, seed=s.seed)
    if s.noise_direction == "any" or data.clean_labels is None:
        return data
    labels = keep_direction(data.noisy_labels, data.clean_labels, s.noise_direction, num_classes=data.num_classes)
    told = data.made_from.partition("; ")[2] + in_words(s.noise_direction)
    return with_labels(data, labels, made_from=f"{told}, the others set right")


def _published(s: Settings) -> PublishedLabels | None:
    if not s.labels_file:
        return None
    if s.labels_file.endswith(".pt"):
        return cifar_n_labels(s.labels_file, s.labels_name)
    return labels_from_file(s.labels_file, s.labels_name or None)


def _image_folder(s: Settings) -> NoisyDataset:
    return image_folder(s.data_root, s.test_root or None, seed=s.seed)


def _clothing1m(s: Settings) -> NoisyDataset:
    return clothing1m(s.data_root)


def _food101n(s: Settings) -> NoisyDataset:
    return food101n(s.data_root, s.test_root)


_LOADERS: dict[str, Callable[[Settings], NoisyDataset]] = {
    "digits": _digits,
    "toy_clusters": _toy(toy_clusters),
    "toy_moons": _toy(toy_moons),
    "cifar10": _cifar(cifar10),
    "cifar100": _cifar(cifar100),
    "image_folder": _image_folder,
    "clothing1m": _clothing1m,
    "food101n": _food101n,
}
