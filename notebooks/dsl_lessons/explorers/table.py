"""Four sliders over a table of runs that were computed beforehand, and a button that trains for real beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dsl_lessons.explorers.drawing import (
    FAINT,
    INK,
    Panel,
    axes,
    dots,
    element,
    epoch_axes,
    picture,
    polyline,
    stars,
    words,
)
from dsl_lessons.explorers.shell import Slider, batch_command, knob_sliders
from dsl_lessons.explorers.training import LABELS, TEST, TrainingExplorer, TrainingView, training_summary
from dsl_teach.config import KNOBS, Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import interval

STEPS = {"p": 1, "m": 20, "alpha": 0.05, "correction_start": 1}


@dataclass(frozen=True)
class Entry:
    """One combination of the knobs in the table: what its runs came to, over their seeds."""

    knobs: dict[str, float]
    test_accuracies: tuple[float, ...]
    """One a seed, from 0 to 1."""
    test_curve: tuple[float, ...]
    """The mean over seeds, one an epoch."""
    label_curve: tuple[float | None, ...]

    @property
    def accuracy(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.test_accuracies))


@dataclass(frozen=True)
class TableView:
    """What the explorer shows: the entry nearest to the sliders, the whole table, and a real run beside it."""

    entry: Entry
    exact: bool
    """Whether the sliders stand on the entry itself."""
    table: Sequence[Entry]
    run: TrainingView
    made_by: str


def entries(rows: pd.DataFrame) -> list[Entry]:
    """The entries of a table, in ascending order of the knobs.

    Args:
        rows: of a sweep over the four knobs.

    Raises:
        ValueError: if there is no row.
    """
    if rows.empty:
        raise ValueError("The table of the sliders has no rows. Make it with notebooks/configs/digits_knobs.yaml.")
    found = []
    for _, group in rows.groupby(list(KNOBS)):
        knobs = {name: group[name].iloc[0].item() for name in KNOBS}
        tests, labels = (np.array(group[name].tolist(), dtype=float) for name in ("test_curve", "label_curve"))
        means = [None if np.isnan(column).any() else float(column.mean()) for column in labels.T]
        found.append(Entry(knobs, tuple(group["test_accuracy"]), tuple(tests.mean(axis=0)), tuple(means)))
    return found


def nearest(table: Sequence[Entry], values: Mapping[str, Any]) -> Entry:
    """The entry whose knobs lie nearest; ``p`` and ``m`` count by their ratio, each knob by the range it covers."""
    return min(table, key=lambda entry: sum(abs(x) for x in _distance(table, entry, values)))


def _distance(table: Sequence[Entry], entry: Entry, values: Mapping[str, Any]) -> list[float]:
    found = []
    for name in KNOBS:
        places = [_place(name, other.knobs[name]) for other in table]
        width = max(places) - min(places) or 1.0
        found.append((_place(name, entry.knobs[name]) - _place(name, values[name])) / width)
    return found


def _place(name: str, value: float) -> float:
    return math.log(value) if name in ("p", "m") else float(value)


def table_sliders(table: Sequence[Entry]) -> tuple[Slider, ...]:
    """A slider a knob, from its least to its greatest value in the table."""
    return knob_sliders({name: [entry.knobs[name] for entry in table] for name in KNOBS}, STEPS)


def table_picture(view: TableView) -> str:
    """Left the curves of the entry, dashed, under those of the real run; right all entries, the nearest as a star."""
    epochs = max(len(view.entry.test_curve), view.run.settings.epochs, 2)
    panel = Panel(60, 44, 400, 250, (1, epochs), (0, 1))
    parts = [
        epoch_axes(panel, epochs, title="dashed: computed beforehand; full: your run", ylabel="share"),
        curve(panel, view.entry.test_curve, TEST, dashed=True),
        curve(panel, view.entry.label_curve, LABELS, dashed=True),
        curve(panel, [record.test_accuracy for record in view.run.history], TEST),
        curve(panel, [record.label_accuracy for record in view.run.history], LABELS),
        *_legend(panel),
        *_strip(view),
    ]
    return picture(764, 352, parts, description=table_summary(view))


def curve(panel: Panel, values: Sequence[float | None], colour: str, *, dashed: bool = False) -> str:
    """A line over the epochs; those without a figure are left out."""
    known = [(place, value) for place, value in enumerate(values, start=1) if value is not None]
    if not known:
        return ""
    return polyline(panel, [x for x, _ in known], [y for _, y in known], colour=colour, dashed=dashed)


def _legend(panel: Panel) -> list[str]:
    parts = []
    for place, (colour, text) in enumerate(((TEST, "test samples right"), (LABELS, "corrected labels right"))):
        x, y = panel.left + 200, panel.top + panel.height - 40 + 18 * place
        parts += [element("rect", x=x, y=y - 6, width=14, height=4, fill=colour), words(x + 20, y, text, font_size=12)]
    return parts


def _strip(view: TableView) -> list[str]:
    """Every entry of the table by its test accuracy, in ascending order."""
    ordered = sorted(entry.accuracy for entry in view.table)
    low, high = ordered[0] - 0.01, ordered[-1] + 0.01
    panel = Panel(560, 44, 180, 250, (0, max(len(ordered), 2)), (low, high))
    middle = (low + high) / 2
    place = ordered.index(view.entry.accuracy)
    return [
        axes(
            panel, title=f"all {len(ordered)} combinations", xlabel="from worst to best", ylabel="test accuracy",
            xticks=[], yticks=[(y, f"{100 * y:.0f} %") for y in (low, middle, high)],
        ),
        dots(panel, [x + 0.5 for x in range(len(ordered))], ordered, colour=FAINT, size=5),
        stars(panel, [place + 0.5], [view.entry.accuracy], colour=TEST),
        words(panel.left, panel.top + 268, "star: where the sliders stand", font_size=12, fill=INK),
    ]  # fmt: skip


def table_summary(view: TableView) -> str:
    """One or two sentences: what the table says, and how far the real run is."""
    entry, around = view.entry, interval([100 * share for share in view.entry.test_accuracies])
    knobs = ", ".join(f"{name} = {value:g}" for name, value in entry.knobs.items())
    figure = f"{around.mean:.1f}" if math.isnan(around.half) else str(around)
    where = "" if view.exact else ", the nearest in the table"
    said = f"Computed beforehand for {knobs}{where}: test accuracy {figure} % over {around.n} seeds ({view.made_by})."
    return f"{said} Your run: {training_summary(view.run)}" if view.run.history else said


class TableExplorer(TrainingExplorer):
    """The table answers at once; Train runs the values of the sliders for real.

    Args:
        rows: of a sweep over the four knobs.
        data: to train on for real; those that the table was made from.
        settings: everything that has no slider, as in the table.
        made_by: which YAML made the table.
        notebook: that the batch command runs.
    """

    def __init__(self, rows: pd.DataFrame, data: NoisyDataset, settings: Settings, *, made_by: str, notebook: str):
        self.table, self.made_by = entries(rows), made_by
        super().__init__(data, settings, notebook=notebook, sliders=table_sliders(self.table))

    def show(self, values: dict[str, Any]) -> dict[str, str]:
        """Picture and summary for the values of the sliders, and the command that runs the lesson with them."""
        return self.texts(self.view) | {"command": batch_command(self.notebook, values)}

    def texts(self, view: TrainingView) -> dict[str, str]:
        """What the table says of the sliders, with the run beside it."""
        entry = nearest(self.table, self.values)
        exact = all(math.isclose(entry.knobs[name], self.values[name]) for name in KNOBS)
        shown = TableView(entry, exact, self.table, view, self.made_by)
        return {"picture": table_picture(shown), "summary": table_summary(shown)}
