"""The four sliders over runs that are finished: each position shows the run that lies nearest, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dsl_lessons.explorers.drawing import FAINT, Panel, epoch_axes, picture, polyline, words
from dsl_lessons.explorers.shell import Explorer, Slider, knob_sliders
from dsl_teach.config import KNOBS

CURVE = "#1f5fa8"
STEPS = {"p": 1, "m": 1, "alpha": 0.05, "correction_start": 1}


Runs = Sequence[Mapping[str, Any]]
"""One row a run: the four knobs, ``seed``, ``made_from``, ``test_accuracy``, ``label_accuracy``, ``test_curve``."""


class RunsExplorer(Explorer):
    """Sliders that pick among finished runs.

    Args:
        rows: of a sweep, with the four knobs.

    Raises:
        ValueError: if there is no run.
    """

    def __init__(self, rows: pd.DataFrame):
        self.runs: Runs = [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
        if not self.runs:
            raise ValueError("There is no finished run to show. Train one first, or name the folder of those you have.")
        best = max([run for run in self.runs if run["alpha"]] or self.runs, key=lambda run: run["test_accuracy"])
        super().__init__(run_sliders(self.runs), {name: best[name] for name in KNOBS})

    def show(self, values: dict[str, Any]) -> dict[str, str]:
        """Picture and summary of the nearest run."""
        chosen = nearest(self.runs, values)
        return {"picture": runs_picture(self.runs, chosen), "summary": runs_summary(self.runs, chosen), "command": ""}


def run_sliders(runs: Runs) -> tuple[Slider, ...]:
    """One for each knob, from its least to its greatest value among the runs."""
    return knob_sliders({name: [run[name] for run in runs] for name in KNOBS}, STEPS)


def nearest(runs: Runs, values: Mapping[str, Any]) -> int:
    """The run whose knobs lie nearest; each knob counts by its share of the range that the runs cover."""
    width = {name: max(run[name] for run in runs) - min(run[name] for run in runs) or 1 for name in KNOBS}
    distances = [sum(abs(run[name] - values[name]) / width[name] for name in KNOBS) for run in runs]
    return distances.index(min(distances))


def runs_picture(runs: Runs, chosen: int) -> str:
    """The test curve of one run, in front of those of all others; as SVG."""
    longest = max(2, *(len(run["test_curve"]) for run in runs))
    panel = Panel(60, 60, 560, 240, (1, longest), (0, 1))
    parts = [
        epoch_axes(panel, longest, title=knobs_in_words(runs[chosen]), ylabel="test samples right"),
        *(_curve(panel, run["test_curve"], FAINT) for run in runs),
        _curve(panel, runs[chosen]["test_curve"], CURVE),
        words(10, 20, f"Made from: {runs[chosen]['made_from']}", font_size=11),
    ]
    return picture(700, 360, parts, description=runs_summary(runs, chosen))


def runs_summary(runs: Runs, chosen: int) -> str:
    """One line about a run: its knobs, its figures, how many runs there are."""
    run = runs[chosen]
    labels = run.get("label_accuracy")
    told = f", corrected labels right {labels:.1%}" if pd.notna(labels) else ""
    return f"{knobs_in_words(run)}: test accuracy {run['test_accuracy']:.1%}{told}. One of {len(runs)} finished runs."


def knobs_in_words(run: Mapping[str, Any]) -> str:
    """What a run is called in a title or a legend."""
    knobs = f"p = {run['p']}, m = {run['m']}, alpha = {run['alpha']:g}, correction_start = {run['correction_start']}"
    return f"{knobs if run['alpha'] else 'cross-entropy'}, seed {run['seed']}"


def _curve(panel: Panel, curve: Sequence[float], colour: str) -> str:
    return polyline(panel, list(range(1, len(curve) + 1)), list(curve), colour=colour)
