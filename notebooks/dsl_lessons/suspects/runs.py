"""Many trials of suspects, each row written down as soon as it is there, so that a broken run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch

from dsl_lessons.suspects.data import digits_by_style
from dsl_lessons.suspects.trials import Suspect, Trial, try_suspect
from dsl_teach.config import Settings
from dsl_teach.data.catalog import load_dataset
from dsl_teach.training.loop import EpochRecord

LAST = ("test_accuracy", "memorised", "label_accuracy", "changed", "chance_changed", "wrong_to_right", "right_to_wrong",
        "passed", "filled")  # fmt: skip
"""Figures of the last epoch that go into a row, by the names of :class:`dsl_teach.training.loop.EpochRecord`."""
CURVES = {"test_curve": "test_accuracy", "label_curve": "label_accuracy", "changed_curve": "changed"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One trial to run: a suspect, the settings, and into how many styles digits are divided."""

    suspect: Suspect
    settings: Settings
    styles: int = 1

    @property
    def key(self) -> str:
        """A short name of all that the row depends on, code apart: settings count where they are not the default."""
        settings, usual = self.settings.replace(**self.suspect.changes).to_dict(), Settings().to_dict()
        changed = {name: value for name, value in settings.items() if value != usual[name]}
        text = json.dumps([self.suspect.name, self.styles, changed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_jobs(
    jobs: Sequence[Job], *, folder: Path, workers: int = 1, on_row: Callable[[Row], None] | None = None
) -> pd.DataFrame:
    """Run what has not been run yet, one thread each, and give a row for every job.

    Args:
        jobs: what to run.
        folder: ``rows.jsonl`` there keeps a line for each finished job; a later call goes on from it.
        workers: how many run at a time, each in a process of its own.
        on_row: called with each row, those found in the folder too.

    Returns:
        One row a job, in the order of the jobs.
    """
    path = folder / "rows.jsonl"
    rows = _finished(path)
    for job in jobs:
        if job.key in rows and on_row is not None:
            on_row(rows[job.key])
    todo = {job.key: job for job in jobs if job.key not in rows}
    made = joblib.Parallel(n_jobs=workers, return_as="generator")(joblib.delayed(_row_of)(job) for job in todo.values())
    for key, row in zip(todo, made, strict=True):
        rows[key] = row
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"key": key, "row": row}))  # the break first: the line before may be cut off
        if on_row is not None:
            on_row(row)
    return pd.DataFrame([rows[job.key] for job in jobs])


def row_of(trial: Trial) -> Row:
    """The figures of a trial: those of the last epoch, and curves over the epochs. Shares from 0 to 1."""
    history, settings = trial.run.result.history, trial.run.settings
    quarter = [share for share in trial.unrest[-max(1, len(history) // 4) :] if share is not None]
    return {
        "suspect": trial.suspect.name,
        "classes": trial.run.data.num_classes,
        "made_from": trial.run.data.made_from,
        "alpha": settings.alpha,
        "seed": settings.seed,
        **{name: getattr(history[-1], name) for name in LAST},
        "prototypes_right": trial.prototypes_right,
        "unrest": float(np.mean(quarter)) if quarter else None,
        "seen": trial.test_parts.get("seen"),
        "unseen": trial.test_parts.get("unseen"),
        **{name: _curve(history, figure) for name, figure in CURVES.items()},
    }


def _curve(history: Sequence[EpochRecord], figure: str) -> list[float | None]:
    values = [getattr(record, figure) for record in history]
    return [None if value is None else round(value, 4) for value in values]


def _row_of(job: Job) -> Row:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        in_styles = job.settings.dataset == "digits"
        data = digits_by_style(job.settings, job.styles) if in_styles else load_dataset(job.settings)
        return row_of(try_suspect(job.suspect, data, job.settings))
    finally:
        torch.set_num_threads(threads)


def _finished(path: Path) -> dict[str, Row]:
    """Rows by key; a last line that was cut off is left out."""
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[entry["key"]] = entry["row"]
    return rows
