"""What tests share: the device under test, threads, and exact embeddings."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where tensors of the tests live: DSL_TEACH_DEVICE=cuda runs the suite on a GPU."""
    return torch.device(os.environ.get("DSL_TEACH_DEVICE", "cpu"))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)  # workers of the test runner share the cores
