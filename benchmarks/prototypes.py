"""The cost of selection beside its matrix products, of correction beside a forward pass, and the memory of scoring."""

from __future__ import annotations

import sys
from typing import Any

import torch

from benchmarks.measure import figure, in_its_own_process, paired_ratio, peak_bytes
from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.prototypes import correct_labels, select_prototypes
from dsl_teach.training.correction import correct
from dsl_teach.training.evaluation import evaluation
from dsl_teach.training.networks import build_network


def figures() -> list[dict[str, Any]]:
    """The three figures of this module."""
    return [selection_against_products(), correction_against_forward(), memory_of_scoring()]


def selection_against_products(
    *, n: int = 25, m: int = 1280, features: int = 2048, classes: int = 14
) -> dict[str, Any]:
    """Selection for all classes against the bare similarity products."""
    embeddings = torch.randn(classes * m, features, generator=torch.Generator().manual_seed(0)).relu()
    labels = torch.arange(classes).repeat_interleave(m)

    def products() -> None:
        for rows in embeddings.split(m):
            rows @ rows.T

    ratio, _ = paired_ratio(lambda: select_prototypes(embeddings, labels, num_classes=classes), products, n=n)
    note = f"{classes} classes, m = {m}, D = {features}, against {classes} products of {m} x {features} x {m}"
    return figure("selection / bare matrix products", ratio, 2.0, n=n, note=note)


def correction_against_forward(*, n: int = 15, samples: int = 5000, classes: int = 10) -> dict[str, Any]:
    """The whole correction phase against one bare forward pass over the same images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    network = build_network("small_cnn", images=images, num_classes=classes, width=32, generator=generator)
    batches = InMemoryBatches(images, labels, batch_size=500)

    def forward() -> None:
        with evaluation(network):
            for rows in images.split(500):
                network(rows)

    ratio, _ = paired_ratio(lambda: correct(network, batches, Settings(), epoch=0), forward, n=n)
    note = f"small CNN of width 32, {samples} images of 32 x 32, K = {classes}, m = 1280"
    return figure("correction phase / bare forward pass", ratio, 1.1, n=n, note=note)


def memory_of_scoring() -> dict[str, Any]:
    """Memory that scoring takes beyond what comes in and goes out: a million samples against ten thousand."""
    few, many = (in_its_own_process("benchmarks.prototypes", samples) for samples in (10_000, 1_000_000))
    note = f"{few / 2**20:.1f} MiB at N = 10,000 and {many / 2**20:.1f} MiB at N = 1,000,000; D = 256, K = 14"
    return figure("peak memory of scoring, N = 1,000,000 / 10,000", many / few, 1.2, n=1, note=note)


def peak_bytes_of_scoring(samples: int, *, features: int = 256, classes: int = 14) -> float:
    """Peak resident memory of ``correct_labels`` above its input and its output. Needs Linux."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(samples, features, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    prototypes = select_prototypes(embeddings[:5000], labels[:5000], num_classes=classes)
    correct_labels(embeddings[:5000], prototypes, labels[:5000])  # libraries load their kernels at the first call
    return peak_bytes(lambda: correct_labels(embeddings, prototypes, labels))


if __name__ == "__main__":
    print(peak_bytes_of_scoring(int(sys.argv[1])))
