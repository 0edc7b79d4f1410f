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
    "config": ["Settings"],
    "data": ["load_dataset"],
    "data.dataset": ["NoisyDataset"],
    "metrics": ["correction_report", "interval", "paired_difference"],
    "noise": ["noise_report"],
    "prototypes": ["Prototypes", "class_scores", "correct_labels", "select_prototypes"],
    "training.loop": ["fit"],
    "training.runs": ["run"],
}

__all__ = [name for names in _HOMES.values() for name in names]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package costs nothing."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"dsl_teach.{home}"), name)
    raise AttributeError(f"module 'dsl_teach' has no attribute {name!r}")
