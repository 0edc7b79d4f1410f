"""Every data set that settings can name is loaded, and looks alike."""

import subprocess
import sys
from typing import get_args

import pytest
import torch
from make_synthetic import make_clothes

from dsl_teach import Settings, load_dataset
from dsl_teach.data.dataset import NoisyDataset
from tests.tiny_cifar import write_cifar10, write_cifar100


@pytest.fixture
def roots(small_clothing1m, small_food101n, tmp_path):
    write_cifar10(tmp_path / "cifar")
    write_cifar100(tmp_path / "cifar")
    clothes = make_clothes(tmp_path / "clothes", classes=3, images_per_class=20)
    here = {"data_root": str(tmp_path / "cifar"), "official_files": False}
    return {
        **{"cifar10": here, "cifar100": here, "clothes": {"data_root": str(clothes), "trust": True}},
        "clothing1m": {"data_root": str(small_clothing1m)},
        "food101n": {"data_root": str(small_food101n), "test_root": str(small_food101n)},
        "image_folder": {"data_root": str(small_food101n / "Food-101N_release" / "images")},
    }


@pytest.mark.filterwarnings("ignore:.*(verification label|has not been verified|left out)")
@pytest.mark.parametrize("dataset", get_args(Settings.model_fields["dataset"].annotation))
def test_every_data_set_gives_the_same_thing(dataset, roots):
    settings = Settings(dataset=dataset, **roots.get(dataset, {}))
    data, again, other = (load_dataset(x) for x in (settings, settings, settings.replace(seed=1)))
    assert isinstance(data, NoisyDataset)
    assert len(data.images) == len(data.noisy_labels) == len(data) > 0
    assert data.noisy_labels.dtype == data.test_labels.dtype == torch.int64
    assert len(data.test_images) == len(data.test_labels) > 0
    assert data.made_from
    assert torch.equal(data.noisy_labels, again.noisy_labels)
    if dataset == "cifar100":
        assert data.noisy_labels.tolist() == [i % 100 for i in range(200)]  # the fine classes
    if isinstance(data.images, torch.Tensor):
        assert torch.equal(data.images, again.images)
        assert torch.equal(data.images, other.images) == dataset.startswith("cifar")


@pytest.mark.parametrize("dataset", ["digits", "toy_clusters", "toy_moons"])
def test_noise_comes_at_the_requested_rate(dataset):
    data = load_dataset(Settings(dataset=dataset, noise_rate=0.2))
    assert int((data.noisy_labels != data.clean_labels).sum()) == round(0.2 * len(data))


def test_a_data_set_imports_only_what_it_needs():
    program = "import sys, dsl_teach as d; d.load_dataset(d.Settings(dataset='toy_moons')); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torchvision", "sklearn", "PIL", "torchcodec", "pandas"} & set(done.stdout.split())
