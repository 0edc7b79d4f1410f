"""Lessons 01 to 03: points in the plane whose labels go wrong, and what a network makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dsl_lessons.figures import CLASS_COLOURS, METHOD_COLOURS, NEUTRAL, RIGHT, WRONG, styled
from dsl_teach.data.dataset import NoisyDataset, with_labels
from dsl_teach.data.digits import neighbour_probabilities
from dsl_teach.data.toy import toy_clusters
from dsl_teach.noise import instance_dependent_noise
from dsl_teach.seeds import stream
from dsl_teach.training.evaluation import evaluation
from dsl_teach.training.networks import EmbeddingNetwork


def noisy_clusters(*, seed: int, noise_rate: float, samples_per_class: int = 200) -> NoisyDataset:
    """Three classes of two islands each on a ring; where classes meet, points are mislabelled more often."""
    data = toy_clusters(seed=seed, modes=2, overlap=0.5, samples_per_class=samples_per_class)
    probabilities = neighbour_probabilities(points_of(data), data.noisy_labels, num_classes=data.num_classes)
    noise = instance_dependent_noise(probabilities, data.noisy_labels, noise_rate, generator=stream(seed, "toy noise"))
    return with_labels(data, noise.noisy_labels, made_from=f"{noise_rate:.0%} input-dependent label noise")


def points_of(data: NoisyDataset) -> Tensor:
    """The training images as rows of numbers, (N, D)."""
    if not isinstance(data.images, Tensor):
        raise TypeError(f"{data.name} lives on disk: this needs images in memory.")
    return data.images.flatten(1).float()


def neighbour_vote(data: NoisyDataset, k: int = 15) -> Tensor:
    """The most common noisy label among the k nearest other samples, (N,) int64; the lowest class in a tie."""
    points = points_of(data)
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    labels = data.noisy_labels[distance.topk(k, largest=False).indices]
    return torch.nn.functional.one_hot(labels, data.num_classes).sum(dim=1).argmax(dim=1)


def same_matrix_by_chance(noisy_labels: Tensor, clean_labels: Tensor, *, seed: int) -> Tensor:
    """Deal the noisy labels out anew within each true class: the transition matrix stays, the images are forgotten."""
    dealt, generator = noisy_labels.clone(), stream(seed, "same matrix")
    for c in clean_labels.unique():
        rows = (clean_labels == c).nonzero().flatten()
        dealt[rows] = noisy_labels[rows[torch.randperm(len(rows), generator=generator)]]
    return dealt


@styled
def five_vectors(degrees: Sequence[float], names: Sequence[str]) -> Figure:
    """Unit vectors drawn as arrows from one point, for the example computed by hand."""
    figure = Figure(figsize=(3.6, 3.2))
    axes = figure.subplots()
    for angle, name in zip(np.deg2rad(degrees), names, strict=True):
        tip = np.cos(angle), np.sin(angle)
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": METHOD_COLOURS["SMP"]})
        axes.text(1.08 * tip[0], 1.08 * tip[1], name, ha="center", va="center", fontsize=12)
    axes.set(xlim=(-0.35, 1.2), ylim=(-0.1, 1.2), aspect="equal")
    axes.set_axis_off()
    return figure


@styled
def labelled_points(points: Tensor, panels: Mapping[str, Tensor], clean_labels: Tensor | None = None) -> Figure:
    """The same points, (N, 2), under different labels, side by side; wrong labels have a black rim."""
    figure = Figure(figsize=(3.6 * len(panels), 3.8))
    for axes, (title, labels) in zip(_bare_panels(figure, len(panels)), panels.items(), strict=True):
        _scatter(axes, points, labels, labels if clean_labels is None else clean_labels)
        axes.set_title(title)
    for c in labels.unique().tolist():
        axes.scatter([], [], s=22, c=CLASS_COLOURS[c], label=f"class {c}")
    if clean_labels is not None:
        axes.scatter([], [], s=22, c="none", edgecolors="black", linewidths=0.9, label="wrong label")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=4, columnspacing=1)
    return figure


@styled
def changed_points(points: Tensor, noisy_labels: Tensor, corrected_labels: Tensor, clean_labels: Tensor) -> Figure:
    """Given and corrected labels, wrong ones with a black rim; and what became of each: fixed, broken, still wrong."""
    figure = Figure(figsize=(10.8, 3.8))
    given, now, change = _bare_panels(figure, 3)
    for axes, title, labels in ((given, "given labels", noisy_labels), (now, "corrected labels", corrected_labels)):
        _scatter(axes, points, labels, clean_labels)
        axes.set_title(title)
    was, now_right = noisy_labels == clean_labels, corrected_labels == clean_labels
    groups = (
        ("right and left alone", was & now_right, "#dddddd", "o"),
        ("still wrong", ~was & ~now_right, NEUTRAL, "x"),
        ("fixed", ~was & now_right, RIGHT, "o"),
        ("broken", was & ~now_right, WRONG, "X"),
    )
    for name, chosen, colour, marker in groups:
        label = f"{name}: {int(chosen.sum())}"
        change.scatter(points[chosen, 0], points[chosen, 1], s=18, c=colour, marker=marker, linewidths=0.8, label=label)
    change.set_title("what became of them")
    figure.legend(*change.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def decision_maps(
    networks: Mapping[str, EmbeddingNetwork], points: Tensor, noisy_labels: Tensor, clean_labels: Tensor
) -> Figure:
    """Which class a network gives each place in the plane, with the training points; wrong labels have a black rim."""
    figure = Figure(figsize=(3.6 * len(networks), 3.8))
    steps = torch.linspace(-1, 1, 200) * 1.05 * float(points.abs().max())
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    for axes, (title, network) in zip(_bare_panels(figure, len(networks)), networks.items(), strict=True):
        with evaluation(network):
            given = network(torch.stack([x.flatten(), y.flatten()], dim=1))[0].argmax(dim=1).view(x.shape)
        axes.contourf(x, y, given, levels=np.arange(network.num_classes + 1) - 0.5, colors=CLASS_COLOURS, alpha=0.3)
        _scatter(axes, points, noisy_labels, clean_labels)
        axes.set_title(title)
    return figure


def _bare_panels(figure: Figure, count: int) -> Sequence[Axes]:
    """Axes for points in the plane: no ticks, no frame."""
    panels: Sequence[Axes] = figure.subplots(1, count, squeeze=False)[0]
    for axes in panels:
        axes.set(aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return panels


def _scatter(axes: Axes, points: Tensor, labels: Tensor, clean_labels: Tensor) -> None:
    """Points in the colours of their labels; those with a wrong label larger, and with a black rim."""
    wrong = (labels != clean_labels).numpy()
    colours, rims = [CLASS_COLOURS[c] for c in labels.tolist()], ["black" if w else "none" for w in wrong]
    axes.scatter(points[:, 0], points[:, 1], s=np.where(wrong, 22, 12), c=colours, edgecolors=rims, linewidths=0.9)
