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
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import accuracy
from dsl_teach.training.evaluation import predict
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
        self._labels: Tensor | None = None

    def on_epoch_end(self, state: State) -> None:
        """Compare; None where there is nothing to compare."""
        before, correction = self._labels, state.correction
        self._labels = None if correction is None else correction.labels.clone()
        if before is None or self._labels is None:
            self.shares.append(None)
        else:
            self.shares.append(float((before != self._labels).double().mean()))


def run_trials(trials: Sequence[tuple[str, Settings, int]], *, folder: Path, workers: int = 1) -> Iterator[Row]:
    """Train many variants side by side, one thread each.

    Args:
        trials: the arguments of :func:`run_trial`.
        folder: keeps every row as soon as it is there; those found in it are not computed again.
        workers: how many run at a time, each in a process of its own.

    Returns:
        One row a trial, in their order, each as soon as it is there.
    """
    kept = joblib.Memory(folder, verbose=0).cache(run_trial)
    return joblib.Parallel(n_jobs=workers, return_as="generator")(joblib.delayed(kept)(*trial) for trial in trials)


def run_trial(name: str, settings: Settings, styles: int = 1) -> Row:
    """Train one variant on one thread; its own changes come on top of the settings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return row_of(name, digits_by_style(settings, styles), settings)
    finally:
        torch.set_num_threads(threads)


def row_of(name: str, data: NoisyDataset, settings: Settings) -> Row:
    """The figures of one variant: those of the last epoch, and curves over the epochs. Shares from 0 to 1."""
    variant, unrest = VARIANTS[name], Unrest()
    trial = variant.inject(Trial.begin(data, settings.replace(**variant.changes)))
    result = trial.fit(unrest)
    quarter = [share for share in unrest.shares[-max(1, len(unrest.shares) // 4) :] if share is not None]
    right = predict(trial.network, trial.test) == trial.test.noisy_labels
    extra = len(trial.train.noisy_labels) > len(data)  # every second test image was trained on
    return {
        "method": name,
        "classes": data.num_classes,
        "made_from": data.made_from,
        "alpha": trial.settings.alpha,
        "seed": settings.seed,
        **{figure: getattr(result.history[-1], figure) for figure in LAST},
        "prototypes_right": prototypes_right(result, trial),
        "unrest": float(np.mean(quarter)) if quarter else None,
        "seen": float(right[::2].double().mean()) if extra else None,
        "unseen": float(right[1::2].double().mean()) if extra else None,
        **{curve: [rounded(getattr(record, of)) for record in result.history] for curve, of in CURVES.items()},
    }


def prototypes_right(result: Result, trial: Trial) -> float | None:
    """The share of the last prototypes whose noisy label is the true one; None without any, or without clean labels."""
    if result.correction is None or trial.clean_labels is None:
        return None
    index = result.correction.prototypes.index
    index = index[index >= 0]  # -1 marks an empty place
    return accuracy(trial.train.noisy_labels[index], trial.clean_labels[index])


def rounded(share: float | None) -> float | None:
    """To four decimals, as curves are kept."""
    return None if share is None else round(share, 4)
