"""Figures of lesson 07. Each takes rows of :mod:`dsl_lessons.injected_bugs.runs` and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsl_lessons.injected_bugs.tables import difference, figures
from dsl_lessons.plots import METHOD_COLOURS, NEUTRAL, RIGHT, WRONG
from dsl_teach.metrics import interval

PANELS = {
    "test_curve": "test accuracy, %",
    "label_curve": "corrected labels right, %",
    "changed_curve": "labels changed, %",
}
BY_CLASSES = {
    "agree": "corrected = given label, %",
    "label_accuracy": "corrected labels right, %",
    "test_accuracy": "test accuracy, %",
}
COLOURS = ("#c4452f", "#b8860b", "#7b3294", "#1b7f5c", "#d95f9b", "#8c564b", "#17a2b8", "#333333")
"""Variants take these in turn; the right runs keep the colours that they have everywhere."""
STYLES = ("-", "--", "-.", ":")


def curves(rows: pd.DataFrame, names: Sequence[str], *, panels: Sequence[str] = tuple(PANELS)) -> Figure:
    """Mean curves over seeds, epoch by epoch: the variants beside the right run and cross-entropy.

    Args:
        rows: one row a run.
        names: the variants; those without a row are left out.
        panels: which curves, by their names in the rows.
    """
    shown = [name for name in dict.fromkeys(["cross-entropy", "SMP", *names]) if (rows["variant"] == name).any()]
    figure = Figure(figsize=(3.7 * len(panels) + 1.6, 3.5), layout="constrained")
    axes, looks = figure.subplots(1, len(panels), squeeze=False)[0], _looks(shown)
    for panel, column in zip(axes, panels, strict=True):
        for name in shown:
            values = 100 * np.array(rows[rows["variant"] == name][column].tolist(), dtype=float)
            mean = values.mean(axis=0)  # nan before the first correction, in every seed alike
            panel.plot(np.arange(1, len(mean) + 1), mean, label=name, linewidth=1.8, **looks[name])
        if column == "changed_curve":
            chance = 100 * rows[rows["variant"].isin(shown)]["chance_changed"].astype(float).mean()
            panel.axhline(chance, color=NEUTRAL, linewidth=0.9, linestyle=":")
            panel.text(0.98, chance + 1, "by chance", transform=panel.get_yaxis_transform(), ha="right", fontsize=8)
            panel.set_ylim(0, 104)
        _finish(panel, PANELS[column], xlabel="epoch")
    _legend(figure, axes[0])
    return figure


def differences(rows: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> Figure:
    """Every variant's difference to the right run on the same seeds, with its interval, in points.

    Args:
        rows: one row a run.
        groups: title -> names of variants; those without a row are left out.
    """
    lines = [(title, name) for title, names in groups.items() for name in names if (rows["variant"] == name).any()]
    figure = Figure(figsize=(9.5, 0.27 * len(lines) + 1.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"test_accuracy": "test accuracy", "label_accuracy": "corrected labels right"}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        axes.axvline(0, color=NEUTRAL, linewidth=0.8)
        for place, (_, name) in enumerate(lines):
            apart = difference(rows, name, column)
            if apart is not None:
                sure = abs(apart.mean) > apart.half
                colour = NEUTRAL if not sure else RIGHT if apart.mean > 0 else WRONG
                axes.errorbar(apart.mean, place, xerr=apart.half, color=colour, marker="o", markersize=4, capsize=3)
        for place, (above, below) in enumerate(pairwise(lines)):
            if above[0] != below[0]:
                axes.axhline(place + 0.5, color="#dddddd", linewidth=0.8)
        _finish(axes, f"{title}: difference, points")
    panels[0].set_yticks(range(len(lines)), [name for _, name in lines], fontsize=9)
    panels[0].invert_yaxis()
    return figure


def seeds_apart(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Every run's test accuracy as a dot, joined by seed."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes, columns = figure.subplots(), pd.DataFrame({name: figures(rows, name) for name in names})
    axes.plot(range(len(names)), columns.to_numpy().T, color="#cccccc", linewidth=0.8, zorder=1)
    for place, name in enumerate(names):
        column = columns[name].tolist()
        axes.scatter([place] * len(column), column, color=METHOD_COLOURS.get(name, NEUTRAL), s=26, zorder=2)
        around = interval(column)
        axes.errorbar(place + 0.12, around.mean, around.half, color="black", marker="_", capsize=4)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    _finish(axes, "test accuracy, %: a dot a seed, beside it mean and 95 % interval")
    return figure


def luck(spreads: Mapping[str, float], gains: Mapping[str, float]) -> Figure:
    """Differences that one run a side shows between two methods that are equally good.

    Args:
        spreads: title -> standard deviation of a method over seeds, in points.
        gains: title -> a reported gain, drawn as a line.
    """
    figure = Figure(figsize=(7.4, 3.2), layout="constrained")
    axes, widest = figure.subplots(), 2**0.5 * max(spreads.values())
    x = np.linspace(-3.5 * widest, 3.5 * widest, 2001)
    for (title, spread), colour, style in zip(spreads.items(), COLOURS, STYLES, strict=False):
        gap = 2**0.5 * spread  # of the difference of two runs
        bell = np.exp(-((x / gap) ** 2) / 2) / (gap * (2 * np.pi) ** 0.5)
        axes.plot(x, bell, color=colour, linestyle=style, label=title)
    for title, gain in gains.items():
        axes.axvline(gain, color=NEUTRAL, linewidth=0.9)
        axes.text(gain, 0.97, f" {title}", transform=axes.get_xaxis_transform(), va="top", fontsize=9)
    axes.legend(frameon=False, fontsize=9, loc="center left")
    axes.set_yticks([])
    _finish(axes, "two equally good methods, one run each", xlabel="difference between two single runs, points")
    return figure


def many_classes(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Agreement, right labels and test accuracy against the number of classes.

    Args:
        rows: one row a run, ``classes`` among the columns.
        names: the runs to compare.
    """
    rows = rows.assign(agree=1 - rows["changed"].astype(float))
    figure = Figure(figsize=(11.5, 3.5), layout="constrained")
    axes, counts, looks = figure.subplots(1, 3), sorted(rows["classes"].unique()), _looks(names)
    for panel, (column, title) in zip(axes, BY_CLASSES.items(), strict=True):
        for place, name in enumerate(names):
            known = [figures(rows[rows["classes"] == k], name, column).tolist() for k in counts]
            at = [x for x, values in enumerate(known) if values]
            around = [interval(known[x]) for x in at]
            panel.errorbar(
                [x + 0.05 * (place - len(names) / 2) for x in at], [a.mean for a in around], [a.half for a in around],
                marker="o", markersize=4, capsize=3, label=name, **looks[name],
            )  # fmt: skip
        panel.set_xticks(range(len(counts)), [str(k) for k in counts])
        _finish(panel, title, xlabel="classes")
    _legend(figure, axes[-1])
    return figure


def chance_levels(formula: Sequence[float], dealt: Sequence[Sequence[float]], names: Sequence[str]) -> Figure:
    """The chance level by the formula as a line, and by dealing labels out at random as dots; a column a case."""
    figure = Figure(figsize=(6.2, 3.0), layout="constrained")
    axes = figure.subplots()
    for place, (level, shares) in enumerate(zip(formula, dealt, strict=True)):
        x = place + np.linspace(-0.25, 0.25, len(shares))
        axes.scatter(x, 100 * np.asarray(shares), s=8, color=NEUTRAL, alpha=0.6, label="" if place else "dealt out")
        axes.hlines(100 * level, place - 0.35, place + 0.35, color=WRONG, label="" if place else "formula")
    axes.set_xticks(range(len(names)), names)
    axes.legend(frameon=False, fontsize=9)
    _finish(axes, "labels changed, %")
    return figure


def _looks(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """A colour and a kind of line for each name."""
    looks = {name: {"color": colour, "linestyle": "-"} for name, colour in METHOD_COLOURS.items()}
    others = [name for name in names if name not in METHOD_COLOURS]
    for place, name in enumerate(others):
        looks[name] = {"color": COLOURS[place % len(COLOURS)], "linestyle": STYLES[(place + 1) % len(STYLES)]}
    return looks


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)


def _finish(axes: Axes, title: str, *, xlabel: str = "") -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(xlabel)
    axes.spines[["top", "right"]].set_visible(False)
