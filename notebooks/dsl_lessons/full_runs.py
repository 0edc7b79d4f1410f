"""Lesson 06: the paper's protocol, a sweep of runs and its table, and what a full run costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dsl_teach.config import KNOBS, Settings
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.metrics import interval
from dsl_teach.seeds import stream
from dsl_teach.sweep import Sweep, run_sweep
from dsl_teach.training.evaluation import evaluation
from dsl_teach.training.loop import correction_is_due, make_optimizer
from dsl_teach.training.losses import self_learning_loss
from dsl_teach.training.networks import build_network, prepare

LISTS = {
    "clothing1m": {"noisy_train_key_list.txt": 1_000_000, "clean_test_key_list.txt": 10_526},
    "food101n": {"imagelist.tsv": 310_009, "test.txt": 25_250},
}
"""Data set -> list of images -> how many it names: those that the figures in the literature are from."""
CLASSES = {"clothing1m": 14, "food101n": 101}
INSIDE = ("", "annotations", "meta", "Food-101N_release/meta", "food-101/meta")
SIDE = 224


def require_protocol(data: NoisyDataset, dataset: str, *roots: str | Path) -> dict[str, int]:
    """Hold to the protocol: train and test on the lists that the figures in the literature are from.

    Args:
        data: read from the folders; a synthetic data set may have any size.
        dataset: ``"clothing1m"`` or ``"food101n"``.
        roots: the folders that hold the lists.

    Returns:
        How many images each list names.

    Raises:
        ValueError: if a list is of another size.
    """
    sizes = {}
    for name, wanted in LISTS[dataset].items():
        path = next(place for root in roots for inner in INSIDE if (place := Path(root, inner, name)).is_file())
        lines = sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
        sizes[name] = lines - name.endswith(".tsv")  # these have a header
        if sizes[name] != wanted and not data.made_from.startswith("synthetic"):
            raise ValueError(
                f"{name} names {sizes[name]:,} images, but the figures of {data.name} are from {wanted:,}. "
                "Take the lists as they were published; a figure from others could not be compared."
            )
    return sizes


def run_trials(sweep: Sweep, output: Path, **how: Any) -> pd.DataFrame:
    """Run a sweep, or what is left of it: one row a run, with its knobs."""
    rows, settings = run_sweep(sweep, output, **how), [Settings(**trial.parameters) for trial in sweep.trials()]
    knobs = [{name: getattr(one, name) for name in KNOBS} for one in settings]
    return pd.DataFrame([row | more for row, more in zip(rows, knobs, strict=True)])


def accuracies(rows: pd.DataFrame, tested: int) -> pd.DataFrame:
    """Test accuracy of each method in percent, after the last epoch.

    With several seeds the interval is over seeds; with one it is that of a share among ``tested`` images.
    """
    lines = {}
    for method, group in rows.groupby("method", sort=False):
        values = (100 * group["test_accuracy"]).tolist()
        half = 1.96 * (values[0] * (100 - values[0]) / tested) ** 0.5
        told = str(interval(values)) if len(values) > 1 else f"{values[0]:.1f} ± {half:.1f}"
        over = f"{len(values)} seeds" if len(values) > 1 else f"one seed: from {tested:,} test images alone"
        lines[method] = {"test accuracy, %": told, "the interval is over": over}
    return pd.DataFrame.from_dict(lines, orient="index")


def cost_card(
    settings: Settings, *, train: int, test: int, classes: int, device: str, rate: float = 0.0
) -> pd.DataFrame:
    """What a full run costs: images are counted from its settings, rates are measured where this runs.

    Args:
        settings: of the run.
        train: training images.
        test: test images.
        classes: K.
        device: where to measure.
        rate: images a second in training that the reader has measured; 0: the one measured here.
    """
    corrections = sum(correction_is_due(settings, epoch) for epoch in range(settings.epochs + 1))
    passes = corrections if settings.correction_mode == "exact" else 0
    trained, looked_at = settings.epochs * train, passes * train + settings.epochs * test
    training, looking = measure_rates(settings, classes, device)
    training, looking = (rate, looking * rate / training) if rate else (training, looking)
    hours = (trained / training + looked_at / looking) / 3600
    source = "given by the reader" if rate else f"measured here, on {device}"
    lines = {
        "images trained, all epochs": f"{trained:,}",
        "images looked at (corrections, tests)": f"{looked_at:,}",
        "images a second needed to end within 24 hours": f"{(trained + looked_at) / 24 / 3600:.0f}",
        "images a second, trained": f"{training:.1f}, {source}",
        "images a second, looked at": f"{looking:.1f}",
        "hours on one such device": _hours(hours),
        "hours on eight, if they are eight times as fast": _hours(hours / 8),
    }
    return pd.DataFrame({f"full run, {settings.network}": lines})


def _hours(hours: float) -> str:
    return f"about {float(f'{hours:.2g}'):,.0f}" if hours >= 100 else f"{hours:.1f}"


def measure_rates(settings: Settings, classes: int, device: str) -> tuple[float, float]:
    """Images a second in training and in looking, on random pixels: on a CPU four at a time, else the run's batch."""
    network = build_network(
        settings.network, images=ImageFiles(Path(), ()), num_classes=classes, width=settings.width,
        generator=stream(0, "weights"),
    )  # fmt: skip
    network = prepare(network.to(device), settings)
    batch = 4 if device == "cpu" else settings.batch_size
    images = torch.randint(0, 256, (batch, 3, SIDE, SIDE), dtype=torch.uint8, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    optimizer, _ = make_optimizer(network, settings)

    def train_step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = self_learning_loss(network(images)[0], labels)
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for the device

    def look_once() -> float:
        with evaluation(network):
            return network(images)[0].sum().item()

    training, looking = (batch / _seconds(step) for step in (train_step, look_once))
    return training, looking


def _seconds(step: Callable[[], float]) -> float:
    """Seconds of a step, after one that warms up."""
    step()
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun
