"""Points in the plane: classes made of several islands, and two half-moons. Everything about them can be drawn.

The islands lie on a ring around the origin. The method compares samples by the angle between them, so on a ring
nearness to the eye and nearness to the method are the same thing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dsl_teach.data.dataset import NoisyDataset, with_labels
from dsl_teach.data.digits import neighbour_probabilities
from dsl_teach.noise import instance_dependent_noise
from dsl_teach.seeds import stream

if TYPE_CHECKING:
    from dsl_teach.config import Settings


def load(settings: Settings) -> NoisyDataset:
    """Clusters or moons as the settings name them; points that lie close to another class are mislabelled first."""
    s = settings
    data = toy_clusters(seed=s.seed) if s.dataset == "toy_clusters" else toy_moons(seed=s.seed)
    assert isinstance(data.images, Tensor)
    probabilities = neighbour_probabilities(data.images, data.noisy_labels, num_classes=data.num_classes)
    noise = instance_dependent_noise(
        probabilities, data.noisy_labels, s.noise_rate or 0.0, generator=stream(s.seed, "noise"),
        temperature=s.noise_temperature,
    )  # fmt: skip
    return with_labels(data, noise.noisy_labels, made_from=f"{s.noise_rate:.0%} input-dependent label noise")


def toy_clusters(
    *,
    seed: int,
    num_classes: int = 3,
    modes: int = 2,
    samples_per_class: int = 200,
    overlap: float = 0.3,
    alternating: bool = False,
) -> NoisyDataset:
    r"""Classes of several round islands on a ring of radius 1.

    The spread of an island follows from the overlap and the n = K * modes islands of the ring,

    .. math:: \text{standard deviation} = \text{overlap} \cdot \sin(\pi / n)

    where sin(pi / n) is half the distance between the middles of two neighbouring islands.

    Args:
        seed: the points follow from it.
        num_classes: K, at least 2.
        modes: islands a class. With 2 or more, one prototype cannot stand for the whole class.
        samples_per_class: training points a class, spread evenly over its islands; the test set is as large.
        overlap: 0.2 leaves gaps between the islands, 0.5 lets their edges touch, from 1 on they run into each other.
        alternating: the islands of a class are neighbours (False), or have islands of other classes between them
            (True). Alternating classes cannot be told apart by the mean cosine to their prototypes, however many:
            a network has to move the points first.

    Returns:
        float32 points (N, 2), labels that are all right, and a test set of new points.

    Raises:
        ValueError: if a number is out of range.
    """
    _require(
        num_classes=(num_classes, 2),
        modes=(modes, 1),
        samples_per_class=(samples_per_class, 1),
        overlap=(overlap, 1e-9),
    )
    middles = ring(num_classes, modes, alternating=alternating)
    spread = overlap * math.sin(math.pi / (num_classes * modes))
    train, test = (_islands(middles, spread, samples_per_class, stream(seed, "toy", x)) for x in ("train", "test"))
    names = tuple(f"class {c}" for c in range(num_classes))
    told = f"points on a ring, {num_classes} classes of {modes} island(s), overlap {overlap:g}"
    return _dataset("toy clusters", train, test, names, told)


def toy_moons(*, seed: int, samples_per_class: int = 200, spread: float = 0.1) -> NoisyDataset:
    """Two half-moons that reach into each other: no straight line separates them, no single point stands for either.

    Both have radius 1 and come within about a quarter of each other; ``spread`` is the standard deviation of the points
    around their arc. As many points of each are made to train on as to test on.

    Returns:
        float32 points (N, 2) with their middle at the origin, labels that are all right, and a test set.
    """
    _require(samples_per_class=(samples_per_class, 1), spread=(spread, 1e-9))
    train, test = (_moons(samples_per_class, spread, stream(seed, "toy", x)) for x in ("train", "test"))
    return _dataset(
        "toy moons", train, test, ("upper moon", "lower moon"), f"points on two half-moons, spread {spread:g}"
    )


def ring(num_classes: int, modes: int, *, alternating: bool = False) -> Tensor:
    """The middles of the islands, evenly on a circle of radius 1: (K, modes, 2), the islands of class 0 first."""
    angle = torch.arange(num_classes * modes, dtype=torch.float64) * (2 * math.pi / (num_classes * modes))
    middles = torch.stack([angle.cos(), angle.sin()], dim=1)
    if alternating:
        return middles.view(modes, num_classes, 2).transpose(0, 1)
    return middles.view(num_classes, modes, 2)


Points = tuple[Tensor, Tensor]
"""(N, 2) float32 points, and their (N,) labels."""


def _islands(middles: Tensor, spread: float, samples_per_class: int, generator: torch.Generator) -> Points:
    """Classes take turns, so the first n samples hold all of them; so do the islands within a class."""
    num_classes, modes, _ = middles.shape
    sample = torch.arange(num_classes * samples_per_class)
    labels = sample % num_classes
    island = sample.div(num_classes, rounding_mode="floor") % modes
    noise = torch.randn(len(sample), 2, generator=generator, dtype=torch.float64)
    return (middles[labels, island] + spread * noise).float(), labels


def _moons(samples_per_class: int, spread: float, generator: torch.Generator) -> Points:
    labels = torch.arange(2 * samples_per_class) % 2
    angle = math.pi * torch.rand(len(labels), generator=generator, dtype=torch.float64)
    side = 1.0 - 2.0 * labels  # +1 for the upper moon; the lower one is the upper turned by half a circle
    arc = torch.stack([side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)], dim=1)
    noise = torch.randn(len(labels), 2, generator=generator, dtype=torch.float64)
    return (arc + spread * noise).float(), labels


def _dataset(name: str, train: Points, test: Points, class_names: tuple[str, ...], made_from: str) -> NoisyDataset:
    (points, labels), (test_points, test_labels) = train, test
    return NoisyDataset(
        name, points, labels, class_names, test_points, test_labels, clean_labels=labels.clone(), made_from=made_from
    )


def _require(**numbers: tuple[float, float]) -> None:
    for name, (value, least) in numbers.items():
        if not value >= least:
            raise ValueError(f"{name} must be at least {least:g}, but it is {value}.")
