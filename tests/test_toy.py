import dataclasses
import math

import pytest
import torch

from dsl_teach.data.dataset import with_labels
from dsl_teach.data.toy import ring, toy_clusters, toy_moons


@pytest.mark.parametrize("overlap", [0.01, 0.1])
def test_a_class_has_its_islands_and_overlap_is_their_width(overlap):
    dataset = toy_clusters(seed=0, num_classes=4, modes=3, overlap=overlap, samples_per_class=300)
    middles = ring(4, 3)
    for c in range(4):
        points = dataset.images[dataset.clean_labels == c]
        nearest = torch.cdist(points.double(), middles[c]).min(dim=1)
        deviation = float(nearest.values.square().mean().div(2).sqrt())
        assert deviation == pytest.approx(overlap * math.sin(math.pi / 12), rel=0.2)
        assert torch.bincount(nearest.indices).tolist() == [100, 100, 100]


def test_alternating_islands_have_other_classes_between_them():
    assert torch.allclose(ring(2, 2, alternating=True)[0, 0], -ring(2, 2, alternating=True)[0, 1])
    assert torch.allclose(ring(2, 2)[0, 0].roll(1), ring(2, 2)[0, 1], atol=1e-6)


def test_moons_are_half_circles_turned_against_each_other():
    dataset = toy_moons(seed=0, spread=1e-4)
    arc = dataset.images * (1 - 2 * dataset.clean_labels[:, None]) + torch.tensor([0.5, 0.25])
    assert (arc.norm(dim=1) - 1).abs().max() < 1e-3
    assert arc[:, 1].min() > -1e-3


def test_other_labels_keep_images_and_truth():
    dataset = toy_clusters(seed=0)
    labels = dataset.clean_labels.clone()
    labels[:100] = 0
    noisy = with_labels(dataset, labels, made_from="100 labels set to 0")
    assert noisy.images is dataset.images
    assert torch.equal(noisy.noisy_labels, labels)
    assert torch.equal(noisy.clean_labels, dataset.clean_labels)
    again = with_labels(noisy, dataset.clean_labels, made_from="clean labels")
    assert again.made_from == f"{dataset.made_from}; clean labels"
    with pytest.raises(ValueError, match="must have one entry for each of the 600 samples"):
        with_labels(dataset, dataset.noisy_labels[:-1], made_from="too few")
    with pytest.raises(ValueError, match=r"must lie in 0 .. 2"):
        with_labels(dataset, dataset.noisy_labels + 1, made_from="beyond")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((x, y) for x in ("images", "test_images") for y in (math.nan, math.inf)),
        ("clean_labels", -100),
        ("test_labels", -1),
    ],
)
def test_numbers_that_mean_nothing_are_refused(field, value):
    data = toy_moons(seed=0)
    getattr(data, field)[7] = value
    with pytest.raises(ValueError, match=f"{field} must (be finite, but 1 of 400 are not: 7 first|lie in 0)"):
        dataclasses.replace(data)
