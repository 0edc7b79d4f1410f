"""Lesson 04: CIFAR or digits instead, the methods on equal terms, and what committed rows say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dsl_lessons.figures import NEUTRAL, RIGHT, WRONG, styled
from dsl_lessons.methods import BASELINE, SMP, methods
from dsl_lessons.power import seeds_needed
from dsl_lessons.self_learning import clean_labels_of, prototypes_right
from dsl_lessons.tables import BETTER, WORSE, against, pairs_of, signed, verdict
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import Interval
from dsl_teach.training.correction import correct
from dsl_teach.training.records import Result
from dsl_teach.training.runs import Run, make_batches

CORRECTORS = ("density_peaks", "random", "class_means", "neighbours", "head")
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


def compare_correctors(run: Run) -> pd.DataFrame:
    """One correction by each way to correct, all on the embeddings of one finished network; shares in percent."""
    device = next(run.network.parameters()).device
    train, clean = make_batches(run.data, run.settings, device)[0], clean_labels_of(run.data).to(device)
    lines = {}
    for who in CORRECTORS:
        settings = run.settings.replace(correct_by=who)
        correction = correct(run.network, train, settings, settings.epochs, clean_labels=clean)
        by_sample = bool((correction.prototypes.index >= 0).any())
        right = prototypes_right(Run(settings, run.data, run.network, Result([], correction))) if by_sample else None
        report = correction.report
        shares = (right, report.wrong_to_right, report.right_to_wrong, report.label_accuracy)
        lines[who] = ["" if share is None else f"{100 * share:.1f}" for share in shares]
    columns = ["prototypes right %", "fixed %", "broken %", "labels right afterwards %"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def in_words(rows: pd.DataFrame, ours: str, baseline: str = BASELINE) -> str:
    """What the rows of one case show of one method against another, with its figure."""
    difference = against(rows, ours, baseline)
    if difference is None:
        return f"{ours} against {baseline}: no seed that both have."
    return f"{ours} against {baseline}: {signed(difference)} points over {difference.n} seeds, {verdict(difference)}."


def seeds_table(rows: pd.DataFrame, *, wished: Sequence[float] = (0.5, 1, 2, 5)) -> pd.DataFrame:
    """Seeds each method (with at least three) needs to show differences in points from cross-entropy."""
    lines = {}
    for method in rows["method"].unique():
        pairs = pairs_of(rows, method, BASELINE, "test_accuracy")
        if method != BASELINE and len(pairs) >= 3:
            spread = float((100 * (pairs["ours"] - pairs["theirs"])).std(ddof=1))
            needed = {f"for {d:g} points": seeds_needed(d, spread) for d in wished}
            lines[method] = {"seeds so far": len(pairs), "spread, points": f"{spread:.1f}"} | needed
    return pd.DataFrame.from_dict(lines, orient="index")


def best_other(rows: pd.DataFrame) -> str | None:
    """The method outside SMP's family with the greatest mean accuracy over the seeds it shares with the baseline."""
    found = differences_of(rows)
    others = [name for name in found if not name.startswith(SMP)]
    return others[0] if others else None


def differences_of(rows: pd.DataFrame, baseline: str = BASELINE, methods: Sequence[str] = ()) -> dict[str, Interval]:
    """The paired difference of each method, or of those named, to the baseline on one case; the greatest first."""
    names = [name for name in rows["method"].unique() if name != baseline and (not methods or name in methods)]
    found = {name: against(rows, name, baseline) for name in names}
    known = {name: difference for name, difference in found.items() if difference is not None}
    return dict(sorted(known.items(), key=lambda item: -item[1].mean))


@styled
def differences(lines: Mapping[str, Interval], title: str, baseline: str = BASELINE) -> Figure:
    """Paired differences with their intervals; green where one is better than the baseline, red where it is worse."""
    figure = Figure(figsize=(6.4, 1.1 + 0.3 * len(lines)))
    axes, colours = figure.subplots(), {BETTER: RIGHT, WORSE: WRONG}
    for place, difference in enumerate(lines.values()):
        half, colour = np.nan_to_num(difference.half), colours.get(verdict(difference), NEUTRAL)
        axes.errorbar(difference.mean, place, xerr=half, color=colour, marker="o", capsize=3)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(lines)), list(lines))
    axes.invert_yaxis()
    axes.set(title=title, xlabel=f"points of test accuracy more than {baseline}, 95 % interval")
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
        axes.annotate(f"{now - given:+.1f}", (max(given, now), place), xytext=(9, -3), textcoords="offset points")
    axes.set_yticks(range(len(means)), [", ".join(names) for names in means.index])
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.3 / len(means))
    axes.set_xlabel("labels right, %: dot as given, arrow head as corrected")
    return figure
