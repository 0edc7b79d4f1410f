"""What the loop costs beside a bare one, what correction adds to an epoch, and how that grows with the samples."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from benchmarks.measure import figure, in_its_own_process, paired_ratio, peak_bytes, seconds
from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.metrics import accuracy, interval, paired_difference
from dsl_teach.prototypes import correct_labels, select_prototypes
from dsl_teach.seeds import stream
from dsl_teach.training.correction import correct
from dsl_teach.training.loop import begin, fit, make_optimizer, train_epoch
from dsl_teach.training.networks import EmbeddingNetwork, build_network, prepare
from dsl_teach.training.runs import run

CPU = time.process_time
"""What other programs on the machine take does not count."""

SMALL = Settings(network="small_cnn", width=16, batch_size=64, epochs=1, alpha=0.0)
RESNET = SMALL.replace(network="resnet18_small", batch_size=32, precision="float32")


def figures() -> list[dict[str, Any]]:
    """The figures of this module."""
    return [
        loop_against_bare("small CNN of width 16", SMALL, samples=1920, n=61),
        loop_against_bare("ResNet-18 for 32 pixels", RESNET, samples=64, n=15),
        epoch_against_cross_entropy("exact", 1.40),
        epoch_against_cross_entropy("streamed", 1.05),
        labels_lost_by_streaming(),
        *(time_of_correction(classes) for classes in (14, 101)),
        *(memory_of_correction(classes) for classes in (14, 101)),
    ]


def images_and_network(settings: Settings, samples: int) -> tuple[InMemoryBatches, Callable[[], EmbeddingNetwork]]:
    """Noise of 32 x 32 pixels in 10 classes, and a maker of networks that all start from the same weights."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (samples,), generator=generator)

    def make() -> EmbeddingNetwork:
        return build_network(
            settings.network, images=images, num_classes=10, width=settings.width, generator=stream(0, "weights")
        )

    return InMemoryBatches(images, labels, batch_size=settings.batch_size), make


def loop_against_bare(name: str, settings: Settings, *, samples: int, n: int) -> dict[str, Any]:
    """An epoch of ``fit`` with alpha = 0, evaluation and all, against a loop written out by hand."""
    batches, make = images_and_network(settings, samples)
    networks = [make(), prepare(make(), settings)]

    def ours() -> None:
        fit(networks[0], batches, batches, settings)

    def by_hand() -> None:
        bare_loop(networks[1], batches.images, batches.noisy_labels, settings)

    ratio, all_ratios = paired_ratio(ours, by_hand, n=n, clock=CPU)
    note = f"{name}, {samples} images of 32 x 32, float32, CPU time; from {all_ratios[0]:.3f} to {all_ratios[-1]:.3f}"
    return figure(f"fit with alpha = 0 / bare loop, {name}", ratio, 1.03, n=n, note=note)


def bare_loop(network: EmbeddingNetwork, images: torch.Tensor, labels: torch.Tensor, settings: Settings) -> None:
    """One epoch as a reader would write it: train, keep the loss and the accuracy, test."""
    optimizer, total, right = make_optimizer(network, settings)[0], torch.zeros(()), torch.zeros(())
    network.train()
    for index in torch.randperm(len(images)).split(settings.batch_size):
        logits, _ = network(images[index])
        loss = cross_entropy(logits, labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(index)
        right += (logits.detach().argmax(dim=1) == labels[index]).sum()
    network.eval()
    with torch.inference_mode():
        predicted = [network(rows)[0].argmax(dim=1) for rows in images.split(settings.batch_size)]
    accuracy(torch.cat(predicted), labels)


def epoch_against_cross_entropy(mode: str, limit: float, *, n: int = 21, samples: int = 768) -> dict[str, Any]:
    """An epoch of the method, both phases, against an epoch of cross-entropy."""
    settings = SMALL.replace(width=32, batch_size=128, alpha=0.5, correction_start=0, correction_mode=mode)
    batches, make = images_and_network(settings, samples)
    ours, theirs = (begin(make(), batches, settings) for _ in range(2))
    ours.correction = correct(ours.network, batches, settings, 0)

    def smp() -> None:
        train_epoch(ours, batches, settings)
        correct(ours.network, batches, settings, 1, memory=ours.memory)
        ours.under_way = None

    def plain() -> None:
        train_epoch(theirs, batches, settings.replace(alpha=0.0))
        theirs.under_way = None

    ratio, all_ratios = paired_ratio(smp, plain, n=n, clock=CPU)
    span = f"from {all_ratios[0]:.3f} to {all_ratios[-1]:.3f}"
    note = f"small CNN of width 32, {samples} images of 32 x 32, float32, CPU time; {span}"
    return figure(f"SMP epoch / cross-entropy epoch, {mode} correction", ratio, limit, n=n, note=note)


def labels_lost_by_streaming(*, seeds: int = 6, **changes: Any) -> dict[str, Any]:
    """Right labels by streamed correction against exact correction, on mislabelled digits, seed by seed."""
    base = Settings(**({"epochs": 15, "correction_start": 5} | changes))
    exact, streamed = (
        [100 * _label_accuracy(base.replace(seed=seed, correction_mode=mode)) for seed in range(seeds)]
        for mode in ("exact", "streamed")
    )
    lost = paired_difference(exact, streamed)
    note = (
        f"digits, {100 * base.noise_rate:.0f} % noise, {base.epochs} epochs; labels right: exact {interval(exact)} %, "
        f"streamed {interval(streamed)} %; lost by streaming {lost} points, 95 % interval, paired"
    )
    ratio = interval(streamed).mean / interval(exact).mean
    return figure("labels right, streamed / exact correction", ratio, 0.97, n=seeds, better="higher", note=note)


def _label_accuracy(settings: Settings) -> float:
    correction = run(settings).result.correction
    assert correction is not None
    assert correction.report.label_accuracy is not None
    return correction.report.label_accuracy


def made_up_embeddings(samples: int, classes: int, features: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings in blobs, with labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % classes
    centres = torch.randn(classes, features, generator=generator)
    return torch.randn(samples, features, generator=generator).add_(centres[labels]), labels


def correction_by(embeddings: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """The correction phase without the forward pass."""
    prototypes = select_prototypes(embeddings, labels, num_classes=classes)
    return correct_labels(embeddings, prototypes, labels)


def time_of_correction(classes: int, *, n: int = 3) -> dict[str, Any]:
    """What a sample costs among a million against among a hundred thousand: at most 1 where cost is linear."""
    few, many = (made_up_embeddings(samples, classes) for samples in (100_000, 1_000_000))
    fewest = made_up_embeddings(10_000, classes)
    ratio, _ = paired_ratio(lambda: correction_by(*many, classes), lambda: correction_by(*few, classes), n=n, clock=CPU)
    took = [seconds(lambda given=given: correction_by(*given, classes), CPU) for given in (fewest, few, many)]  # type: ignore[misc]
    note = "D = 64, m = 1280; CPU seconds at N = 1e4, 1e5 and 1e6: " + ", ".join(f"{s:.2f}" for s in took)
    return figure(f"correction, time a sample, N = 1e6 / 1e5, K = {classes}", ratio / 10, 1.1, n=n, note=note)


def memory_of_correction(classes: int) -> dict[str, Any]:
    """How peak memory grows from a hundred thousand samples to a million, beside the embeddings themselves."""
    few, more, many = (
        in_its_own_process("benchmarks.training", samples, classes) for samples in (10_000, 100_000, 1_000_000)
    )
    grown = (many - more) / ((1_000_000 - 100_000) * 64 * 4)
    note = (
        f"peak beyond what comes in and goes out: {few / 2**20:.1f}, {more / 2**20:.1f} and {many / 2**20:.1f} MiB at "
        f"N = 1e4, 1e5 and 1e6; D = 64, float32, K = {classes}"
    )
    return figure(f"correction, memory grown / embeddings grown, K = {classes}", grown, 0.1, n=1, note=note)


def peak_bytes_of_correction(samples: int, classes: int) -> float:
    """Peak resident memory of a correction above its input and its output. Needs Linux."""
    embeddings, labels = made_up_embeddings(samples, classes)
    correction_by(embeddings[:5000], labels[:5000], classes)  # libraries load their kernels at the first call
    return peak_bytes(lambda: correction_by(embeddings, labels, classes))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(peak_bytes_of_correction(int(sys.argv[1]), int(sys.argv[2])))
