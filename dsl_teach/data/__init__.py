"""Data sets."""

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset


def load_dataset(settings: Settings) -> NoisyDataset:
    """The data set of a run."""
    from dsl_teach.data import catalog

    return catalog.load_dataset(settings)
