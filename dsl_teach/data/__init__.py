"""Data sets with noisy labels, and batches of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsl_teach.config import Settings
    from dsl_teach.data.dataset import NoisyDataset

_MODULES = {
    **{"toy_clusters": "toy", "toy_moons": "toy"},
    **{"cifar10": "cifar", "cifar100": "cifar", "image_folder": "folders"},
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
    s, module = settings, import_module(f"dsl_teach.data.{_MODULES.get(settings.dataset, settings.dataset)}")
    match s.dataset:
        case "clothing1m":
            return module.clothing1m(s.data_root, trust=s.trust)
        case "food101n":
            return module.food101n(s.data_root, s.test_root, trust=s.trust)
        case "image_folder":
            return module.image_folder(s.data_root, s.test_root or None, seed=s.seed, trust=s.trust)
        case "digits":
            noise = {"noise_rate": s.noise_rate or 0.0, "temperature": s.noise_temperature}
            return module.digits(seed=s.seed, rarest_share=s.rarest_share, direction=s.noise_direction, **noise)
    return module.load(s)
