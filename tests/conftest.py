"""What tests share: the device under test, threads, and exact embeddings."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

from dsl_teach.data.stand_in import make_clothing1m, make_food101n

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where tensors of the tests live: DSL_TEACH_DEVICE=cuda runs the suite on a GPU."""
    return torch.device(os.environ.get("DSL_TEACH_DEVICE", "cpu"))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)  # workers of the test runner share the cores


@pytest.fixture(scope="session")
def small_clothing1m(tmp_path_factory):
    """A stand-in of Clothing1M that tests must not change: 3 classes, 30 noisy images, 6 to test on."""
    return make_clothing1m(tmp_path_factory.mktemp("stand-in") / "clothing1m", classes=3, images_per_class=10)


@pytest.fixture(scope="session")
def small_food101n(tmp_path_factory):
    """Stand-ins of Food-101N and Food-101 that tests must not change: 5 classes, 51 images, 10 to test on."""
    return make_food101n(tmp_path_factory.mktemp("stand-in") / "food", classes=5, images_per_class=10)
