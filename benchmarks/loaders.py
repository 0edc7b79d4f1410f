"""Loaders beside what they cannot do without: decoding and scaling on disk, a forward pass in memory."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import figure, paired_ratio
from dsl_teach.data.batches import InMemoryBatches, OnDiskBatches, crop_and_flip
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.data.decode import decode_image, resize_short_side, torchcodec_decoder
from dsl_teach.training.networks import small_cnn

IMAGES, TIMES, ROUNDS = 320, 4, 9
"""Pictures drawn, how often each stands in a pass (a pass of a few batches would measure its start), and rounds."""


def figures() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        photos = draw(Path(folder) / "photos", shortest=300, longest=500)
        small = draw(Path(folder) / "small", shortest=256, longest=256)
        found = [on_disk(photos, "300 to 500 px", workers, limit) for workers, limit in ((1, 0.8), (2, 0.65))]
        # told only: nothing is scaled here, so cutting and any DataLoader's handing over weigh half as much as decoding
        return [*found, on_disk(small, "prepared, 256 px", 1, limit=None), in_memory()]


def on_disk(files: ImageFiles, what: str, workers: int, limit: float | None) -> dict[str, Any]:
    """Images a second: the loader with so many workers over so many processes that decode and scale, and no more."""
    batches = OnDiskBatches(files, torch.zeros(len(files), dtype=torch.int64), batch_size=32, loader_workers=workers)
    generator, paths = torch.Generator().manual_seed(0), [f"{files.root}/{path}" for path in files.paths]
    with multiprocessing.Pool(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:

        def bare() -> None:
            for _ in pool.imap(decode_and_scale, paths, 32):
                pass

        def load() -> None:
            for _ in batches.shuffled(generator):
                pass

        ratio, all_ratios = paired_ratio(bare, load, n=ROUNDS)
    name = f"on-disk loader, {workers} worker(s), over bare decoding and scaling in {workers} process(es), {what}"
    decoder = "TorchCodec" if torchcodec_decoder() else "Pillow"
    note = f"images a second, {decoder}, {all_ratios[0]:.2f} to {all_ratios[-1]:.2f}"
    return figure(name, ratio, limit, n=ROUNDS, better="higher", note=note)


def in_memory() -> dict[str, Any]:
    """Time: a pass over CIFAR-sized images in memory, cropped and mirrored, over a bare forward pass of a small CNN."""
    images = torch.randint(256, (2048, 3, 32, 32), dtype=torch.uint8)
    batches = InMemoryBatches(images, torch.zeros(2048, dtype=torch.int64), batch_size=128, view=crop_and_flip)
    network, _ = small_cnn(3, 32)
    generator, floats = torch.Generator().manual_seed(0), images.float().split(128)

    def load() -> None:
        for _ in batches.shuffled(generator):
            pass

    @torch.inference_mode()
    def forward() -> None:
        for batch in floats:
            network(batch)

    ratio, all_ratios = paired_ratio(load, forward, n=ROUNDS)
    note = f"time, 2048 images of 32 px, {all_ratios[0]:.2f} to {all_ratios[-1]:.2f}"
    return figure("in-memory loader over a bare forward pass of the small CNN", ratio, 0.25, n=ROUNDS, note=note)


def decode_and_scale(path: str) -> None:
    resize_short_side(decode_image(path), 256)


def draw(folder: Path, *, shortest: int, longest: int) -> ImageFiles:
    """Smooth random pictures, JPEG at quality 90."""
    folder.mkdir()
    random = np.random.default_rng(0)
    names = tuple(f"{number}.jpg" for number in range(IMAGES))
    for name in names:
        sides = random.integers(shortest, longest + 1, size=2)
        coarse = random.integers(0, 256, (*(sides // 8 + 1), 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(tuple(sides[::-1].tolist())).save(folder / name, quality=90)
    return ImageFiles(folder, names * TIMES)
