"""Figures. Each takes plain data and returns a matplotlib figure; none keeps any state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.prototypes import Prototypes
from dsl_teach.training.runs import Run

RIGHT, WRONG, NEUTRAL = "#1b7f5c", "#c4452f", "#555555"
METHOD_COLOURS = {"cross-entropy": "#8a8a8a", "SMP": "#1f5fa8"}


def changed_samples(
    data: NoisyDataset, corrected_labels: Tensor, *, mended: bool, count: int = 12, seed: int = 0
) -> Tensor:
    """Samples whose label was mended (wrong before, right now) or spoilt (right before, wrong now), drawn at random.

    Returns:
        At most ``count`` sample ids.
    """
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which labels were mended.")
    was_right, is_right = data.noisy_labels == data.clean_labels, corrected_labels == data.clean_labels
    index = ((~was_right & is_right) if mended else (was_right & ~is_right)).nonzero().flatten()
    return index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))[:count]]


def label_gallery(data: NoisyDataset, corrected_labels: Tensor, *, count: int = 10, seed: int = 0) -> Figure:
    """Two rows of images: labels that correction mended, and labels that it spoilt."""
    figure = Figure(figsize=(1.05 * count, 3.9), layout="constrained")
    parts: Any = figure.subfigures(2, 1, hspace=0.06)
    report = {True: "Mended: the given label was wrong, the corrected one is right",
              False: "Spoilt: the given label was right, the corrected one is wrong"}  # fmt: skip
    for part, mended in zip(parts, (True, False), strict=True):
        chosen = changed_samples(data, corrected_labels, mended=mended, count=count, seed=seed)
        colour = RIGHT if mended else WRONG
        part.suptitle(report[mended], x=0.01, ha="left", fontsize=11, color=colour, weight="bold")
        for place, axes in enumerate(np.atleast_1d(part.subplots(1, count))):
            axes.set_axis_off()
            if place < len(chosen):
                show_change(axes, data, corrected_labels, int(chosen[place]), colour)
    return figure


def show_change(axes: Axes, data: NoisyDataset, corrected_labels: Tensor, sample: int, colour: str) -> None:
    """One image over "given -> corrected"."""
    show_image(axes, data, sample)
    given, now = (data.class_names[int(labels[sample])] for labels in (data.noisy_labels, corrected_labels))
    axes.set_title(f"{given} \N{RIGHTWARDS ARROW} {now}", color=colour, fontsize=12, y=-0.32)


def show_image(axes: Axes, data: NoisyDataset, sample: int) -> None:
    """One training image, dark ink on white where it has a single channel."""
    if isinstance(data.images, ImageFiles):
        raise TypeError(f"{data.name} lives on disk: read the image first.")
    image = data.images[sample].permute(1, 2, 0).numpy(force=True)
    axes.imshow(image, cmap="gray_r" if image.shape[2] == 1 else None)
    axes.set_axis_off()


def noisy_samples(data: NoisyDataset, *, count: int = 10, seed: int = 0) -> Figure:
    """Training images with a wrong label, and the label they were given."""
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which labels are wrong.")
    wrong = (data.noisy_labels != data.clean_labels).nonzero().flatten()
    chosen = wrong[torch.randperm(len(wrong), generator=torch.Generator().manual_seed(seed))[:count]]
    figure = Figure(figsize=(1.05 * count, 1.7), layout="constrained")
    figure.suptitle(f"Wrongly labelled training images of {data.name}", x=0.01, ha="left", fontsize=11, weight="bold")
    for axes, sample in zip(np.atleast_1d(figure.subplots(1, count)), chosen.tolist(), strict=False):
        show_image(axes, data, sample)
        axes.set_title(f"“{data.class_names[int(data.noisy_labels[sample])]}”", color=WRONG, fontsize=12, y=-0.32)
    return figure


def learning_curves(runs: dict[str, dict[str, Sequence[Run]]]) -> Figure:
    """Test accuracy epoch by epoch: a panel for each case, a line for each method, each seed faint behind its mean.

    Args:
        runs: case -> method -> its runs, one a seed.
    """
    figure = Figure(figsize=(5.2 * len(runs), 3.6), layout="constrained")
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for axes, (case, methods) in zip(panels, runs.items(), strict=True):
        for method, seeds in methods.items():
            curves = np.array([[100 * record.test_accuracy for record in run.result.history] for run in seeds])
            epochs, colour = np.arange(1, curves.shape[1] + 1), METHOD_COLOURS.get(method)
            axes.plot(epochs, curves.T, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(epochs, curves.mean(axis=0), color=colour, linewidth=2.2, label=method)
        _mark_first_correction(axes, methods)
        axes.set(title=case, xlabel="epoch")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("test accuracy, %")
    panels[0].legend(frameon=False, loc="lower center")
    return figure


def _mark_first_correction(axes: Axes, methods: dict[str, Sequence[Run]]) -> None:
    starts = {run.settings.correction_start for seeds in methods.values() for run in seeds if run.settings.alpha > 0}
    for start in starts:
        axes.axvline(start + 0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")
        axes.annotate("first correction", (start + 0.5, 0.98), xycoords=("data", "axes fraction"), xytext=(4, 0),
                      textcoords="offset points", va="top", fontsize=9, color=NEUTRAL)  # fmt: skip


def five_vectors(degrees: Sequence[float], names: Sequence[str]) -> Figure:
    """Unit vectors drawn as arrows from one point, for the example computed by hand."""
    figure = Figure(figsize=(3.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for angle, name in zip(np.deg2rad(degrees), names, strict=True):
        tip = np.cos(angle), np.sin(angle)
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": METHOD_COLOURS["SMP"]})
        axes.text(1.08 * tip[0], 1.08 * tip[1], name, ha="center", va="center", fontsize=12)
    axes.set(xlim=(-0.1, 1.2), ylim=(-0.1, 1.2), aspect="equal")
    axes.set_axis_off()
    return figure


def prototype_map(embeddings: Tensor, labels: Tensor, prototypes: Prototypes, class_names: Sequence[str]) -> Figure:
    """The samples of a few classes by the two directions in which their embeddings differ most, prototypes as stars.

    Args:
        embeddings: (N, D).
        labels: (N,) int64, what colours the samples; those below 0 are left out.
        prototypes: from the same embeddings.
        class_names: K names.
    """
    shown = (labels >= 0).nonzero().flatten()
    rows = torch.nn.functional.normalize(embeddings[shown].float(), dim=1)
    centre, (_, _, axes_) = rows.mean(dim=0), torch.pca_lowrank(rows, q=2, niter=8)
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for place, c in enumerate(labels[shown].unique().tolist()):
        points = ((rows[labels[shown] == c] - centre) @ axes_).numpy(force=True)
        stars = torch.nn.functional.normalize(prototypes.embeddings[c, : prototypes.count[c]].float(), dim=1)
        stars_ = ((stars - centre) @ axes_).numpy(force=True)
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=9,
            alpha=0.45,
            color=f"C{place}",
            linewidths=0,
            label=f"labelled {class_names[c]}",
        )
        axes.scatter(
            stars_[:, 0],
            stars_[:, 1],
            s=150,
            marker="*",
            color=f"C{place}",
            edgecolors="black",
            linewidths=0.9,
            zorder=3,
        )
    axes.legend(frameon=False, fontsize=9)
    axes.set_axis_off()
    return figure
