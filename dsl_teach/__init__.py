"""Deep self-learning from noisy labels (SMP): prototypes chosen by a network's own features correct its labels.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, arXiv 1908.02160.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsl_teach.config import Settings
    from dsl_teach.data import load_dataset
    from dsl_teach.data.dataset import NoisyDataset
    from dsl_teach.metrics import correction_report, interval, paired_difference
    from dsl_teach.noise import noise_report
    from dsl_teach.prototypes import Prototypes, class_scores, correct_labels, select_prototypes
    from dsl_teach.training.loop import fit
    from dsl_teach.training.runs import run

__version__ = "0.2.0"

_HOMES = {
    "NoisyDataset": "data.dataset",
    "Prototypes": "prototypes",
    "Settings": "config",
    "class_scores": "prototypes",
    "correct_labels": "prototypes",
    "correction_report": "metrics",
    "fit": "training.loop",
    "interval": "metrics",
    "load_dataset": "data",
    "noise_report": "noise",
    "paired_difference": "metrics",
    "run": "training.runs",
    "select_prototypes": "prototypes",
}

__all__ = [
    "NoisyDataset",
    "Prototypes",
    "Settings",
    "class_scores",
    "correct_labels",
    "correction_report",
    "fit",
    "interval",
    "load_dataset",
    "noise_report",
    "paired_difference",
    "run",
    "select_prototypes",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dsl_teach' has no attribute {name!r}")
    return getattr(import_module(f"dsl_teach.{_HOMES[name]}"), name)
