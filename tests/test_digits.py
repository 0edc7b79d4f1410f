"""Digits: split, thinning, noise at the requested rate, reproducible."""

from __future__ import annotations

import pytest
import torch

from dsl_teach import Settings
from dsl_teach.data.digits import digits, neighbour_probabilities
from dsl_teach.noise import noise_report


@pytest.mark.parametrize("rarest_share", [1.0, 0.15])
@pytest.mark.parametrize("noise_rate", [0.0, 0.3, 0.4])
def test_noise_comes_at_the_requested_rate(noise_rate, rarest_share):
    data = digits(seed=1, noise_rate=noise_rate, rarest_share=rarest_share)
    wrong = int((data.noisy_labels != data.clean_labels).sum())
    assert wrong == round(noise_rate * len(data))


def test_the_split_is_70_to_30_and_the_test_set_is_balanced():
    data = digits(seed=0)
    assert len(data) == 1797 - round(0.3 * 1797)
    per_class = torch.bincount(data.test_labels)
    assert len(data.test_labels) <= round(0.3 * 1797)
    assert per_class.unique().numel() == 1
    assert int(per_class[0]) >= 40


def test_classes_thin_out_evenly():
    full, thinned = (torch.bincount(digits(seed=0, rarest_share=s).clean_labels) for s in (1.0, 0.15))
    shares = thinned / full
    torch.testing.assert_close(shares, torch.linspace(1, 0.15, 10), atol=0.01, rtol=0)


def test_a_seed_gives_the_same_samples_and_another_seed_others():
    one, same, other = (digits(seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.noisy_labels, same.noisy_labels)
    assert not torch.equal(one.images, other.images)


def odds_of_confusable_images(data):
    """How many times as often the less certain half of the images is mislabelled."""
    probabilities = neighbour_probabilities(data.images.flatten(1), data.clean_labels, num_classes=10)
    sure = probabilities.gather(1, data.clean_labels[:, None]).squeeze(1)
    wrong = (data.noisy_labels != data.clean_labels).double()
    return float(wrong[sure < sure.median()].mean() / wrong[sure >= sure.median()].mean())


def test_confusable_images_are_mislabelled_more_often():
    by_temperature = [
        odds_of_confusable_images(digits(seed=0, noise_rate=0.2, temperature=temperature))
        for temperature in (0.0, 1.0, 2.0, 1000.0)
    ]
    assert by_temperature == sorted(by_temperature, reverse=True)
    assert by_temperature[1] > 2
    assert by_temperature[2] > 1.4
    assert by_temperature[3] < 1.3


def test_the_wrong_label_is_a_digit_that_an_image_resembles():
    """A wrong label is far likelier by the neighbours than a class drawn from the other nine would be."""
    data = digits(seed=0)
    probabilities = neighbour_probabilities(data.images.flatten(1), data.clean_labels, num_classes=10)
    others = probabilities.scatter(1, data.clean_labels[:, None], 0.0)
    wrong = data.noisy_labels != data.clean_labels
    given = others.gather(1, data.noisy_labels[:, None]).squeeze(1)[wrong]
    assert given.mean() > 2 * (others[wrong].sum(dim=1) / 9).mean()


def test_the_true_digit_stays_the_commonest_behind_each_label():
    data = digits(seed=0, noise_rate=0.4)
    assert noise_report(data.clean_labels, data.noisy_labels, 10).true_class_leads.all()


def test_neighbour_probabilities_by_hand():
    """Three points on a line at 0, 1 and 3: the median nearest distance is 1."""
    probabilities = neighbour_probabilities(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]), num_classes=2)
    near, middle, far = (torch.exp(torch.tensor(-d * d / 2, dtype=torch.float64)) for d in (1.0, 2.0, 3.0))
    expected = torch.stack(
        [torch.stack([near, far]) / (near + far), torch.stack([near, middle]) / (near + middle), torch.tensor([1.0, 0])]
    )
    torch.testing.assert_close(probabilities, expected)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("direction", ["to_frequent", "to_rare"])
def test_digits_go_one_way_at_the_same_rate(direction, seed):
    data = digits(seed=seed, noise_rate=0.3, rarest_share=0.15, direction=direction)
    wrong = data.noisy_labels != data.clean_labels
    assert int(wrong.sum()) == round(0.3 * len(data))
    sizes = torch.bincount(data.clean_labels)
    grows = sizes[data.noisy_labels[wrong]] - sizes[data.clean_labels[wrong]]
    assert bool((grows > 0).all() if direction == "to_frequent" else (grows < 0).all())
    assert "classes only, classes thinned" in data.made_from


@pytest.mark.parametrize(
    "settings",
    [
        {"noise_direction": "to_rare"},
        {"dataset": "clothing1m", "data_root": "somewhere", "rarest_share": 0.5},
        {"dataset": "clothing1m", "data_root": "somewhere", "noise_direction": "to_rare"},
    ],
)
def test_a_direction_needs_classes_that_can_be_uneven(settings):
    with pytest.raises(ValueError, match=r"set rarest_share below 1|is for digits, cifar10, cifar100"):
        Settings(**settings)
