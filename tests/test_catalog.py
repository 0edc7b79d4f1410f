"""Every data set that settings can name is loaded, and looks alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dsl_teach.config import DATASETS, ON_DISK, Settings
from dsl_teach.data import catalog
from dsl_teach.data.catalog import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from tests.tiny_cifar import write_cifar10


@pytest.fixture
def roots(small_clothing1m, small_food101n, tmp_path):
    write_cifar10(tmp_path / "cifar")
    return {
        "cifar10": {"data_root": str(tmp_path / "cifar"), "official_files": False},
        "clothing1m": {"data_root": str(small_clothing1m)},
        "food101n": {"data_root": str(small_food101n), "test_root": str(small_food101n)},
    }


def test_every_name_has_a_loader():
    assert set(catalog._LOADERS) == set(DATASETS)


@pytest.mark.parametrize("dataset", ["digits", "toy_clusters", "toy_moons", "cifar10", "clothing1m", "food101n"])
def test_every_data_set_gives_the_same_thing(dataset, roots):
    data = load_dataset(Settings(dataset=dataset, noise_rate=0.2, max_unreadable=0.2, **roots.get(dataset, {})))
    assert isinstance(data, NoisyDataset)
    assert len(data.images) == len(data.noisy_labels) == len(data) > 0
    assert data.noisy_labels.dtype == data.test_labels.dtype == torch.int64
    assert len(data.test_images) == len(data.test_labels) > 0
    assert data.made_from
    assert torch.equal(data.index, torch.arange(len(data)))


@pytest.mark.parametrize("dataset", ["digits", "toy_clusters", "toy_moons"])
def test_noise_comes_at_the_requested_rate(dataset):
    data = load_dataset(Settings(dataset=dataset, noise_rate=0.2))
    assert int((data.noisy_labels != data.clean_labels).sum()) == round(0.2 * len(data))


@pytest.mark.parametrize("dataset", ON_DISK)
def test_a_data_set_on_disk_needs_its_folder(dataset):
    with pytest.raises(ValueError, match=f"data_root must name the folder of {dataset}"):
        Settings(dataset=dataset)


def test_food101n_needs_its_test_set():
    with pytest.raises(ValueError, match="test_root must name the folder of Food-101"):
        Settings(dataset="food101n", data_root="somewhere")


def test_published_labels_are_put_on_cifar(roots, tmp_path):
    plain = load_dataset(Settings(dataset="cifar10", **roots["cifar10"]))
    wrong = (plain.noisy_labels + (torch.arange(len(plain)) % 5 == 0)) % 10
    np.savez(tmp_path / "labels.npz", mine=wrong.numpy())
    data = load_dataset(
        Settings(dataset="cifar10", labels_file=str(tmp_path / "labels.npz"), labels_name="mine", **roots["cifar10"])
    )
    assert torch.equal(data.noisy_labels, wrong)
    assert torch.equal(data.clean_labels, plain.noisy_labels)
