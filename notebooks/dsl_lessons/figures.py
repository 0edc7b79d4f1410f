"""Figures that several lessons share, in one style, with one colour a method. Plain data in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dsl_lessons.tables import widened
from dsl_teach.data.batches import make_batches
from dsl_teach.data.dataset import ImageFiles, Images
from dsl_teach.metrics import interval
from dsl_teach.prototypes import Prototypes

styled = matplotlib.rc_context(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "legend.fontsize": 9,
    }
)
"""Draws what a function draws in the style of the lessons: a decorator."""

RIGHT, WRONG, NEUTRAL, PALE = "#1b7f5c", "#c4452f", "#555555", "#c9c9c9"
CLASS_COLOURS = (
    "#4477aa", "#ccaa33", "#aa3377", "#228833", "#66ccee", "#ee6677", "#332288", "#8c5a2b", "#ffb0a0", "#8a8a8a",
)  # fmt: skip
METHOD_COLOURS = {
    "cross-entropy": "#8a8a8a",
    "SMP": "#1f5fa8",
    "GCE": "#a85a00",
    "class means": "#d0679d",
    "even shares": "#7b4ab2",
    "kept by place": "#c4452f",
    "class as place": "#d98c1f",
    "alpha 0.25": "#6fb1e0",
    "start 0": "#c4452f",
    "start 1": "#d98c1f",
    "start 10": "#6fb1e0",
    "train mode": "#aa3377",
    "eval mode for ever": "#332288",
}
"""A method looks the same in every figure; others take the colours of the cycle."""


def colours_of(values: Sequence[Any]) -> list[Any]:
    """A colour each: that of a method; numbers go from light to dark, over several hues."""
    if all(isinstance(value, int | float) for value in values):
        return list(matplotlib.colormaps["viridis"](np.linspace(0.93 if len(values) > 1 else 0, 0, len(values))))
    return [METHOD_COLOURS.get(str(value), f"C{place % 10}") for place, value in enumerate(values)]


def plain(name: str) -> str:
    """A class name as matplotlib draws it letter by letter: a dollar sign starts no formula."""
    return name.replace("$", r"\$")


def stamped(figure: Figure, made_from: str) -> Figure:
    """Write below a figure what it was made from."""
    figure.supxlabel(f"Made from: {made_from}", fontsize=8, color=NEUTRAL, x=0.01, ha="left")
    return figure


def pixels(images: Images, index: Sequence[int], *, side: int = 112) -> list[Tensor]:
    """Some images, (C, H, W) uint8 each; those on disk as the network sees them in the fixed view, made smaller."""
    if isinstance(images, Tensor):
        return [images[i] for i in index]
    files, none = (
        ImageFiles(images.root, tuple(images.paths[i] for i in index)),
        torch.zeros(len(index), dtype=torch.int64),
    )
    batches = make_batches(files, none, batch_size=max(1, len(index)), short_side=side * 8 // 7, crop=side)
    return [image for batch in batches.in_order() for image in batch.images]


def show_image(axes: Axes, image: Tensor) -> None:
    """One image; dark ink on white where it has a single channel."""
    shown = image.permute(1, 2, 0).numpy(force=True)
    axes.imshow(shown, cmap="gray_r" if shown.shape[2] == 1 else None)


@styled
def gallery(rows: Mapping[str, Sequence[tuple[Tensor, str]]], colours: Sequence[str] = (WRONG,)) -> Figure:
    """Rows of images, (C, H, W) uint8, each over a few words: by their title, in one colour a row."""
    count = max(1, *map(len, rows.values()))
    size = 12 if max((len(words) for images in rows.values() for _, words in images), default=0) < 8 else 9
    figure = Figure(figsize=(1.05 * count, 1.9 * len(rows)))
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(rows), 1, hspace=0.06)))
    for part, (title, images), colour in zip(parts, rows.items(), cycle(colours), strict=False):
        part.suptitle(title, x=0.01, ha="left", fontsize=11, color=colour, weight="bold")
        for place, axes in enumerate(np.atleast_1d(part.subplots(1, count))):
            axes.set_axis_off()
            if place < len(images):
                show_image(axes, images[place][0])
                axes.set_title(images[place][1], color=colour, fontsize=size, y=-0.1, pad=0, loc="center", va="top")
    return figure


@styled
def curves(
    rows: pd.DataFrame,
    *,
    by: str = "method",
    column: str = "test_curve",
    ylabel: str = "test accuracy, %",
    label: str = "{}",
    mark: Mapping[str, Sequence[float]] | None = None,
    sharey: bool = False,
) -> Figure:
    """Shares epoch by epoch: a panel a case, a line a method (or value), the mean over seeds before single runs, if few.

    Args:
        rows: one a run, with a list of one share an epoch in ``column``; without ``case`` there is one panel.
        by: the column whose values are lines; numbers in ascending order, from light to dark.
        column: ``"test_curve"`` or ``"label_curve"``.
        ylabel: what the curves show.
        label: how a value stands in the legend.
        mark: what begins -> at which epochs.
        sharey: whether all panels have the same scale.
    """
    cases = dict(list(rows.groupby("case", sort=False))) if "case" in rows else {"": rows}
    values = list(dict.fromkeys(rows[by]))
    values = values if isinstance(values[0], str) else sorted(values)
    columns = min(3, len(cases))
    figure = Figure(figsize=(max(6.6, 4.2 * columns), 3.2 * -(-len(cases) // columns)))
    panels = figure.subplots(-(-len(cases) // columns), columns, squeeze=False, sharex=True, sharey=sharey).flatten()
    for axes, (case, group) in zip(panels, cases.items(), strict=False):
        for value, colour in zip(values, colours_of(values), strict=True):
            lines = 100 * np.array(group[group[by] == value][column].tolist(), dtype=float)
            if lines.size:
                epochs = range(1, lines.shape[1] + 1)
                if isinstance(value, str) and len(values) * len(lines) <= 30:  # more would hide the means
                    axes.plot(epochs, lines.T, color=colour, alpha=0.25, linewidth=0.7)
                axes.plot(epochs, lines.mean(axis=0), color=colour, linewidth=2, label=label.format(value))
        for (words, starts), dashes in zip((mark or {}).items(), cycle((":", "--")), strict=False):
            for place, at in enumerate(starts):
                label_of = None if place else words
                axes.axvline(at, color=NEUTRAL, linewidth=1, linestyle=dashes, label=label_of)
        axes.set(title=case, xlabel="epoch", ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels[len(cases) :]:
        axes.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def intervals(
    rows: pd.DataFrame,
    x: str,
    columns: Mapping[str, str],
    *,
    by: str = "",
    reference: pd.DataFrame | None = None,
    test_share: float | None = None,
) -> Figure:
    """Means with their 95 % intervals over seeds: a panel a figure, the values of ``x`` evenly spaced.

    Args:
        rows: one a run, shares from 0 to 1.
        x: the column along the horizontal axis.
        columns: column -> title of its panel.
        by: a column whose values stand side by side, a colour each.
        reference: rows of plain cross-entropy, drawn as a band in the first panel.
        test_share: as for :func:`dsl_lessons.tables.summarise`.
    """
    figure = Figure(figsize=(max(6.0, 4.4 * len(columns)) + (3 if by else 0), 3.4))
    panels = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    values = list(dict.fromkeys(rows[x]))
    values = values if isinstance(values[0], str) else sorted(values)
    kinds = list(dict.fromkeys(rows[by])) if by else ["SMP"]
    for axes, (column, title) in zip(panels, columns.items(), strict=True):
        for number, (kind, colour) in enumerate(zip(kinds, colours_of(kinds), strict=True)):
            for place, value in enumerate(values):
                chosen = rows[(rows[x] == value) & (rows[by] == kind)] if by else rows[rows[x] == value]
                known = (100 * chosen[column].astype(float)).dropna().tolist()
                if known:
                    around = widened(interval(known), test_share)
                    where = place + 0.14 * (number - (len(kinds) - 1) / 2)
                    axes.errorbar(where, around.mean, np.nan_to_num(around.half), color=colour, marker="o", capsize=3,
                                  label=kind if by and not place else None)  # fmt: skip
        names = [value if isinstance(value, str) else f"{value:g}" for value in values]
        axes.set(title=title, xlabel="" if isinstance(values[0], str) else x)
        axes.set_xticks(range(len(values)), names, fontsize=8 if isinstance(values[0], str) else None)
    if reference is not None:
        around = widened(interval((100 * reference["test_accuracy"]).tolist()), test_share)
        panels[0].axhspan(around.mean - around.half, around.mean + around.half, color="#bbbbbb", alpha=0.5, lw=0)
        panels[0].axhline(around.mean, color=NEUTRAL, lw=1, label="cross-entropy")
        panels[0].legend(loc="lower left")
    elif by:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def matrices(panels: Mapping[str, Tensor], names: Sequence[str]) -> Figure:
    """Transition matrices in percent: rows are true classes, columns given labels. White is 0, the darkest 100 %."""
    k, many = len(names), len(names) > 5
    side = 2.9 if not many else 0.36 * k + 1.6
    figure = Figure(figsize=(side * len(panels), side))
    for axes, (title, matrix) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        shares = 100 * matrix.numpy()
        axes.imshow(shares, cmap="Oranges", vmin=0, vmax=100)
        for i, j in zip(*np.nonzero(shares >= (0.5 if many else 0)), strict=True):
            ink = "white" if shares[i, j] > 60 else "black"
            axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=7 if many else 10)
        axes.set_xticks(range(k), map(plain, names), rotation=90 if many else 0, fontsize=8 if many else 10)
        axes.set_yticks(range(k), map(plain, names), fontsize=8 if many else 10)
        axes.set(xlabel="given label", ylabel="true class", title=title)
    return figure


@styled
def bars(series: Mapping[str, Sequence[float]], names: Sequence[str], *, ylabel: str, xlabel: str = "") -> Figure:
    """Bars side by side, in percent: for each name one a series."""
    figure = Figure(figsize=(min(16, max(6.2, 0.5 * len(names) + 1.5)), 3.4))
    axes, width = figure.subplots(), 0.8 / len(series)
    for number, (label, shares) in enumerate(series.items()):
        place = np.arange(len(names)) + width * (number - (len(series) - 1) / 2)
        colour = ("#b0b0b0", "#1f5fa8")[number % 2]
        drawn = axes.bar(place, 100 * np.asarray(shares, dtype=float), width=0.95 * width, color=colour, label=label)
        axes.bar_label(drawn, ["" if share else "0" for share in shares], fontsize=9, color=colour)
    axes.axhline(0, color="black", linewidth=0.8)
    many: dict[str, Any] = {"rotation": 45, "ha": "right"} if len(names) > 8 else {}
    axes.set_xticks(range(len(names)), list(map(plain, names)), fontsize=9, **many)
    axes.set(ylabel=ylabel, xlabel=xlabel)
    if len(series) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure


@styled
def prototype_map(
    embeddings: Tensor, labels: Tensor, prototypes: Prototypes, class_names: Sequence[str], clean_labels: Tensor
) -> Figure:
    """Samples along the two directions in which embeddings differ most; prototypes as stars, wrong labels rimmed."""
    unit = torch.nn.functional.normalize
    shown = (labels >= 0).nonzero().flatten()
    rows = unit(embeddings[shown].float(), dim=1)
    centre, (_, _, directions) = rows.mean(dim=0), torch.pca_lowrank(rows, q=2, niter=8)
    figure = Figure(figsize=(6.4, 4.4))
    axes = figure.subplots()
    for place, c in enumerate(labels[shown].unique().tolist()):
        x, y = ((rows[labels[shown] == c] - centre) @ directions).T.numpy(force=True)
        rims = ["black" if true != c else "none" for true in clean_labels[shown][labels[shown] == c].tolist()]
        axes.scatter(x, y, s=16, c=f"C{place}", edgecolors=rims, lw=0.7)
        axes.scatter([], [], s=16, c=f"C{place}", label=f"labelled {class_names[c]}")
        stars = unit(prototypes.embeddings[c, : prototypes.count[c]].float(), dim=1)
        x, y = ((stars - centre) @ directions).T.numpy(force=True)
        axes.scatter(x, y, s=150, marker="*", color=f"C{place}", edgecolors="black", linewidths=0.9, zorder=3)
    axes.scatter([], [], s=16, c="none", edgecolors="black", lw=0.7, label="wrong label")
    axes.legend(fontsize=8)
    axes.set(xticks=[], yticks=[], xlabel="first direction", ylabel="second direction")
    return figure
