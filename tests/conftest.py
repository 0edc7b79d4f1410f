"""What tests share: the device under test, threads, and small data sets on disk."""

import csv
import importlib.util
import os
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from tests import ROOT, jupyter_page

sys.path.insert(0, str(ROOT / "data_scripts"))

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where tensors of the tests live: DSL_TEACH_DEVICE=cuda runs the suite on a GPU."""
    return torch.device(os.environ.get("DSL_TEACH_DEVICE", "cpu"))


@pytest.fixture(autouse=True, scope="session")
def signals_count() -> None:
    """Under nohup, or in the background of a shell, signals are ignored, here and in every child."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)  # workers of the test runner share the cores


@pytest.fixture(scope="session")
def small_clothing1m(tmp_path_factory):
    """Clothing1M's layout, which tests must not change: 3 classes, 30 noisy images, 6 to test on."""
    from make_synthetic import make_clothing1m

    return make_clothing1m(tmp_path_factory.mktemp("synthetic") / "clothing1m", classes=3, images_per_class=10)


@pytest.fixture(scope="session")
def small_food101n(tmp_path_factory):
    """Food-101N's and Food-101's layout, which tests must not change: 5 classes, 51 images, 10 to test on."""
    from make_synthetic import make_food101n

    return make_food101n(tmp_path_factory.mktemp("synthetic") / "food", classes=5, images_per_class=10)


@pytest.fixture
def clothing(small_clothing1m, tmp_path):
    """A copy to change."""
    return shutil.copytree(small_clothing1m, tmp_path / "clothing1m")


@pytest.fixture
def food(small_food101n, tmp_path):
    """A copy to change."""
    return shutil.copytree(small_food101n, tmp_path / "food")


def true_labels(files):
    """(N,) int64, the true label of each image of a synthetic data set."""
    root = next(x for x in (files.root, files.root.parent) if (x / "SYNTHETIC_truth.txt").exists())
    truth = dict(line.rsplit(" ", 1) for line in (root / "SYNTHETIC_truth.txt").read_text().splitlines())
    return torch.tensor([int(truth[path]) for path in files.paths])


def solutions(lesson):
    path = ROOT / "notebooks" / "solutions" / f"lesson_{lesson}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def lines(path):
    return path.read_text().splitlines()


def listed_image(root, number=0, name="noisy_train"):
    """Clothing1M's image of this number in one of its lists."""
    return root / lines(root / f"{name}_key_list.txt")[number]


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def state_of(folder):
    """Everything in a folder: names, kinds, permissions, times, bytes; of a pipe no bytes."""
    states = {path: path.lstat() for path in [folder, *folder.rglob("*")]}
    return {
        path: (state.st_mode, state.st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path, state in states.items()
    }


def draw_photos(root, names, misfiled):
    """Pictures, red in the folders red and cat, green in others, and the other way round if misfiled; features."""
    random, features = np.random.default_rng(0), []
    for name in names:
        is_red = name.startswith(("red/", "cat/")) != (name in misfiled)
        pixels = random.normal((200, 40, 40) if is_red else (40, 180, 60), 20, (32, 24, 3)).clip(0, 255)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
        features.append(pixels.reshape(-1, 4, 3).mean(axis=0).flatten() / 255)
    return np.array(features, dtype=np.float32)


@pytest.fixture(scope="module")
def chrome():
    """A browser; without one its tests are skipped."""
    if jupyter_page.chromium() is None:
        pytest.skip(jupyter_page.HOW_TO_INSTALL)
    with jupyter_page.browser() as started:
        yield started
