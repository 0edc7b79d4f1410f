"""Figures of lesson 07. Each takes rows of :mod:`dsl_lessons.suspects.runs` and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsl_lessons.plots import METHOD_COLOURS, NEUTRAL, RIGHT, WRONG
from dsl_lessons.suspects.catalog import SUSPECTS
from dsl_lessons.suspects.tables import difference, figures
from dsl_teach.metrics import interval

PANELS = {
    "test_curve": "test accuracy, %",
    "label_curve": "corrected labels right, %",
    "changed_curve": "labels changed, %",
}
COLOURS = ("#c4452f", "#b8860b", "#7b3294", "#1b7f5c", "#d95f9b", "#8c564b", "#17a2b8", "#333333")
"""Suspects take these in turn; the right runs keep the colours that they have everywhere."""
STYLES = ("-", "--", "-.", ":")


def suspect_curves(rows: pd.DataFrame, names: Sequence[str], *, panels: Sequence[str] = tuple(PANELS)) -> Figure:
    """Mean curves over seeds, epoch by epoch: the suspects beside the right run and cross-entropy.

    Args:
        rows: one row a run.
        names: the suspects; those without a row are left out.
        panels: which curves, by their names in the rows.
    """
    shown = list(dict.fromkeys(["cross-entropy", "SMP", *names]))
    shown = [name for name in shown if (rows["suspect"] == name).any()]
    figure = Figure(figsize=(3.7 * len(panels) + 1.6, 3.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    looks = _looks(shown)
    for panel, column in zip(axes, panels, strict=True):
        for name in shown:
            _curve(panel, rows[rows["suspect"] == name][column].tolist(), name, *looks[name])
        if column == "changed_curve":
            _chance_line(panel, rows[rows["suspect"].isin(shown)])
        _look(panel, PANELS[column])
        panel.set_xlabel("epoch")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def differences(rows: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> Figure:
    """Every suspect's difference to the right run on the same seeds, with its interval, in points.

    Args:
        rows: one row a run.
        groups: title -> names of suspects; those without a row are left out.
    """
    present = set(rows["suspect"])
    lines = [(title, name) for title, names in groups.items() for name in names if name in present]
    figure = Figure(figsize=(9.5, 0.27 * len(lines) + 1.0), layout="constrained")
    tests, labels = figure.subplots(1, 2, sharey=True)
    for place, (_, name) in enumerate(lines):
        _interval_at(tests, place, rows, name, "test_accuracy")
        _interval_at(labels, place, rows, name, "label_accuracy")
    tests.set_yticks(range(len(lines)), [name for _, name in lines], fontsize=9)
    tests.invert_yaxis()
    for axes, title in ((tests, "test accuracy"), (labels, "corrected labels right")):
        axes.axvline(0, color=NEUTRAL, linewidth=0.8)
        _look(axes, f"{title}: difference, points")
        for place in range(1, len(lines)):
            if lines[place][0] != lines[place - 1][0]:
                axes.axhline(place - 0.5, color="#dddddd", linewidth=0.8)
    return figure


def seeds_apart(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Every run's test accuracy as a dot, joined by seed."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    columns = [figures(rows, name) for name in names]
    seeds = columns[0].index
    for seed in seeds:
        axes.plot(range(len(names)), [column[seed] for column in columns], color="#cccccc", linewidth=0.8, zorder=1)
    for place, (name, column) in enumerate(zip(names, columns, strict=True)):
        axes.scatter([place] * len(column), column, color=METHOD_COLOURS.get(name, NEUTRAL), s=26, zorder=2)
        around = interval(column.tolist())
        axes.errorbar(place + 0.12, around.mean, around.half, color="black", marker="_", capsize=4)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    _look(axes, "test accuracy, %: a dot a seed, beside it mean and 95 % interval")
    return figure


def luck(spreads: Mapping[str, float], gains: Mapping[str, float], *, draws: int = 20000, seed: int = 0) -> Figure:
    """Differences that one run a side shows between two methods that are equally good.

    Args:
        spreads: title -> standard deviation of a method over seeds, in points.
        gains: title -> a reported gain, drawn as a line.
        draws: simulated comparisons.
        seed: of the simulation.
    """
    figure = Figure(figsize=(7.4, 3.2), layout="constrained")
    axes, generator = figure.subplots(), np.random.default_rng(seed)
    for place, (title, spread) in enumerate(spreads.items()):
        gaps = generator.normal(0, spread, draws) - generator.normal(0, spread, draws)
        density, edges = np.histogram(gaps, bins=80, density=True)
        axes.plot((edges[1:] + edges[:-1]) / 2, density, color=COLOURS[place], linestyle=STYLES[place], label=title)
    for title, gain in gains.items():
        axes.axvline(gain, color=NEUTRAL, linewidth=0.9)
        axes.annotate(title, (gain, 0.97), xycoords=("data", "axes fraction"), xytext=(4, 0),
                      textcoords="offset points", va="top", fontsize=9)  # fmt: skip
    axes.legend(frameon=False, fontsize=9, loc="center left")
    axes.set(xlabel="difference between two single runs, points", yticks=[])
    _look(axes, "two equally good methods, one run each")
    return figure


def many_classes(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Agreement, right labels and test accuracy against the number of classes.

    Args:
        rows: one row a run, ``classes`` among the columns.
        names: the runs to compare.
    """
    panels = {"agree": "corrected = given label, %", "label_accuracy": "corrected labels right, %",
              "test_accuracy": "test accuracy, %"}  # fmt: skip
    rows = rows.assign(agree=1 - rows["changed"].astype(float))
    figure = Figure(figsize=(11.5, 3.5), layout="constrained")
    axes = figure.subplots(1, len(panels))
    counts, looks = sorted(rows["classes"].unique()), _looks(names)
    for panel, (column, title) in zip(axes, panels.items(), strict=True):
        for place, name in enumerate(names):
            known = [(k, figures(rows[rows["classes"] == k], name, column).tolist()) for k in counts]
            around = [(at, interval(values)) for at, (_, values) in enumerate(known) if values]
            if around:
                x = [at + 0.05 * (place - len(names) / 2) for at, _ in around]
                colour, style = looks[name]
                panel.errorbar(x, [a.mean for _, a in around], [a.half for _, a in around], color=colour,
                               linestyle=style, marker="o", markersize=4, capsize=3, label=name)  # fmt: skip
        panel.set_xticks(range(len(counts)), [str(k) for k in counts])
        panel.set_xlabel("classes")
        _look(panel, title)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def chance_levels(told: Sequence[float], seen: Sequence[Sequence[float]], names: Sequence[str]) -> Figure:
    """The chance level by the formula as a line, and by dealing labels out at random as dots; a column a case."""
    figure = Figure(figsize=(6.2, 3.0), layout="constrained")
    axes = figure.subplots()
    for place, (level, dealt) in enumerate(zip(told, seen, strict=True)):
        x = place + np.linspace(-0.25, 0.25, len(dealt))
        axes.scatter(x, 100 * np.asarray(dealt), s=8, color=NEUTRAL, alpha=0.6, label="dealt out" if not place else "")
        axes.hlines(100 * level, place - 0.35, place + 0.35, color=WRONG, label="formula" if not place else "")
    axes.set_xticks(range(len(names)), names)
    axes.legend(frameon=False, fontsize=9)
    _look(axes, "labels changed, %")
    return figure


def _looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a kind of line for each name."""
    others = [name for name in names if name not in METHOD_COLOURS]
    looks = {name: (colour, "-") for name, colour in METHOD_COLOURS.items()}
    return looks | {
        name: (COLOURS[place % len(COLOURS)], STYLES[(place + 1) % len(STYLES)]) for place, name in enumerate(others)
    }


def _curve(axes: Axes, curves: Sequence[Sequence[float | None]], name: str, colour: str, style: str) -> None:
    values = 100 * np.array(curves, dtype=float)
    mean = values.mean(axis=0)  # nan before the first correction, in every seed alike
    axes.plot(np.arange(1, len(mean) + 1), mean, color=colour, linestyle=style, label=name, linewidth=1.8)


def _chance_line(axes: Axes, rows: pd.DataFrame) -> None:
    level = 100 * float(rows["chance_changed"].astype(float).mean())
    axes.axhline(level, color=NEUTRAL, linewidth=0.9, linestyle=":")
    axes.annotate("by chance", (0.98, level), xycoords=("axes fraction", "data"), xytext=(0, 3), ha="right",
                  textcoords="offset points", fontsize=8, color=NEUTRAL)  # fmt: skip
    axes.set_ylim(0, 104)


def _interval_at(axes: Axes, place: int, rows: pd.DataFrame, name: str, column: str) -> None:
    other = SUSPECTS[name].against
    if name == other or not len(figures(rows, name, column)) or not len(figures(rows, other, column)):
        return
    around = difference(rows, name, column=column)
    sure = abs(around.mean) > around.half
    colour = NEUTRAL if not sure else RIGHT if around.mean > 0 else WRONG
    axes.errorbar(around.mean, place, xerr=around.half, color=colour, marker="o", markersize=4, capsize=3)


def _look(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
