"""Variants of the method, trained: one row a run; rows are kept, so that a batch that was broken off goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor

from dsl_lessons.injected_bugs.catalog import VARIANTS
from dsl_lessons.injected_bugs.data import digits_by_style
from dsl_lessons.injected_bugs.trial import Trial
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import accuracy
from dsl_teach.training.evaluation import evaluate
from dsl_teach.training.records import Callback, Result, State

LAST = ("test_accuracy", "memorised", "label_accuracy", "changed", "chance_changed", "wrong_to_right", "right_to_wrong",
        "passed", "filled")  # fmt: skip
"""Figures of the last epoch that go into a row, by the names of :class:`dsl_teach.training.records.EpochRecord`."""
CURVES = {"test_curve": "test_accuracy", "label_curve": "label_accuracy", "changed_curve": "changed"}

Row = dict[str, Any]


class Unrest(Callback):
    """For each epoch the share of the corrected labels in use that differ from those of the epoch before."""

    def __init__(self) -> None:
        self.shares: list[float | None] = []
        self._before: Tensor | None = None

    def on_epoch_end(self, state: State) -> None:
        """Compare; None where there is nothing to compare."""
        now = None if state.correction is None else state.correction.labels.clone()
        known = self._before is not None and now is not None
        self.shares.append(float((self._before != now).double().mean()) if known else None)
        self._before = now


def run_trials(trials: Sequence[tuple[str, Settings, int]], *, folder: Path, workers: int = 1) -> Iterator[Row]:
    """Train many variants side by side, one thread each.

    Args:
        trials: the name of a variant, the settings, and into how many styles digits are divided; see :func:`run_trial`.
        folder: keeps every row as soon as it is there; those found in it are not computed again.
        workers: how many run at a time, each in a process of its own.

    Returns:
        One row a trial, in their order, each as soon as it is there.
    """
    kept = joblib.Memory(folder, verbose=0).cache(run_trial)
    jobs = (joblib.delayed(kept)(name, settings.to_dict(), styles) for name, settings, styles in trials)
    return joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)


def run_trial(name: str, settings: dict[str, Any], styles: int = 1) -> Row:
    """Train one variant on one thread.

    Args:
        name: of the variant.
        settings: every setting; the variant's own changes come on top.
        styles: into how many ways of writing the digits are divided; see :func:`digits_by_style`.
    """
    threads, all_settings = torch.get_num_threads(), Settings(**settings)
    torch.set_num_threads(1)
    try:
        in_styles = all_settings.dataset == "digits"
        data = digits_by_style(all_settings, styles) if in_styles else load_dataset(all_settings)
        return row_of(name, data, all_settings)
    finally:
        torch.set_num_threads(threads)


def row_of(name: str, data: NoisyDataset, settings: Settings) -> Row:
    """The figures of one variant: those of the last epoch, and curves over the epochs. Shares from 0 to 1.

    Args:
        name: of the variant.
        data: any data set in memory.
        settings: every setting; the variant's own changes come on top.
    """
    variant = VARIANTS[name]
    trial = variant.inject(Trial.begin(data, settings.replace(**variant.changes)))
    unrest = Unrest()
    result = trial.fit(unrest)
    quarter = [share for share in unrest.shares[-max(1, len(unrest.shares) // 4) :] if share is not None]
    return {
        "variant": name,
        "classes": data.num_classes,
        "made_from": data.made_from,
        "alpha": trial.settings.alpha,
        "seed": settings.seed,
        **{figure: getattr(result.history[-1], figure) for figure in LAST},
        "prototypes_right": prototypes_right(result, trial),
        "unrest": float(np.mean(quarter)) if quarter else None,
        "seen": None,
        "unseen": None,
        **{part: evaluate(trial.network, batches) for part, batches in trial.test_parts.items()},
        **{curve: _curve(result, figure) for curve, figure in CURVES.items()},
    }


def prototypes_right(result: Result, trial: Trial) -> float | None:
    """The share of the last prototypes whose noisy label is the true one; None without any, or without clean labels."""
    if result.correction is None or trial.clean_labels is None:
        return None
    index = result.correction.prototypes.index
    index = index[index >= 0]  # -1 marks an empty place
    return accuracy(trial.train.noisy_labels[index], trial.clean_labels[index])


def _curve(result: Result, figure: str) -> list[float | None]:
    values = [getattr(record, figure) for record in result.history]
    return [None if value is None else round(value, 4) for value in values]
