"""Prototypes without a network: points whose labels go wrong, and what the correction phase makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dsl_lessons.explorers.page import PointSet, chosen_at, point_set
from dsl_lessons.toy import points_of
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.toy import toy_clusters, toy_moons
from dsl_teach.metrics import CorrectionReport, correction_report
from dsl_teach.noise import instance_dependent_noise
from dsl_teach.prototypes import Prototypes, correct_labels, select_prototypes
from dsl_teach.seeds import stream
from dsl_teach.training.evaluation import embed
from dsl_teach.training.runs import make_batches, run

RATES = tuple(tenths / 10 for tenths in range(9))
"""Shares of wrong labels that the explorer offers."""
BLUR = 0.3
"""How far, in units of the ring's radius, points look around to see which other class they might be taken for."""
TOY_RUN = (
    "mkdir -p ../runs && papermill 02_prototypes.ipynb ../runs/02_prototypes.ipynb -p p {p} -p m {m} "
    "-p quantile {quantile} -p eta_max {eta_max} -p noise_rate {noise_rate}"
)
DIGITS_RUN = (
    "echo 'dataset: digits' > run.yaml && dsl-teach train run.yaml --set p={p} --set m={m} --set quantile={quantile} "
    "--set eta_max={eta_max} --set noise_rate={noise_rate} --set alpha={alpha}"
)


@dataclass(frozen=True)
class PrototypeView:
    """The correction phase for one choice of settings."""

    points: Tensor
    """(N, 2), which are their own embeddings."""
    noisy_labels: Tensor
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


def toy_labels(data: NoisyDataset, noise_rate: float, *, seed: int) -> Tensor:
    """(N,) labels for points in the plane, a share of them wrong, most of these where classes meet."""
    points, clean = _points_and_labels(data)
    probabilities = look_alikes(points, clean, num_classes=data.num_classes)
    return instance_dependent_noise(probabilities, clean, noise_rate, generator=stream(seed, "noise")).noisy_labels


def explore_prototypes(data: NoisyDataset, settings: Settings) -> PrototypeView:
    """Mislabel points, choose prototypes among them, and correct the labels: the correction phase without a network.

    Args:
        data: points in the plane with clean labels; the points are their own embeddings.
        settings: ``p``, ``m``, ``quantile``, ``eta_max``, ``noise_rate``, ``seed``, and the readings of open points.

    Raises:
        ValueError: if the data are no points, or have no clean labels.
    """
    s, k, (points, clean) = settings, data.num_classes, _points_and_labels(data)
    labels = toy_labels(data, s.noise_rate or 0.0, seed=s.seed)
    prototypes = select_prototypes(
        points, labels, num_classes=k, p=s.p, m=s.m, eta_max=s.eta_max, quantile=s.quantile,
        generator=stream(s.seed, "sample"), diagonal=s.diagonal, rho_ties=s.rho_ties, fill_up=s.fill_up,
        cut_ties=s.cut_ties, small_class=s.small_class,
    )  # fmt: skip
    corrected = correct_labels(points, prototypes, labels, score_ties=s.score_ties)
    return PrototypeView(
        points, labels, prototypes, corrected, correction_report(labels, corrected, clean, num_classes=k)
    )


def view_of(points: PointSet, values: Mapping[str, Any]) -> PrototypeView:
    """What the explorer shows of a set in the plane for the values of its sliders."""
    given, (found, corrected) = points.noisy_labels[values["noise_rate"]], chosen_at(points, values)
    report = correction_report(given, corrected, points.clean_labels, num_classes=len(points.class_names))
    return PrototypeView(points.places, given, found, corrected, report)


def prototype_summary(view: PrototypeView) -> str:
    """One line: labels right before and after, fixed, broken, and how the gate did."""
    report, found, n = view.report, view.prototypes, len(view.points)
    return (
        f"Labels right: {report.noisy_accuracy:.1%} given, {report.label_accuracy:.1%} corrected "
        f"({round(n * (report.wrong_to_right or 0))} fixed, {round(n * (report.right_to_wrong or 0))} broken). "
        f"Passed the gate: {', '.join(str(c) for c in found.passed.tolist())} of "
        f"{', '.join(str(c) for c in found.sampled.tolist())}; places filled up: {int(found.filled.sum())}."
    )


def toy_set(data: NoisyDataset, *, seed: int, name: str = "") -> PointSet:
    """Points in the plane, ready for the explorer; those near another class go wrong first."""
    labels = {rate: toy_labels(data, rate, seed=seed) for rate in RATES}
    return point_set(data, points_of(data), labels, seed=seed, command=f"{TOY_RUN} -p seed {seed}", name=name)


def digits_set(*, seed: int, settings: Settings | None = None) -> PointSet:
    """Digits as a network sees them that was trained on noisy labels alone, which is what a first correction meets."""
    s = settings or Settings(alpha=0.0, epochs=5, seed=seed)
    data = load_dataset(s)
    labels = {rate: load_dataset(Settings(seed=seed, noise_rate=rate)).noisy_labels for rate in RATES}
    embeddings = embed(run(s, data).network, make_batches(data, s, "cpu")[0])
    return point_set(
        data, embeddings, labels, seed=seed, command=f"{DIGITS_RUN} --set seed={seed}", name="handwritten digits"
    )


def point_sets(*, seed: int) -> tuple[PointSet, ...]:
    """What the explorer offers without being told: islands side by side, classes that alternate, moons, digits."""
    shapes = {
        "4 islands a class": toy_clusters(seed=seed, modes=4),
        "classes that alternate": toy_clusters(seed=seed, modes=2, alternating=True),
        "two moons": toy_moons(seed=seed),
    }
    return (*(toy_set(data, seed=seed, name=name) for name, data in shapes.items()), digits_set(seed=seed))


def _points_and_labels(data: NoisyDataset) -> tuple[Tensor, Tensor]:
    points = points_of(data)
    if points.shape[1] != 2:
        raise ValueError(f"{data.name} holds no points in the plane, which is what the explorer draws.")
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which labels are right.")
    return points, data.clean_labels
