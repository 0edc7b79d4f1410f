from pathlib import Path

import pytest
import torch

from dsl_teach.data.dataset import ImageFiles, NoisyDataset, subset, with_labels
from dsl_teach.data.toy import ring, toy_clusters, toy_moons
from dsl_teach.prototypes import correct_labels, select_prototypes


def nearest_island_is_foreign(dataset, num_classes, modes):
    """Share of the points that lie nearer to an island of another class than to their own."""
    middles = ring(num_classes, modes).flatten(0, 1).float()
    owner = torch.arange(num_classes).repeat_interleave(modes)
    nearest = torch.cdist(dataset.images, middles).argmin(dim=1)
    return (owner[nearest] != dataset.clean_labels).float().mean().item()


@pytest.mark.parametrize("make", [toy_clusters, toy_moons])
def test_points_are_what_every_data_set_gives(make):
    dataset = make(seed=0, samples_per_class=50)
    assert dataset.images.dtype == torch.float32
    assert dataset.images.shape == dataset.test_images.shape == (50 * dataset.num_classes, 2)
    assert torch.equal(dataset.clean_labels, dataset.noisy_labels)
    assert torch.bincount(dataset.noisy_labels).tolist() == [50] * dataset.num_classes
    dataset.noisy_labels[:] = 0
    assert torch.bincount(dataset.clean_labels).tolist() == [50] * dataset.num_classes


@pytest.mark.parametrize("make", [toy_clusters, toy_moons])
def test_points_follow_from_the_seed(make):
    one, same, other = make(seed=3), make(seed=3), make(seed=4)
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.test_images, same.test_images)
    assert not torch.equal(one.images, other.images)


def test_a_class_has_its_islands():
    dataset = toy_clusters(seed=0, num_classes=4, modes=3, overlap=0.01, samples_per_class=30)
    middles = ring(4, 3)
    for c in range(4):
        points = dataset.images[dataset.clean_labels == c]
        nearest = torch.cdist(points.double(), middles[c]).min(dim=1)
        assert nearest.values.max() < 0.02
        assert torch.bincount(nearest.indices).tolist() == [10, 10, 10]


def test_alternating_islands_have_other_classes_between_them():
    assert torch.allclose(ring(2, 2, alternating=True)[0, 0], -ring(2, 2, alternating=True)[0, 1])
    assert torch.allclose(ring(2, 2)[0, 0].roll(1), ring(2, 2)[0, 1], atol=1e-6)


def test_overlap_mixes_the_classes():
    shares = [
        nearest_island_is_foreign(toy_clusters(seed=0, overlap=overlap, samples_per_class=2000), 3, 2)
        for overlap in (0.2, 0.5, 1.0)
    ]
    assert shares[0] < 0.001
    assert 0.01 < shares[1] < 0.05
    assert 0.1 < shares[2] < 0.3


def corrected_share(dataset, p):
    """Share of the points that the method gives their true class, with p prototypes a class."""
    prototypes = select_prototypes(dataset.images, dataset.noisy_labels, num_classes=dataset.num_classes, p=p)
    corrected = correct_labels(dataset.images, prototypes, dataset.noisy_labels)
    return (corrected == dataset.clean_labels).float().mean().item()


def test_several_prototypes_stand_for_two_islands_better_than_one():
    datasets = [toy_clusters(seed=seed) for seed in range(5)]
    one, eight = (sum(corrected_share(dataset, p) for dataset in datasets) / 5 for p in (1, 8))
    assert one < 0.9 < 0.95 < eight


def test_no_number_of_prototypes_tells_alternating_classes_apart():
    dataset = toy_clusters(seed=0, alternating=True)
    assert max(corrected_share(dataset, p) for p in (1, 2, 8, 32)) < 0.6


def test_moons_reach_into_each_other():
    dataset = toy_moons(seed=0, samples_per_class=2000, spread=0.05)
    upper, lower = (dataset.images[dataset.clean_labels == c] for c in (0, 1))
    assert upper[:, 1].min() < lower[:, 1].max()  # no horizontal line between them
    assert upper[:, 0].max() > lower[:, 0].min()
    assert (upper.mean(dim=0) + lower.mean(dim=0)).abs().max() < 0.05
    nearest = torch.cdist(dataset.test_images, dataset.images).argmin(dim=1)
    assert (dataset.clean_labels[nearest] == dataset.test_labels).float().mean() > 0.99


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (toy_clusters, "num_classes", 1),
        *((toy_clusters, name, 0) for name in ("modes", "samples_per_class", "overlap")),
        (toy_clusters, "overlap", float("nan")),
        (toy_moons, "samples_per_class", 0),
        (toy_moons, "spread", -1),
    ],
)
def test_numbers_out_of_range_say_which(make, name, value):
    with pytest.raises(ValueError, match=rf"{name} = {value}\b"):
        make(seed=0, **{name: value})


# ------------------------------------------------------------------------------------------------ other labels


def test_other_labels_keep_images_and_truth():
    dataset = toy_clusters(seed=0)
    labels = dataset.clean_labels.clone()
    labels[:100] = 0
    noisy = with_labels(dataset, labels, made_from="100 labels set to 0")
    assert noisy.images is dataset.images
    assert torch.equal(noisy.noisy_labels, labels)
    assert torch.equal(noisy.clean_labels, dataset.clean_labels)
    assert noisy.made_from == f"{dataset.made_from}; 100 labels set to 0"
    again = with_labels(noisy, dataset.clean_labels, made_from="clean labels")
    assert again.made_from == f"{dataset.made_from}; clean labels"


def test_labels_that_do_not_fit_are_refused():
    dataset = toy_clusters(seed=0)
    with pytest.raises(ValueError, match="must have one entry for each of the 600 samples"):
        with_labels(dataset, dataset.noisy_labels[:-1], made_from="too few")
    with pytest.raises(ValueError, match=r"must lie in 0 .. 2"):
        with_labels(dataset, dataset.noisy_labels + 1, made_from="beyond")


def partly_known():
    """Eight files of two classes; three true labels are known."""
    paths = tuple(f"{i}.jpg" for i in range(8))
    return NoisyDataset(
        name="files",
        images=ImageFiles(Path("train"), paths),
        noisy_labels=torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]),
        clean_labels=torch.tensor([0, 1, 1, -1, -1, -1, -1, -1]),
        class_names=("cat", "dog"),
        test_images=ImageFiles(Path("test"), paths),
        test_labels=torch.zeros(8, dtype=torch.int64),
        made_from="drawn files; drawn labels",
    )


def test_subset_goes_by_the_noisy_label_where_the_truth_is_unknown():
    few = subset(partly_known(), 4, seed=0)
    assert few.noisy_labels.tolist() == [0, 0, 1, 1]
    assert few.images.paths[-2:] == ("6.jpg", "7.jpg")
    assert few.made_from == "drawn files, 4 images drawn with seed 0; drawn labels"
    with pytest.raises(ValueError, match="needs 3 samples of each class, but 'dog' has fewer"):
        subset(partly_known(), 6, seed=0)
