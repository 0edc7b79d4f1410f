"""Figures of lesson 04. Each takes plain data and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsl_lessons.methods import PRESET, SMP
from dsl_lessons.plots import NEUTRAL, RIGHT, WRONG
from dsl_lessons.plots_why import plain
from dsl_lessons.results import BASELINE, BETTER, WORSE, against, verdict
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import Interval
from dsl_teach.noise import noise_report
from dsl_teach.training.runs import Run

VERDICTS = {BETTER: RIGHT, WORSE: WRONG}
COLOURS = {BASELINE: "#8a8a8a", SMP: "#1f5fa8", PRESET: "#1b7f5c", "GCE": "#a85a00"}


def confusions(data: NoisyDataset) -> Figure:
    """Which class is given for which: rows are true classes, columns given labels, in percent; the right ones gray."""
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which classes are confused.")
    shares = 100 * noise_report(data.clean_labels, data.noisy_labels, data.num_classes).transition_matrix.numpy()
    names = [plain(name) for name in data.class_names]
    wrong = np.ma.array(shares, mask=np.eye(len(names), dtype=bool))
    figure = Figure(figsize=(6.2, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Oranges", vmin=0)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            colour = NEUTRAL if i == j else "white" if share > 0.7 * wrong.max() else "black"
            axes.text(j, i, f"{share:.0f}" if share >= 0.5 else "", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="given label", ylabel="true class")
    axes.set_title("of each true class, the share with each given label, %", fontsize=10, loc="left")
    return figure


def memorised_and_test(runs: Mapping[str, Run]) -> Figure:
    """Epoch by epoch: the wrong labels that a network gives back, and its test accuracy; a line a method."""
    figure = Figure(figsize=(9.4, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"memorised": "wrong labels learned by heart, %", "test_accuracy": "test accuracy, %"}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for method, run in runs.items():
            values = [getattr(record, column) for record in run.result.history]
            shares = [np.nan if value is None else 100 * value for value in values]
            axes.plot(range(1, len(shares) + 1), shares, label=method, color=COLOURS.get(method), linewidth=2)
        _look(axes, title)
        axes.set_xlabel("epoch")
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def differences(panels: Mapping[str, Mapping[str, Interval]], *, baseline: str = BASELINE) -> Figure:
    """Paired differences with their intervals; green where one is better than the baseline, red where it is worse.

    Args:
        panels: title -> name of each line -> difference in points.
        baseline: what is subtracted.
    """
    most = max((len(lines) for lines in panels.values()), default=1)
    figure = Figure(figsize=(min(6.4 * len(panels), 12), 1.1 + 0.3 * most), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for place, difference in enumerate(lines.values()):
            half = np.nan_to_num(difference.half)
            colour = VERDICTS.get(verdict(difference), NEUTRAL)
            axes.errorbar(difference.mean, place, xerr=half, color=colour, marker="o", capsize=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(lines)), list(lines))
        axes.invert_yaxis()
        axes.set_xlabel(f"points of test accuracy more than {baseline}, 95 % interval")
        _look(axes, title)
    return figure


def differences_of(rows: pd.DataFrame, *, baseline: str = BASELINE, methods: Sequence[str] = ()) -> dict[str, Interval]:
    """The paired difference of each method to the baseline, the greatest first.

    Args:
        rows: of one case.
        baseline: a method.
        methods: only these, in any order; empty: all.
    """
    names = [name for name in rows["method"].unique() if name != baseline and (not methods or name in methods)]
    found = {name: against(rows, name, baseline) for name in names}
    known = {name: difference for name, difference in found.items() if difference is not None}
    return dict(sorted(known.items(), key=lambda item: -item[1].mean))


def method_curves(rows: pd.DataFrame, cases: Sequence[str]) -> Figure:
    """Test accuracy by epoch, the mean over seeds; a panel a case, a line a method, each seed faint behind it."""
    columns = min(3, len(cases))
    lines = -(-len(cases) // columns)
    figure = Figure(figsize=(3.8 * columns, 2.9 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).flatten()
    for axes in panels[len(cases) :]:
        axes.set_axis_off()
    for axes, case in zip(panels, cases, strict=False):
        for method, group in rows[rows["case"] == case].groupby("method", sort=False):
            curves = 100 * np.array(group["test_curve"].tolist(), dtype=float)
            epochs, colour = range(1, curves.shape[1] + 1), COLOURS.get(str(method))
            axes.plot(epochs, curves.T, color=colour, alpha=0.25, linewidth=0.7)
            axes.plot(epochs, curves.mean(axis=0), color=colour, linewidth=2, label=str(method))
        _look(axes, case)
        axes.set(xlabel="epoch", ylabel="test accuracy, %")
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def labels_before_and_after(rows: pd.DataFrame) -> Figure:
    """For each case and method that corrects: an arrow from the share of given labels right to that of corrected."""
    known = rows[rows["label_accuracy"].notna()]
    means = known.groupby(["case", "method"], sort=False)[["noisy_accuracy", "label_accuracy"]].mean()
    groups = [(f"{case}, {method}", means.loc[(case, method)]) for case, method in means.index]
    figure = Figure(figsize=(8, 1.1 + 0.34 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for place, (_, shares) in enumerate(groups):
        given, now = (100 * float(share) for share in shares)
        colour = RIGHT if now > given else WRONG
        axes.plot([given, now], [place, place], color=colour, linewidth=2)
        axes.plot(given, place, "o", color=NEUTRAL)
        axes.plot(now, place, ">" if now > given else "<", color=colour, markersize=9)
        axes.annotate(f"{now - given:+.1f}", (max(given, now), place), xytext=(9, -3), textcoords="offset points")
    axes.set_yticks(range(len(groups)), [name for name, _ in groups])
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.3 / len(groups))
    axes.set_xlabel("labels right, %: dot as given, arrow head as corrected")
    _look(axes, "")
    return figure


def _look(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
