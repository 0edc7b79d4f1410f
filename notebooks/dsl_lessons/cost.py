"""What a full run costs: counted from its settings and from rates that are measured where this runs, never guessed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dsl_teach.config import Settings
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.data.decode import decode_image, resize_short_side
from dsl_teach.data.preparing import Job, make_small
from dsl_teach.seeds import stream
from dsl_teach.training.hardware import make_optimizer, prepare
from dsl_teach.training.loop import correction_is_due
from dsl_teach.training.losses import self_learning_loss
from dsl_teach.training.memory import activation_bytes, in_words
from dsl_teach.training.networks import EmbeddingNetwork, build_network

SIDE = 224


@dataclass(frozen=True)
class Work:
    """How many images a run sends through the network."""

    trained: int
    """Forward and backward, all epochs together."""
    looked_at: int
    """Forward alone: corrections, and a test after every epoch."""


@dataclass(frozen=True)
class Rates:
    """Images a second."""

    training: float
    looking: float


@dataclass(frozen=True)
class Reading:
    """What it takes to read image files, before and after they are prepared."""

    seconds: float
    """Processor seconds for one image as it lies on disk, decoded and scaled."""
    seconds_prepared: float
    bytes: float
    """Of one file in the mean."""
    bytes_prepared: float


def work_of(settings: Settings, *, train: int, test: int) -> Work:
    """Count the images of a run.

    Args:
        settings: epochs, and when labels are corrected.
        train: training images.
        test: test images.
    """
    corrections = sum(correction_is_due(settings, epoch) for epoch in range(settings.epochs + 1))
    passes = corrections if settings.correction_mode == "exact" else 0
    return Work(settings.epochs * train, passes * train + settings.epochs * test)


def hours(work: Work, rates: Rates, *, gpus: int = 1) -> float:
    """Hours of a run if several GPUs work so many times as fast as one, which is the best that can be."""
    return (work.trained / rates.training + work.looked_at / rates.looking) / gpus / 3600


def rate_needed(work: Work, within_hours: float) -> float:
    """Images a second, trained and looked at alike, that would finish a run in so many hours."""
    return (work.trained + work.looked_at) / (3600 * within_hours)


def empty_network(settings: Settings, num_classes: int) -> EmbeddingNetwork:
    """The network of the settings for images on disk, with random weights."""
    files = ImageFiles(Path(), ())
    generator = stream(0, "weights")
    return build_network(settings.network, images=files, num_classes=num_classes, width=settings.width,
                         generator=generator, weights="none")  # fmt: skip


def measure_rates(
    settings: Settings, num_classes: int, *, device: str = "cpu", batch: int = 8, steps: int = 2
) -> Rates:
    """Train a few steps on random pixels, look at as many, and take the time.

    Args:
        settings: name the network and the precision.
        num_classes: K.
        device: where.
        batch: images a step; on a GPU take the batch of the run.
        steps: of each kind, after one that warms up.
    """
    network = prepare(empty_network(settings, num_classes).to(device), settings)
    images = torch.randint(0, 256, (batch, 3, SIDE, SIDE), dtype=torch.uint8, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    optimizer, _ = make_optimizer(network, settings)

    def train_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        self_learning_loss(network(images)[0], labels, None, 0.0).backward()
        optimizer.step()

    def look() -> None:
        with torch.inference_mode():
            network(images)

    training = batch / _seconds(train_step, steps, device)
    network.eval()
    return Rates(training, batch / _seconds(look, steps, device))


def _seconds(step: object, steps: int, device: str) -> float:
    """Seconds a step, after one that warms up."""
    assert callable(step)
    step()
    _settle(device)
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    _settle(device)
    return (time.perf_counter() - begun) / steps


def _settle(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure_reading(files: ImageFiles, *, count: int = 40, short_side: int = 256) -> Reading:
    """Read some images as they are, and small copies of them as data_scripts/prepare.py makes them.

    Args:
        files: the images; ``count`` of them are taken, evenly over the list.
        count: how many.
        short_side: of the copies.
    """
    chosen = [files.root / path for path in files.paths[:: max(1, len(files) // count)][:count]]
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / f"{number}{path.suffix}" for number, path in enumerate(chosen)]
        for source, target in zip(chosen, copies, strict=True):
            make_small(Job(source, target, short_side))
        kept = [path for path in copies if path.exists()]
        return Reading(
            _reading_seconds(chosen, short_side),
            _reading_seconds(kept, short_side),
            _mean_size(chosen),
            _mean_size(kept),
        )


def _reading_seconds(paths: Sequence[Path], short_side: int) -> float:
    begun = time.process_time()
    for path in paths:
        resize_short_side(decode_image(path), short_side)
    return (time.process_time() - begun) / max(1, len(paths))


def _mean_size(paths: Sequence[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / max(1, len(paths))


def gpu_memory(settings: Settings, num_classes: int, *, train: int) -> dict[str, str]:
    """GPU memory of a run, computed and not measured, by what takes it.

    Layer outputs are counted in full and in float32; in bfloat16 they take about half. What a framework keeps for
    itself is not counted.

    Args:
        settings: network, batch_size, m.
        num_classes: K.
        train: training images, whose embeddings the correction phase holds.
    """
    network = empty_network(settings, num_classes)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    outputs = activation_bytes(network, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)) * settings.batch_size
    embeddings = train * network.head.in_features * 4
    parts = {
        "weights, gradients, momentum": 3 * weights,
        f"layer outputs of {settings.batch_size} images": outputs,
        "embeddings of all training images": embeddings,
        "similarities of one class": 4 * 4 * min(settings.m, train) ** 2,
    }
    peak = 3 * weights + max(outputs, embeddings + parts["similarities of one class"])
    return {name: in_words(size) for name, size in (parts | {"at most at one time, about": peak}).items()}
