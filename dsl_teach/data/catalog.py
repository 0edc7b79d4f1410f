"""The data set that a run's settings name."""

from __future__ import annotations

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.digits import digits


def load_dataset(settings: Settings) -> NoisyDataset:
    """Make or read the data set of a run; the same settings give the same samples and labels."""
    return digits(
        seed=settings.seed,
        noise_rate=settings.noise_rate,
        temperature=settings.noise_temperature,
        rarest_share=settings.rarest_share,
    )
