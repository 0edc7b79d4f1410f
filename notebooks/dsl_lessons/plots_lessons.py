"""Figures of lessons 01 and 03. Each takes plain data and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dsl_lessons.plots import NEUTRAL, RIGHT, WRONG
from dsl_teach.metrics import accuracy, interval
from dsl_teach.training.loop import EpochRecord, frozen
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.runs import Run

CLASS_COLOURS = ("#4477aa", "#ccaa33", "#aa3377", "#228833", "#66ccee", "#ee6677")


def _panels(count: int, *, width: float = 3.6, height: float = 3.8, **more: Any) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False, **more)[0]


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _curves_look(axes: Axes, title: str = "") -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def labelled_points(points: Tensor, panels: Mapping[str, Tensor], clean_labels: Tensor | None = None) -> Figure:
    """The same points under different labels, side by side; wrong labels have a black rim.

    Args:
        points: (N, 2).
        panels: title -> (N,) labels.
        clean_labels: (N,), what is right; None: nothing is marked.
    """
    figure, axes = _panels(len(panels))
    for panel, (title, labels) in zip(axes, panels.items(), strict=True):
        colours = [CLASS_COLOURS[c] for c in labels.tolist()]
        wrong = np.zeros(len(labels), bool) if clean_labels is None else (labels != clean_labels).numpy()
        rims = ["black" if w else "none" for w in wrong]
        panel.scatter(points[:, 0], points[:, 1], s=np.where(wrong, 24, 14), c=colours, edgecolors=rims, linewidths=0.9)
        _bare(panel, title)
    return figure


def changed_points(points: Tensor, noisy_labels: Tensor, corrected_labels: Tensor, clean_labels: Tensor) -> Figure:
    """Given labels, corrected labels, and what became of each: mended, spoilt, still wrong."""
    figure, (given, now, change) = _panels(3)
    for panel, title, labels in ((given, "given labels", noisy_labels), (now, "corrected labels", corrected_labels)):
        panel.scatter(points[:, 0], points[:, 1], s=14, c=[CLASS_COLOURS[c] for c in labels.tolist()], linewidths=0)
        _bare(panel, title)
    was, now_right = noisy_labels == clean_labels, corrected_labels == clean_labels
    groups = (
        ("right and left alone", was & now_right, "#dddddd", "o"),
        ("still wrong", ~was & ~now_right, NEUTRAL, "x"),
        ("mended", ~was & now_right, RIGHT, "o"),
        ("spoilt", was & ~now_right, WRONG, "X"),
    )
    for name, chosen, colour, marker in groups:
        label = f"{name}: {int(chosen.sum())}"
        change.scatter(points[chosen, 0], points[chosen, 1], s=18, c=colour, marker=marker, linewidths=0.8, label=label)
    _bare(change, "what became of them")
    figure.legend(*change.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def memorising(history: Sequence[EpochRecord], noise_rate: float, epochs: int) -> Figure:
    """Accuracy on rightly and on wrongly labelled training samples, and on the test set, epoch by epoch.

    Args:
        history: records so far.
        noise_rate: share of wrong labels, to tell rightly labelled samples from all.
        epochs: how long the axis is.
    """
    figure, (axes,) = _panels(1, width=6.2, height=3.4)
    epoch = [record.epoch + 1 for record in history]
    memorised = np.array([record.memorised for record in history], float)
    right = (np.array([record.train_accuracy for record in history]) - noise_rate * memorised) / (1 - noise_rate)
    lines = (
        ("rightly labelled: gives the given label", right, RIGHT),
        ("wrongly labelled: gives the given, wrong label", memorised, WRONG),
        ("test set: gives the true label", np.array([record.test_accuracy for record in history]), "black"),
    )
    for label, values, colour in lines:
        axes.plot(epoch, 100 * values, color=colour, label=label, linewidth=1.8)
    axes.set(xlim=(1, epochs), ylim=(0, 101), xlabel="epoch", ylabel="share of samples, %")
    axes.legend(fontsize=8, frameon=False, loc="best")
    _curves_look(axes)
    return figure


def decision_maps(
    networks: Mapping[str, EmbeddingNetwork], points: Tensor, noisy_labels: Tensor, clean_labels: Tensor
) -> Figure:
    """Which class a network gives each place in the plane, with the training points; wrong labels have a black rim.

    Args:
        networks: title -> network for points in the plane.
        points: (N, 2).
        noisy_labels: (N,), the colours of the points.
        clean_labels: (N,).
    """
    figure, axes = _panels(len(networks))
    edge = 1.05 * float(points.abs().max())
    steps = torch.linspace(-edge, edge, 200)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    wrong = (noisy_labels != clean_labels).numpy()
    for panel, (title, network) in zip(axes, networks.items(), strict=True):
        with frozen(network):
            given = network(torch.stack([x.flatten(), y.flatten()], dim=1))[0].argmax(dim=1).view(x.shape)
        panel.contourf(x, y, given, levels=np.arange(network.num_classes + 1) - 0.5, colors=CLASS_COLOURS, alpha=0.3)
        colours = [CLASS_COLOURS[c] for c in noisy_labels.tolist()]
        rims = ["black" if w else "none" for w in wrong]
        panel.scatter(points[:, 0], points[:, 1], s=np.where(wrong, 20, 10), c=colours, edgecolors=rims, linewidths=0.8)
        _bare(panel, title)
    return figure


def noise_by_margin(margin: Tensor, wrong: Mapping[str, Tensor], *, bins: int = 6) -> Figure:
    """The share of wrong labels from the most confusing samples to the clearest, in groups of equal size.

    Args:
        margin: (N,) how clear each sample is.
        wrong: name of the noise -> (N,) bool.
        bins: how many groups.
    """
    figure, (axes,) = _panels(1, width=6.2, height=3.2)
    groups = margin.argsort().tensor_split(bins)
    place = np.arange(bins)
    for shift, (name, flags) in enumerate(wrong.items()):
        shares = [100 * float(flags[group].sum()) / len(group) for group in groups]
        axes.bar(place + 0.4 * shift - 0.2, shares, width=0.38, label=name, color=("#b0b0b0", WRONG)[shift])
    ends = ["most\nconfusing", *[""] * (bins - 2), "clearest"]
    axes.set(xticks=place, xticklabels=ends, ylabel="wrong labels, %", xlabel="samples, in groups of equal size")
    axes.legend(fontsize=9, frameon=False)
    _curves_look(axes)
    return figure


def matrices(panels: Mapping[str, Tensor]) -> Figure:
    """Transition matrices in percent: rows are true classes, columns are given labels."""
    figure, axes = _panels(len(panels), width=2.9, height=3.0)
    for panel, (title, matrix) in zip(axes, panels.items(), strict=True):
        panel.imshow(matrix, cmap="Blues", vmin=0, vmax=1.3)
        for i, row in enumerate(matrix.tolist()):
            for j, share in enumerate(row):
                panel.text(j, i, f"{100 * share:.0f}", ha="center", va="center")
        panel.set(xticks=range(len(matrix)), yticks=range(len(matrix)), xlabel="given label", ylabel="true class")
        panel.set_title(title, fontsize=10)
    return figure


def mended_and_spoilt(run: Run) -> Figure:
    """What each correction did: labels mended and spoilt, and how many are right, epoch by epoch."""
    clean = run.data.clean_labels
    if clean is None:
        raise ValueError(f"{run.data.name} has no clean labels: nobody can say which labels were mended.")
    figure, (change, right) = _panels(2, width=4.6, height=3.3)
    records = [record for record in run.result.history if record.label_accuracy is not None]
    epoch = [record.epoch + 1 for record in records]
    mended = np.array([100 * (record.wrong_to_right or 0) for record in records])
    spoilt = np.array([100 * (record.right_to_wrong or 0) for record in records])
    change.bar(epoch, mended, color=RIGHT, label="mended")
    change.bar(epoch, -spoilt, color=WRONG, label="spoilt")
    change.axhline(0, color="black", linewidth=0.8)
    change.set_ylim(top=1.3 * float(mended.max()))
    change.legend(fontsize=9, frameon=False, loc="upper left", ncols=2)
    given = 100 * accuracy(run.data.noisy_labels, clean)
    right.axhline(given, color=NEUTRAL, linestyle="--", label="given labels")
    right.plot(epoch, [100 * (record.label_accuracy or 0) for record in records], color=RIGHT, label="corrected labels")
    tests = run.result.history
    right.plot(
        [r.epoch + 1 for r in tests], [100 * r.test_accuracy for r in tests], color="black", label="test accuracy"
    )
    right.legend(fontsize=9, frameon=False, loc="lower right")
    for axes, title in ((change, "labels changed by each correction, %"), (right, "right, %")):
        axes.set(xlabel="epoch", xlim=(0, len(tests) + 1))
        _curves_look(axes, title)
    return figure


def mean_curves(rows: pd.DataFrame, by: str, column: str, *, ylabel: str, label: str = "{}") -> Figure:
    """The mean curve over seeds for each value of a setting, epoch by epoch.

    Args:
        rows: with a list of one figure an epoch in ``column``.
        by: the setting.
        column: ``"test_curve"`` or ``"label_curve"``.
        ylabel: what the curves show.
        label: how a value stands in the legend.
    """
    figure, (axes,) = _panels(1, width=6.6, height=3.6)
    values = sorted(rows[by].unique())
    for place, value in enumerate(values):
        curves = np.array(rows[rows[by] == value][column].tolist(), dtype=float)
        colour = _shade(place, len(values))
        axes.plot(np.arange(1, curves.shape[1] + 1), 100 * curves.mean(axis=0), color=colour, label=label.format(value))
    axes.set(xlabel="epoch", ylabel=ylabel)
    axes.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _curves_look(axes)
    return figure


def interval_points(
    rows: pd.DataFrame,
    by: str,
    *,
    reference: pd.DataFrame | None = None,
    labels_title: str = "corrected labels right, %",
) -> Figure:
    """Mean and 95 % interval over seeds of test and label accuracy, for each value of a setting.

    Args:
        rows: one row a run.
        by: the setting, on the horizontal axis, its values evenly spaced.
        reference: rows of plain cross-entropy, drawn as a band.
        labels_title: what ``label_accuracy`` holds.
    """
    figure, panels = _panels(2, width=4.4, height=3.3, sharey=True)
    values = sorted(rows[by].unique())
    titles = {"test_accuracy": "test accuracy, %", "label_accuracy": labels_title}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for place, value in enumerate(values):
            known = (100 * rows[rows[by] == value][column].astype(float)).dropna().tolist()
            if known:
                around = interval(known)
                axes.errorbar(place, around.mean, around.half, color="#1f5fa8", marker="o", capsize=4)
        axes.set(xticks=range(len(values)), xticklabels=[f"{value:g}" for value in values], xlabel=by)
        _curves_look(axes, title)
    if reference is not None:
        around = interval((100 * reference["test_accuracy"]).tolist())
        panels[0].axhspan(around.mean - around.half, around.mean + around.half, color="#bbbbbb", alpha=0.5, lw=0)
        panels[0].axhline(around.mean, color=NEUTRAL, lw=1, label="cross-entropy")
        panels[0].legend(fontsize=9, frameon=False, loc="lower left")
    return figure


def _shade(place: int, count: int) -> tuple[float, float, float]:
    """From light to dark blue; a single line is dark."""
    share = 1.0 if count == 1 else place / (count - 1)
    light, dark = np.array([0.62, 0.79, 0.95]), np.array([0.03, 0.16, 0.42])
    red, green, blue = light + share * (dark - light)
    return float(red), float(green), float(blue)
