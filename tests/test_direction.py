"""Noise with a direction, and classes thinned out: digits, and CIFAR with published labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dsl_teach import Settings, load_dataset
from dsl_teach.data.digits import digits
from tests.tiny_cifar import write_cifar10


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


def test_any_direction_is_what_digits_always_were():
    plain, named = digits(seed=2, rarest_share=0.2), digits(seed=2, rarest_share=0.2, direction="any")
    assert torch.equal(plain.noisy_labels, named.noisy_labels)
    assert plain.made_from == named.made_from


@pytest.fixture
def cifar(tmp_path):
    """100 images, and labels of which every third is wrong."""
    clean = write_cifar10(tmp_path, train=100)
    noisy = np.where(np.arange(100) % 3 == 0, (clean + 1 + np.arange(100) % 8) % 10, clean)
    np.savez(tmp_path / "labels.npz", mine=noisy)
    return {
        "dataset": "cifar10",
        "data_root": str(tmp_path),
        "official_files": False,
        "labels_file": str(tmp_path / "labels.npz"),
        "labels_name": "mine",
    }


def test_cifar_thins_out_as_digits_do(cifar):
    data = load_dataset(Settings(rarest_share=0.1, **cifar))
    assert torch.bincount(data.clean_labels).tolist() == [round(10 * x) for x in np.linspace(1, 0.1, 10)]
    assert "classes thinned from 1 to 0.1; " in data.made_from
    full = load_dataset(Settings(**cifar))
    pairs = zip(full.images, full.noisy_labels, strict=True)
    by_pixels = {image.numpy().tobytes(): label for image, label in pairs}
    kept = [by_pixels[image.numpy().tobytes()] for image in data.images]
    assert torch.equal(torch.stack(kept), data.noisy_labels)  # each label stayed with its image


@pytest.mark.parametrize("direction", ["to_frequent", "to_rare"])
def test_cifars_other_wrong_labels_are_set_right(cifar, direction):
    every = load_dataset(Settings(rarest_share=0.1, **cifar))
    data = load_dataset(Settings(rarest_share=0.1, noise_direction=direction, **cifar))
    sizes = torch.bincount(every.clean_labels)
    grows = sizes[every.noisy_labels] - sizes[every.clean_labels]
    kept = grows > 0 if direction == "to_frequent" else grows < 0
    assert torch.equal(data.noisy_labels, torch.where(kept, every.noisy_labels, every.clean_labels))
    assert 0 < int(kept.sum()) < int((every.noisy_labels != every.clean_labels).sum())
    assert data.made_from.endswith("classes only, the others set right")
