"""Figures and tables of lessons 05 and 06. Each says what it was made from, so that a stand-in cannot pass for data."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dsl_lessons.explorers.runs import knobs_in_words
from dsl_lessons.plots import METHOD_COLOURS, NEUTRAL, RIGHT, WRONG
from dsl_teach import metrics
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.data.decode import cut, decode_image, resize_short_side
from dsl_teach.metrics import interval, paired_difference


class Told:
    """A table with a line below it that says what it was made from."""

    def __init__(self, frame: pd.DataFrame, made_from: str):
        self.frame, self.made_from = frame, made_from

    def __repr__(self) -> str:
        return f"{self.frame.to_string()}\n\nMade from: {self.made_from}"

    def _repr_html_(self) -> str:
        return f"{self.frame.to_html()}<p><small>Made from: {html.escape(self.made_from)}</small></p>"


def stamped(figure: Figure, made_from: str) -> Figure:
    """Write below a figure what it was made from."""
    figure.supxlabel(f"Made from: {made_from}", fontsize=8, color=NEUTRAL, x=0.01, ha="left")
    return figure


def class_shares(labels: Mapping[str, Tensor], class_names: Sequence[str], made_from: str) -> Figure:
    """Bars: the share of each class among some labels and among others.

    Args:
        labels: name -> (N,) int64; two of them.
        class_names: K names.
        made_from: what the figure is about.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes, place = figure.subplots(), np.arange(len(class_names))
    for number, (name, given) in enumerate(labels.items()):
        heights = 100 * metrics.class_shares(given, len(class_names)).numpy()
        axes.bar(place + 0.4 * number - 0.2, heights, width=0.38, label=name, color=("#b08030", "#1f5fa8")[number % 2])
    axes.set_xticks(place, class_names, rotation=45, ha="right", fontsize=9)
    axes.set(ylabel="share of the labels, %")
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    return stamped(figure, made_from)


def gallery(files: ImageFiles, titles: Sequence[str], rows: Sequence[int], made_from: str) -> Figure:
    """Some images on disk, as the network sees them in the fixed view, each with a title.

    Args:
        files: the images.
        titles: one for each row.
        rows: which images.
        made_from: what the figure is about.
    """
    figure = Figure(figsize=(1.5 * len(rows), 2.2), layout="constrained")
    for axes, row, title in zip(np.atleast_1d(figure.subplots(1, len(rows))), rows, titles, strict=True):
        image = cut(resize_short_side(decode_image(files.root / files.paths[row]), 128), 112)
        axes.imshow(image.permute(1, 2, 0).numpy())
        axes.set_axis_off()
        axes.set_title(title, fontsize=9)
    return stamped(figure, made_from)


def confusion(panels: Mapping[str, tuple[Tensor, Tensor]], class_names: Sequence[str], made_from: str) -> Figure:
    """Matrices in percent: rows are true classes and sum to 100, columns are labels.

    Args:
        panels: title -> true labels, other labels.
        class_names: K names.
        made_from: what the figure is about.
    """
    k = len(class_names)
    figure = Figure(figsize=(5.6 * len(panels), 5.2), layout="constrained")
    for axes, (title, (clean, labels)) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(),
                                              strict=True):  # fmt: skip
        known = (clean >= 0) & (labels >= 0)
        counts = torch.bincount(clean[known] * k + labels[known], minlength=k * k).view(k, k).double()
        matrix = (100 * counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).numpy()
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=100)
        for i, j in zip(*np.nonzero(matrix >= 5), strict=True) if k <= 20 else ():
            axes.text(j, i, f"{matrix[i, j]:.0f}", ha="center", va="center", fontsize=7,
                      color="white" if matrix[i, j] > 60 else "black")  # fmt: skip
        axes.set_xticks(range(k), class_names, rotation=90, fontsize=8)
        axes.set_yticks(range(k), class_names, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="label", ylabel="true class")
    return stamped(figure, made_from)


def change_by_class(
    before: Sequence[float], after: Sequence[float], class_names: Sequence[str], made_from: str
) -> Figure:
    """Bars: how many points of recall each class wins or loses.

    Args:
        before: recall of each class by one method, shares from 0 to 1.
        after: by the other.
        class_names: K names.
        made_from: what the figure is about.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes, gain = figure.subplots(), 100 * (np.asarray(after) - np.asarray(before))
    axes.bar(range(len(gain)), gain, color=[RIGHT if points >= 0 else WRONG for points in gain])
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(gain)), class_names, rotation=45, ha="right", fontsize=9)
    axes.set(ylabel="points of recall, SMP − cross-entropy")
    axes.spines[["top", "right"]].set_visible(False)
    return stamped(figure, made_from)


def run_curves(rows: pd.DataFrame, made_from: str) -> Figure:
    """Test accuracy epoch by epoch, a line for each finished run, named by its knobs."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(rows.to_dict("records")):
        curve = np.asarray(row["test_curve"], dtype=float)
        colour = f"C{number % 10}" if row["alpha"] else METHOD_COLOURS["cross-entropy"]
        axes.plot(
            np.arange(1, len(curve) + 1),
            100 * curve,
            color=colour,
            label=knobs_in_words({str(name): value for name, value in row.items()}),
        )
    axes.set(xlabel="epoch", ylabel="test accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return stamped(figure, made_from)


def methods_by_case(rows: pd.DataFrame, made_from: str) -> Figure:
    """Mean test accuracy with its interval over seeds: cases from left to right, a colour for each method."""
    cases, methods = list(dict.fromkeys(rows["case"])), list(dict.fromkeys(rows["method"]))
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, method in enumerate(methods):
        for place, case in enumerate(cases):
            values = rows[(rows["case"] == case) & (rows["method"] == method)]["test_accuracy"]
            around = interval((100 * values).tolist())
            axes.errorbar(place + 0.14 * (number - (len(methods) - 1) / 2), around.mean, np.nan_to_num(around.half),
                          color=f"C{number}", marker="o", capsize=3, label=method if place == 0 else None)  # fmt: skip
    axes.set_xticks(range(len(cases)), cases, fontsize=8, rotation=20, ha="right")
    axes.set(ylabel="test accuracy, %")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return stamped(figure, made_from)


def accuracy_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean test accuracy in percent with its interval over seeds: a line for each case, a column for each method."""
    cells = {
        (case, method): str(interval((100 * group["test_accuracy"]).tolist()))
        for (case, method), group in rows.groupby(["case", "method"], sort=False)
    }
    methods = list(dict.fromkeys(rows["method"]))
    return pd.DataFrame({method: {case: cells.get((case, method), "") for case, _ in cells} for method in methods})


def paired_gains(rows: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Test accuracy of one method minus that of another, seed by seed, in points: a line for each case.

    Args:
        rows: with ``case``, ``method``, ``seed`` and ``test_accuracy``, shares from 0 to 1.
        pairs: the method, and the one it is compared with.
    """
    lines: dict[str, dict[str, str]] = {}
    for case, group in rows.groupby("case", sort=False):
        by_seed = 100 * group.pivot(index="seed", columns="method", values="test_accuracy")
        gains = {
            f"{ours} − {theirs}": paired_difference(by_seed[ours].tolist(), by_seed[theirs].tolist())
            for ours, theirs in pairs
        }
        lines[str(case)] = {name: f"{gain.mean:+.1f} ± {gain.half:.1f}" for name, gain in gains.items()}
    return pd.DataFrame(lines).T


def beside_the_paper(cited: Mapping[str, Mapping[str, str]], rows: pd.DataFrame, tested: int, made_from: str) -> Told:
    """The paper's figures, the article's, and those of the runs at hand with an interval.

    Args:
        cited: source -> method -> figure, as text.
        rows: finished runs, with ``method`` and ``test_accuracy``.
        tested: test images: with a single seed the interval is that of a share among so many.
        made_from: what the runs were made from.
    """
    lines = {source: dict(figures) for source, figures in cited.items()}
    ours = {}
    for method, group in rows.groupby("method", sort=False):
        values = (100 * group["test_accuracy"].astype(float)).tolist()
        ours[str(method)] = (
            f"{interval(values)} ({len(values)} seeds)" if len(values) > 1 else _one_run(values[0], tested)
        )
    return Told(pd.DataFrame(lines | {"these runs": ours}).T.fillna(""), made_from)


def _one_run(percent: float, tested: int) -> str:
    half = 1.96 * np.sqrt(percent * (100 - percent) / tested)
    return f"{percent:.1f} ± {half:.1f} (1 seed; from {tested:,} test images alone)"
