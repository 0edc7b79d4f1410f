"""Figures of lesson 07. Each takes rows of :mod:`dsl_lessons.injected_bugs.runs` and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dsl_lessons import figures
from dsl_lessons.contrasts import COLOURS
from dsl_lessons.figures import METHOD_COLOURS, NEUTRAL, WRONG, styled
from dsl_lessons.injected_bugs.catalog import VARIANTS
from dsl_lessons.injected_bugs.tables import difference
from dsl_lessons.methods import BASELINE, SMP
from dsl_lessons.tables import against, verdict
from dsl_teach.data.digits import TEST_SHARE

PANELS = {
    "test_curve": "test accuracy",
    "label_curve": "corrected labels right",
    "changed_curve": "labels changed (dotted: by chance)",
}


def curves(rows: pd.DataFrame, names: Sequence[str], *, panels: Sequence[str] = tuple(PANELS)) -> Figure:
    """Curves epoch by epoch: the variants that have rows beside the right run and cross-entropy, a panel a figure."""
    order = list(dict.fromkeys(["cross-entropy", "SMP", *names]))
    shown = rows[rows["method"].isin(order)].sort_values("method", key=lambda column: column.map(order.index))
    parts = [shown.assign(case=PANELS[name], curve=shown[name]) for name in panels]
    figure = figures.curves(pd.concat(parts), column="curve", ylabel="%")
    if "changed_curve" in panels:
        chance = 100 * shown["chance_changed"].astype(float).mean()
        figure.axes[panels.index("changed_curve")].axhline(chance, color=NEUTRAL, linewidth=1, linestyle=":")
    return figure


@styled
def differences(rows: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> Figure:
    """Every variant's difference to the right run on the same seeds, with its interval, in points, group by group."""
    shown = set(rows["method"]) - {SMP}
    lines = [(title, name) for title, names in groups.items() for name in names if name in shown]
    figure = Figure(figsize=(9.5, 0.27 * len(lines) + 1.2))
    panels, titles = (
        figure.subplots(1, 2, sharey=True),
        {"test_accuracy": "test accuracy", "label_accuracy": PANELS["label_curve"]},
    )
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for place, (_, name) in enumerate(lines):
            apart = difference(rows, name, column)
            if apart is not None:
                half, colour = np.nan_to_num(apart.half), COLOURS.get(verdict(apart), NEUTRAL)
                axes.errorbar(apart.mean, place, xerr=half, color=colour, marker="o", markersize=4, capsize=3)
        for place, (above, below) in enumerate(pairwise(lines)):
            if above[0] != below[0]:
                axes.axhline(place + 0.5, color="#dddddd", linewidth=0.8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=title, xlabel=f"difference to {SMP}, points; 95 % interval")
    panels[0].set_yticks(range(len(lines)), [_told(name) for _, name in lines], fontsize=9)
    panels[0].invert_yaxis()
    return figure


def _told(name: str) -> str:
    """The name, and what it is compared with where that is not SMP."""
    other = VARIANTS[name].against
    return name if other == SMP else f"{name} (to {other})"


@styled
def luck(spreads: Mapping[str, float], gains: Mapping[str, float]) -> Figure:
    """Differences, in points, that one run a side shows between two equally good methods of such spreads."""
    figure = Figure(figsize=(7.4, 3.2))
    axes, x = figure.subplots(), np.linspace(-4, 4, 2001) * 2**0.5 * max(spreads.values())
    for (title, spread), style in zip(spreads.items(), ("-", "--", "-.", ":"), strict=False):
        gap = 2**0.5 * spread  # the standard deviation of the difference of two runs
        bell = np.exp(-((x / gap) ** 2) / 2) / (gap * (2 * np.pi) ** 0.5)
        axes.plot(x, bell, style, color=METHOD_COLOURS.get(title.removesuffix(" here"), WRONG), label=title)
    for title, gain in gains.items():
        axes.axvline(gain, color=NEUTRAL, linewidth=0.9)
        axes.text(gain, 0.97, f" {title}", transform=axes.get_xaxis_transform(), va="top", fontsize=9)
    axes.legend(loc="center left")
    axes.set(yticks=[], title="two equally good methods, one run each")
    axes.set(xlabel="difference between the two, points", ylabel="how often")
    return figure


@styled
def many_classes(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """The difference of each of these runs to cross-entropy, in points of test accuracy; green better, red worse."""
    counts = sorted(rows["classes"].unique())
    figure = Figure(figsize=(4.6 * len(counts) + 1, 0.34 * len(names) + 1.1))
    panels = figure.subplots(1, len(counts), squeeze=False, sharey=True, sharex=True)[0]
    for axes, count in zip(panels, counts, strict=True):
        for place, name in enumerate(names):
            apart = against(rows[rows["classes"] == count], name, test_share=TEST_SHARE)
            if apart is not None:
                half, colour = np.nan_to_num(apart.half), COLOURS.get(verdict(apart), NEUTRAL)
                axes.errorbar(apart.mean, place, xerr=half, color=colour, marker="o", capsize=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set(title=f"{count} classes", xlabel=f"test accuracy − {BASELINE}, points; 95 % interval")
    axes.invert_yaxis()
    return figure
