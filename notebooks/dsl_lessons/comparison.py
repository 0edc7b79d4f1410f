"""Lesson 04: CIFAR or digits instead, the methods on equal terms, and what committed rows say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dsl_lessons.contrasts import COLOURS
from dsl_lessons.figures import NEUTRAL, RIGHT, WRONG, styled
from dsl_lessons.methods import BASELINE, SMP, methods
from dsl_lessons.tables import against, verdict
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import Interval

ON_DIGITS = {"dataset": "digits", "data_root": "", "labels_file": "", "labels_name": "", "subset": 0}
HOW_TO_GET_CIFAR = (
    "CIFAR-10 is not in the data folder, so the lesson goes on with handwritten digits. To get CIFAR, run in the "
    "folder of the repository: python data_scripts/download.py cifar10"
)


class Opened(NamedTuple):
    """The data of the lesson, and what to tell the reader about them."""

    settings: Settings
    data: NoisyDataset
    said: str


def open_cifar_or_digits(settings: Settings) -> Opened:
    """CIFAR-10 as the settings name it; where its files are not there, digits, and how to get the files.

    Raises:
        FileNotFoundError: if CIFAR is there, but not the named file of labels.
        ValueError: if files are there and damaged.
    """
    try:
        return Opened(settings, load_dataset(settings), "CIFAR-10 is there.")
    except FileNotFoundError:
        if settings.labels_file:
            raise
        instead = settings.replace(**ON_DIGITS, network="small_cnn")
        return Opened(instead, load_dataset(instead), HOW_TO_GET_CIFAR)


def plan(base: Settings, names: Sequence[str], seeds: int) -> list[tuple[str, Settings, NoisyDataset]]:
    """What to run: each method on the same data for a seed. Data are loaded once a seed."""
    known, plans = methods(), []
    for seed in range(seeds):
        data = load_dataset(base.replace(seed=seed))
        plans += [(name, base.replace(seed=seed, **known[name]), data) for name in names]
    return plans


def best_other(rows: pd.DataFrame) -> str | None:
    """The method outside SMP's family with the greatest mean accuracy over the seeds it shares with the baseline."""
    found = differences_of(rows)
    others = [name for name in found if not name.startswith(SMP)]
    return others[0] if others else None


def differences_of(
    rows: pd.DataFrame, baseline: str = BASELINE, methods: Sequence[str] = (), test_share: float | None = None
) -> dict[str, Interval]:
    """The paired difference of each method, or of those named, to the baseline on one case; the greatest first."""
    names = [name for name in rows["method"].unique() if name != baseline and (not methods or name in methods)]
    found = {name: against(rows, name, baseline, test_share=test_share) for name in names}
    known = {name: difference for name, difference in found.items() if difference is not None}
    return dict(sorted(known.items(), key=lambda item: -item[1].mean))


@styled
def differences(lines: Mapping[str, Interval], title: str, baseline: str = BASELINE) -> Figure:
    """Paired differences with their intervals; green where one is better than the baseline, red where it is worse."""
    figure = Figure(figsize=(6.4, 1.1 + 0.3 * len(lines)))
    axes = figure.subplots()
    for place, difference in enumerate(lines.values()):
        half, colour = np.nan_to_num(difference.half), COLOURS.get(verdict(difference), NEUTRAL)
        axes.errorbar(difference.mean, place, xerr=half, color=colour, marker="o", capsize=3)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(lines)), list(lines))
    axes.invert_yaxis()
    axes.set(title=title, xlabel=f"test accuracy − {baseline}, points; 95 % interval")
    return figure


@styled
def gain_against_memorised(rows: pd.DataFrame, lines: Mapping[str, float] | None = None) -> Figure:
    """SMP minus cross-entropy, a mark a case, against the share of wrong labels that cross-entropy memorised.

    Args:
        rows: of cases named ``labels, plain or augmented, epochs``.
        lines: differences known from elsewhere, by their titles: a horizontal line each.
    """
    figure = Figure(figsize=(8.6, 3.9))
    axes, noises = figure.subplots(), dict[str, str]()
    axes.axhline(0, color="black", linewidth=0.8)
    for case, group in rows.groupby("case", sort=False):
        noise, view, epochs = str(case).split(", ")
        colour = noises.setdefault(noise, ("#aa3377", "#332288", "#ccaa33")[len(noises) % 3])
        gain, plain = against(group, SMP), group[group["method"] == BASELINE]
        assert gain is not None
        axes.errorbar(
            100 * plain["memorised"].mean(), gain.mean, yerr=gain.half, capsize=3, linestyle="", color=colour,
            marker="^" if view == "augmented" else "o", markerfacecolor=colour if epochs.startswith("30") else "white",
            markersize=8 if epochs.startswith("30") else 11, label=case,  # an open mark is seen behind a filled one
        )  # fmt: skip
    for title, height in (lines or {}).items():
        axes.axhline(height, color=NEUTRAL, linestyle="--", linewidth=1)
        axes.annotate(title, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", color=NEUTRAL)
    axes.set(xlabel=f"wrong labels that {BASELINE} memorised, %", ylabel=f"{SMP} − {BASELINE}, points", xlim=(0, 100))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def labels_before_and_after(rows: pd.DataFrame) -> Figure:
    """For each case and method that corrects: an arrow from the share of given labels right to that of corrected."""
    known = rows[rows["label_accuracy"].notna()]
    means = known.groupby(["case", "method"], sort=False)[["noisy_accuracy", "label_accuracy"]].mean()
    figure = Figure(figsize=(8, 1.1 + 0.34 * len(means)))
    axes = figure.subplots()
    for place, (given, now) in enumerate((100 * means).to_numpy().tolist()):
        colour = RIGHT if now > given else WRONG
        axes.plot([given, now], [place, place], color=colour, linewidth=2)
        axes.plot(given, place, "o", color=NEUTRAL)
        axes.plot(now, place, ">" if now > given else "<", color=colour, markersize=9)
        moved = f"{now - given:+.1f}".replace("-", "−")
        axes.annotate(moved, (max(given, now), place), xytext=(9, -3), textcoords="offset points")
    alone = known["method"].nunique() == 1
    axes.set_yticks(range(len(means)), [names[0] if alone else ", ".join(names) for names in means.index])
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.3 / len(means))
    axes.set_xlabel("labels right, %: dot as given, arrow head as corrected")
    return figure
