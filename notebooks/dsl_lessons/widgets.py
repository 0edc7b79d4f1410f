"""The explorers of the lessons: sliders over pure functions. All need a running kernel; all leave a picture."""

from __future__ import annotations

import pandas as pd

from dsl_lessons.explorers.prototypes import PrototypeExplorer
from dsl_lessons.explorers.table import TableExplorer
from dsl_lessons.explorers.training import TrainingExplorer
from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.digits import digits
from dsl_teach.data.toy import toy_clusters


def prototype_explorer(data: NoisyDataset | None = None, settings: Settings | None = None) -> PrototypeExplorer:
    """Sliders for p, m, quantile, eta_max and noise_rate over points in the plane.

    Args:
        data: points with clean labels; without any, three classes of four islands.
        settings: where the sliders start, and everything that has no slider.
    """
    settings = settings or Settings(m=200)
    return PrototypeExplorer(data or toy_clusters(seed=settings.seed, modes=4), settings)


def training_explorer(data: NoisyDataset | None = None, settings: Settings | None = None) -> TrainingExplorer:
    """Sliders for p, m, alpha and correction_start; runs training and draws its curves as they grow.

    Args:
        data: any data set in memory; without one, the handwritten digits with the noise of the settings.
        settings: where the sliders start, and everything that has no slider. For points, set ``network="mlp"``.
    """
    settings = settings or Settings(m=200, epochs=30)
    own = data or digits(seed=settings.seed, noise_rate=settings.noise_rate, temperature=settings.noise_temperature)
    return TrainingExplorer(own, settings)


def table_explorer(rows: pd.DataFrame, settings: Settings | None = None, *, made_by: str) -> TableExplorer:
    """Sliders for p, m, alpha and correction_start over runs on the digits that were computed beforehand.

    Args:
        rows: of a grid over the four knobs.
        settings: what the table was made with; where the sliders start, and what a real run beside it takes.
        made_by: which YAML made the table.
    """
    settings = settings or Settings()
    own = digits(seed=settings.seed, noise_rate=settings.noise_rate, temperature=settings.noise_temperature)
    notebook = "04_cifar_input_dependent_noise.ipynb"
    return TableExplorer(rows, own, settings, made_by=made_by, notebook=notebook)
