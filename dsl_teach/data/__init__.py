"""Data sets with noisy labels, and batches of them."""

from __future__ import annotations

from importlib import import_module

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset

_MODULES = {
    "toy_clusters": "toy",
    "toy_moons": "toy",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "image_folder": "folders",
}
"""Where a data set stands whose module has another name."""


def load_dataset(settings: Settings) -> NoisyDataset:
    """Make or read the data set of a run; the same settings give the same samples and labels.

    Digits and toys get input-dependent noise at ``noise_rate``, and so does CIFAR where it is named. The others come
    with the labels that people, or published files, gave them.

    Raises:
        FileNotFoundError: if a folder or file is missing; the sentence says how to get it.
        ValueError: if its content is not what it should be.
    """
    module = import_module(f"dsl_teach.data.{_MODULES.get(settings.dataset, settings.dataset)}")
    dataset: NoisyDataset = module.load(settings)
    return dataset
