"""The prototype explorer: points in the plane, their decision graph, and what the prototypes make of the labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsl_lessons.explorers.drawing import (
    FAINT,
    INK,
    Panel,
    axes,
    colour_of,
    dots,
    element,
    picture,
    polyline,
    repeat,
    stars,
    words,
)
from dsl_lessons.explorers.shell import Explorer, Slider, batch_command
from dsl_teach.config import Settings
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.metrics import CorrectionReport, correction_report
from dsl_teach.noise import instance_dependent_noise
from dsl_teach.prototypes import (
    Prototypes,
    best_class,
    class_scores,
    correct_labels,
    cosine_similarity,
    density,
    eta,
    sample_by_class,
    select_prototypes,
    similarity_threshold,
)
from dsl_teach.seeds import stream

SLIDERS = (
    Slider("p", 1, 16, 1, "prototypes a class"),
    Slider("m", 20, 200, 10, "samples a class"),
    Slider("quantile", 0.05, 1, 0.05, "share of S up to S_c"),
    Slider("eta_max", 0, 1, 0.01, "the gate"),
    Slider("noise_rate", 0, 0.8, 0.05, "share of wrong labels"),
)
BLUR = 0.3
"""How far, in units of the ring's radius, points look around to see which other class they might be taken for."""
REACH, RING = 1.75, 1.63
"""Half the width of the plane that is shown, and the radius of the ring around it."""


@dataclass(frozen=True)
class DecisionGraph:
    """The samples of one class that were looked at, with their density and their similarity to something denser."""

    index: Tensor
    rho: Tensor
    eta: Tensor


@dataclass(frozen=True)
class PrototypeView:
    """Everything that the explorer shows for one choice of settings."""

    settings: Settings
    points: Tensor
    """(N, 2), which are their own embeddings."""
    noisy_labels: Tensor
    graphs: list[DecisionGraph]
    """One a class."""
    prototypes: Prototypes
    corrected_labels: Tensor
    report: CorrectionReport


def look_alikes(points: Tensor, labels: Tensor, *, num_classes: int, blur: float = BLUR) -> Tensor:
    r"""How much each point could be taken for each class, by the other points around it.

    .. math:: p_c(x_i) \propto \sum_{j \ne i,\, y_j = c} \exp\bigl(-\lVert x_i - x_j \rVert^2 / 2 \text{blur}^2\bigr)

    Returns:
        (N, K) float64, rows sum to 1. Fed into ``instance_dependent_noise``: points near another class go wrong first.
    """
    x = points.double()
    squares = torch.cdist(x, x).square_().fill_diagonal_(torch.inf)
    by_class = squares.div_(-2 * blur**2).exp_() @ torch.nn.functional.one_hot(labels, num_classes).double()
    return by_class / by_class.sum(dim=1, keepdim=True)


def toy_labels(data: NoisyDataset, noise_rate: float, *, seed: int, probabilities: Tensor | None = None) -> Tensor:
    """Labels for points in the plane, a share of them wrong, most of these where classes meet.

    Args:
        data: points with clean labels.
        noise_rate: the share that becomes wrong.
        seed: of the draw.
        probabilities: from :func:`look_alikes`, for those who have them already.

    Returns:
        (N,) int64.
    """
    points, clean = _points_and_labels(data)
    if probabilities is None:
        probabilities = look_alikes(points, clean, num_classes=data.num_classes)
    return instance_dependent_noise(probabilities, clean, noise_rate, generator=stream(seed, "noise")).noisy_labels


def explore_prototypes(data: NoisyDataset, settings: Settings, *, probabilities: Tensor | None = None) -> PrototypeView:
    """Mislabel points, choose prototypes among them, and correct the labels: the correction phase without a network.

    Args:
        data: points in the plane with clean labels; the points are their own embeddings.
        settings: ``p``, ``m``, ``quantile``, ``eta_max``, ``noise_rate``, ``seed``, and the readings of open points.
        probabilities: from :func:`look_alikes`, for those who have them already.

    Raises:
        ValueError: if the data are no points, or have no clean labels.
    """
    s, k, (points, clean) = settings, data.num_classes, _points_and_labels(data)
    labels = toy_labels(data, s.noise_rate or 0.0, seed=s.seed, probabilities=probabilities)
    prototypes = select_prototypes(
        points, labels, num_classes=k, p=s.p, m=s.m, eta_max=s.eta_max, quantile=s.quantile,
        generator=stream(s.seed, "sample"), diagonal=s.diagonal, rho_ties=s.rho_ties, fill_up=s.fill_up,
        cut_ties=s.cut_ties, small_class=s.small_class,
    )  # fmt: skip
    drawn = sample_by_class(labels, num_classes=k, m=s.m, generator=stream(s.seed, "sample"))
    graphs = [decision_graph(points, rows, s) for rows in drawn]
    corrected = correct_labels(points, prototypes, labels, score_ties=s.score_ties)
    report = correction_report(labels, corrected, clean, num_classes=k)
    return PrototypeView(s, points, labels, graphs, prototypes, corrected, report)


def decision_graph(points: Tensor, rows: Tensor, settings: Settings) -> DecisionGraph:
    """Density and eta of the samples of one class."""
    if not len(rows):
        return DecisionGraph(rows, rows.clone(), points.new_empty(0))
    similarity = cosine_similarity(points[rows])
    rho = density(similarity, similarity_threshold(similarity, settings.quantile, diagonal=settings.diagonal))
    return DecisionGraph(rows, rho, eta(similarity, rho, rho_ties=settings.rho_ties))


def prototype_picture(view: PrototypeView) -> str:
    """Left the points by noisy label with their prototypes, right the decision graph with the gate; as SVG."""
    plane = Panel(10, 44, 340, 340, (-REACH, REACH), (-REACH, REACH))
    most = max((int(graph.rho.abs().max()) for graph in view.graphs if len(graph.rho)), default=1)
    graph = Panel(430, 44, 320, 290, (0, 1), (-1.08 * most, 1.08 * most))
    return picture(
        764, 402, [*_plane_parts(plane, view), *_graph_parts(graph, view)], description=prototype_summary(view)
    )


def prototype_summary(view: PrototypeView) -> str:
    """One line: labels right before and after, fixed, broken, and how the gate did."""
    report, found, n = view.report, view.prototypes, len(view.points)
    return (
        f"Labels right: {report.noisy_accuracy:.1%} given, {report.label_accuracy:.1%} corrected "
        f"({round(n * (report.wrong_to_right or 0))} fixed, {round(n * (report.right_to_wrong or 0))} broken). "
        f"Passed the gate: {', '.join(str(c) for c in found.passed.tolist())} of "
        f"{', '.join(str(c) for c in found.sampled.tolist())}; places filled up: {int(found.filled.sum())}."
    )


class PrototypeExplorer(Explorer):
    """Five sliders over :func:`explore_prototypes` and :func:`prototype_picture`."""

    def __init__(self, data: NoisyDataset, settings: Settings, *, notebook: str = "02_prototypes.ipynb"):
        self.data, self.settings, self.notebook = data, settings, notebook
        self.probabilities = look_alikes(*_points_and_labels(data), num_classes=data.num_classes)
        super().__init__(SLIDERS, settings.to_dict())

    def show(self, values: dict[str, Any]) -> dict[str, str]:
        """The picture, its summary, and the command that runs the lesson with these values."""
        view = explore_prototypes(self.data, self.settings.replace(**values), probabilities=self.probabilities)
        return {
            "picture": prototype_picture(view),
            "summary": prototype_summary(view),
            "command": batch_command(self.notebook, values | {"seed": self.settings.seed}),
        }


def _plane_parts(panel: Panel, view: PrototypeView) -> list[str]:
    looked_at = torch.zeros(len(view.points), dtype=torch.bool)
    looked_at[torch.cat([graph.index for graph in view.graphs])] = True
    parts = [words(panel.left + 6, 30, "Points by noisy label, prototypes as stars", font_weight="bold")]
    parts += _ring_parts(panel, view.prototypes)
    for chosen, opacity in ((~looked_at, 0.25), (looked_at, 0.8)):
        for c in range(len(view.graphs)):
            x, y = view.points[chosen & (view.noisy_labels == c)].T.numpy()
            parts.append(dots(panel, x, y, colour=colour_of(c), size=4.5, opacity=opacity))
    for c, passed, place in _prototype_places(view):
        x, y = view.prototypes.embeddings[c, place].T.numpy()
        parts.append(stars(panel, x, y, colour=colour_of(c), hollow=not passed))
    return parts


def _ring_parts(panel: Panel, prototypes: Prototypes, *, directions: int = 120) -> list[str]:
    """Around the points a ring that tells to which label each direction is corrected: a cosine knows only direction."""
    angle = torch.arange(directions, dtype=torch.float64) * (2 * math.pi / directions)
    winner = best_class(class_scores(torch.stack([angle.cos(), angle.sin()], dim=1), prototypes)).numpy()
    ends = angle.numpy()[:, None] + math.pi / directions * np.array([-1.0, 1.0])
    arcs = np.stack([panel.x(RING * np.cos(ends)), panel.y(RING * np.sin(ends))], axis=-1).reshape(directions, 4)
    parts = []
    for c in range(len(prototypes.count)):
        path = repeat("M%.1f %.1fL%.1f %.1f", arcs[winner == c])
        parts.append(element("path", d=path, stroke=colour_of(c), stroke_width=7, fill="none"))
    return [
        *parts,
        words(
            panel.left + 6,
            panel.top + panel.height + 2,
            "ring: the label that each direction gets; hollow star: fills up",
        ),
    ]


def _graph_parts(panel: Panel, view: PrototypeView) -> list[str]:
    gate = min(view.settings.eta_max, 1.0)
    most = panel.ylim[1] / 1.08
    parts = [
        axes(
            panel, title="Decision graph: the gate lets pass what lies left of it",
            xlabel="similarity to something denser, η", ylabel="density ρ",
            xticks=[(float(stretch(value)), name) for value, name in _ETA_TICKS],
            yticks=[(-most, f"−{most:.0f}"), (0, "0"), (most, f"{most:.0f}")],
        ),
        polyline(panel, [0, 1], [0, 0], colour=FAINT, width=1),
    ]  # fmt: skip
    for c, graph in enumerate(view.graphs):
        parts.append(dots(panel, stretch(graph.eta), graph.rho, colour=colour_of(c), size=4.5, opacity=0.7))
    for c, passed, place in _prototype_places(view):
        x, y = stretch(view.prototypes.eta[c, place]), view.prototypes.rho[c, place]
        parts.append(stars(panel, x, y, colour=colour_of(c), hollow=not passed))
    parts.append(polyline(panel, stretch([gate, gate]), panel.ylim, colour=INK, width=1.6, dashed=True))
    return [*parts, words(float(panel.x(stretch(gate))) - 5, panel.top + 8, f"η < {gate:g}", text_anchor="end")]


_ETA_TICKS = ((-1.0, "−1"), (0.0, "0"), (0.5, "0.5"), (0.8, "0.8"), (0.95, "0.95"), (0.99, "0.99"), (1.0, "1"))


def stretch(eta: Any) -> NDArray[np.float64]:
    """A place from 0 to 1 for a cosine from -1 to 1, with most of the room for those close to 1."""
    angle = np.arccos(np.clip(np.asarray(eta, dtype=np.float64), -1, 1))
    place: NDArray[np.float64] = 1 - np.sqrt(angle / math.pi)
    return place


def _prototype_places(view: PrototypeView) -> list[tuple[int, bool, Tensor]]:
    """For each class the places of the prototypes that passed the gate, and of those that filled up, if any."""
    found, places = view.prototypes, []
    for c, count in enumerate(found.count.tolist()):
        for passed in (True, False):
            keep = (found.eta[c, :count] < view.settings.eta_max) == passed
            if keep.any():
                places.append((c, passed, keep.nonzero().flatten()))
    return places


def _points_and_labels(data: NoisyDataset) -> tuple[Tensor, Tensor]:
    if isinstance(data.images, ImageFiles) or data.images.ndim != 2 or data.images.shape[1] != 2:
        raise ValueError(f"{data.name} holds no points in the plane, which is what the explorer draws.")
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which labels are right.")
    return data.images, data.clean_labels
