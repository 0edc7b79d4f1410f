"""Points in the plane: classes made of several islands, and two half-moons. Everything about them can be drawn.

The islands lie on a ring around the origin. The method compares samples by the angle between them, so on a ring
nearness to the eye and nearness to the method are the same thing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset, confused_labels, with_labels
from dsl_teach.data.digits import neighbour_probabilities
from dsl_teach.seeds import stream


def load(settings: Settings) -> NoisyDataset:
    """Clusters or moons as the settings name them; points that lie close to another class are mislabelled first."""
    data = (toy_moons if settings.dataset == "toy_moons" else toy_clusters)(seed=settings.seed)
    assert isinstance(data.images, Tensor)
    likely = neighbour_probabilities(data.images, data.noisy_labels, num_classes=data.num_classes)
    told = f"{settings.noise_rate or 0.0:.0%} input-dependent label noise"
    return with_labels(data, confused_labels(likely, data.noisy_labels, settings), made_from=told)


def toy_clusters(
    *,
    seed: int,
    num_classes: int = 3,
    modes: int = 2,
    samples_per_class: int = 200,
    overlap: float = 0.3,
    alternating: bool = False,
) -> NoisyDataset:
    r"""Classes of ``modes`` round islands each; the middles of all n = K * modes lie on a ring of radius 1.

    .. math:: \text{standard deviation of an island} = \text{overlap} \cdot \sin(\pi / n)

    where sin(pi / n) is half the distance between neighbouring middles: overlap 0.2 leaves gaps between the islands,
    0.5 lets their edges touch, from 1 on they run into each other. The islands of a class are neighbours, or, if
    ``alternating``, have islands of other classes between them. Alternating classes cannot be separated by the mean
    cosine to their prototypes, however many: a network has to move the points first.

    Returns:
        float32 points (N, 2), N = K * samples_per_class, labels that are all right, and as many points to test on.
    """
    middles = ring(num_classes, modes, alternating=alternating)
    spread = overlap * math.sin(math.pi / (num_classes * modes))
    sample = torch.arange(num_classes * samples_per_class)
    labels = sample % num_classes  # classes take turns, and so do the islands of a class
    island = sample.div(num_classes, rounding_mode="floor") % modes

    def points(generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(sample), 2, generator=generator, dtype=torch.float64)
        return middles[labels, island] + spread * noise

    names = tuple(f"class {c}" for c in range(num_classes))
    told = f"points on a ring, {num_classes} classes of {modes} island(s), overlap {overlap:g}"
    return _dataset("toy clusters", points, labels, names, told, seed)


def toy_moons(*, seed: int, spread: float = 0.1) -> NoisyDataset:
    """Two half-moons that reach into each other: no straight line separates them, no single point stands for either.

    Both have radius 1 and come within about a quarter of each other; ``spread`` is the standard deviation of the points
    around their arc.

    Returns:
        float32 points (N, 2) with their middle at the origin, labels that are all right, and as many to test on.
    """
    labels = torch.arange(400) % 2  # 200 of each moon

    def points(generator: torch.Generator) -> Tensor:
        angle = math.pi * torch.rand(len(labels), generator=generator, dtype=torch.float64)
        side = 1.0 - 2.0 * labels  # +1 for the upper moon; the lower one is the upper turned by half a circle
        arc = torch.stack([side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)], dim=1)
        return arc + spread * torch.randn(len(labels), 2, generator=generator, dtype=torch.float64)

    told = f"points on two half-moons, spread {spread:g}"
    return _dataset("toy moons", points, labels, ("upper moon", "lower moon"), told, seed)


def ring(num_classes: int, modes: int, *, alternating: bool = False) -> Tensor:
    """The middles of the islands, evenly on a circle of radius 1: (K, modes, 2), the islands of class 0 first."""
    angle = torch.arange(num_classes * modes, dtype=torch.float64) * (2 * math.pi / (num_classes * modes))
    middles = torch.stack([angle.cos(), angle.sin()], dim=1)
    if alternating:
        return middles.view(modes, num_classes, 2).transpose(0, 1)
    return middles.view(num_classes, modes, 2)


Points = Callable[[torch.Generator], Tensor]


def _dataset(name: str, points: Points, labels: Tensor, classes: tuple[str, ...], told: str, seed: int) -> NoisyDataset:
    train, test = (points(stream(seed, "toy", side)).float() for side in ("train", "test"))
    return NoisyDataset(name, train, labels, classes, test, labels.clone(), labels.clone(), made_from=told)
