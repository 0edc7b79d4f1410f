"""Deep self-learning from noisy labels (SMP): prototypes chosen by a network's own features correct its labels.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, arXiv 1908.02160.
"""

from dsl_teach.config import Settings
from dsl_teach.data.catalog import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import correction_report, interval, paired_difference
from dsl_teach.noise import noise_report
from dsl_teach.prototypes import Prototypes, class_scores, correct_labels, select_prototypes
from dsl_teach.training.loop import fit
from dsl_teach.training.runs import run

__version__ = "0.1.0"

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
