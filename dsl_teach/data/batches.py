"""Batches of images, noisy labels and index: shuffled for training, in order and unaltered for correction."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dsl_teach.data.dataset import ImageFiles, Images
from dsl_teach.data.decode import UnreadableImage
from dsl_teach.data.reader import Plan, SquareReader, Wanted

View = Callable[[Tensor, torch.Generator], Tensor]
"""A random view for training: (B, C, H, W) uint8 and a generator in, the same shape out."""


class Batch(NamedTuple):
    """A few samples. ``index`` says which: labels are looked up by it, never by the place in the batch."""

    images: Tensor
    """(B, C, H, W) uint8, or (B, D) points."""
    noisy_labels: Tensor
    """(B,) int64."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a batch
    """(B,) int64, the samples' ids."""


class Batches(Protocol):
    """What training needs of a data set, wherever its images live."""

    noisy_labels: Tensor
    """(N,) int64, in the order of the index."""

    def shuffled(self, generator: torch.Generator) -> Iterator[Batch]:
        """Every sample once, in random order, in the training view."""
        ...

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the order of the index, in the fixed view."""
        ...


class InMemoryBatches:
    """Images that live on the device; cropped and flipped there, a batch at a time.

    Args:
        images: (N, C, H, W) uint8, or (N, D) points.
        noisy_labels: (N,) int64.
        batch_size: samples a batch; the last batch of an epoch may be smaller.
        view: what training does to a batch of images; None: nothing.
        device: where images and labels live.
    """

    def __init__(
        self,
        images: Tensor,
        noisy_labels: Tensor,
        *,
        batch_size: int,
        view: View | None = None,
        device: torch.device | str = "cpu",
    ):
        self.images, self.noisy_labels = images.to(device), noisy_labels.to(device)
        self.batch_size, self.view = batch_size, view

    def shuffled(self, generator: torch.Generator) -> Iterator[Batch]:
        """Every sample once, in an order drawn from ``generator`` (a CPU generator), in the training view."""
        order = torch.randperm(len(self.images), generator=generator).to(self.images.device)
        for index in order.split(self.batch_size):
            images = self.images[index]
            if self.view is not None:
                images = self.view(images, generator)
            yield Batch(images, self.noisy_labels[index], index)

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the order of the index, unaltered."""
        index = torch.arange(len(self.images), device=self.images.device)
        parts = zip(*(x.split(self.batch_size) for x in (self.images, self.noisy_labels, index)), strict=True)
        yield from (Batch(*part) for part in parts)


class OnDiskBatches:
    """Images that stay on disk: read, scaled and cut by worker processes, a batch at a time.

    The training view is the paper's: short side to 256, a random square of 224, mirrored or not. The fixed view is the
    square in the middle. What an image looks like in an epoch follows from ``generator`` alone: not from the number of
    workers, nor from the batch size.

    Args:
        files: where the images are.
        noisy_labels: (N,) int64.
        batch_size: samples a batch; the last batch of an epoch may be smaller.
        workers: processes that read ahead; with 0, this one reads. They share memory with this one: two batches
            each, and one more.
        short_side: pixels of an image's short side before it is cut. A copy made by data_scripts/prepare.py
            with the same number need not be scaled again.
        crop: side of the square in pixels.
        device: where batches go.

    Raises:
        ValueError: if a number is out of range, or there is not one label an image.
    """

    def __init__(
        self,
        files: ImageFiles,
        noisy_labels: Tensor,
        *,
        batch_size: int,
        workers: int = 0,
        short_side: int = 256,
        crop: int = 224,
        device: torch.device | str = "cpu",
    ):
        _require_settings(batch_size=batch_size, workers=workers, short_side=short_side, crop=crop)
        if len(files) != len(noisy_labels):
            raise ValueError(f"There are {len(files)} images and {len(noisy_labels)} noisy_labels; give one an image.")
        self.files, self.batch_size, self.device = files, batch_size, torch.device(device)
        self.noisy_labels = noisy_labels.to(self.device)
        self._plan, self._pass = Plan(), object()
        slots = 1 + 2 * workers  # two that each worker reads ahead, and the one that is taken out
        folder, numbers = files.root.as_posix(), {"short_side": short_side, "crop": crop}
        self._reader = SquareReader(folder, batch_size=min(batch_size, len(files)), slots=slots, **numbers)
        self._loader = DataLoader(
            self._reader,
            sampler=self._plan,
            batch_size=None,  # a worker makes a whole batch
            num_workers=workers,
            prefetch_factor=2 if workers else None,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # torch's own random numbers stay untouched
        )

    def shuffled(self, generator: torch.Generator) -> Iterator[Batch]:
        """Every sample once, in an order drawn from ``generator`` (a CPU generator), in the training view.

        Raises:
            UnreadableImage: naming the file.
            RuntimeError: if another pass over these batches begins before this one ends.
        """
        order = torch.randperm(len(self.files), generator=generator)
        return self._batches(order, torch.rand(len(self.files), 3, generator=generator).numpy())

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the order of the index, in the fixed view. Raises as ``shuffled`` does."""
        return self._batches(torch.arange(len(self.files)), None)

    def _batches(self, order: Tensor, draws: np.ndarray | None) -> Iterator[Batch]:
        parts = order.split(self.batch_size) if len(order) else ()
        self._plan.wanted = wanted = (self._want(number, index, draws) for number, index in enumerate(parts))
        self._pass = this_pass = object()
        read = iter(self._loader)
        try:
            for number, (index, answer) in enumerate(zip(parts, read, strict=True)):
                if self._pass is not this_pass:
                    raise RuntimeError("Another pass over these batches has begun; finish one before the next.")
                yield self._batch(number, index, answer)
        except (GeneratorExit, UnreadableImage):
            if self._pass is this_pass:  # take what is under way: workers with unread batches end late
                wanted.close()
                deque(read, maxlen=0)
            raise

    def _want(self, number: int, index: Tensor, draws: np.ndarray | None) -> Wanted:
        paths = [self.files.paths[i] for i in index.tolist()]
        return Wanted(number, paths, None if draws is None else draws[index.numpy()].tolist())

    def _batch(self, number: int, index: Tensor, answer: bool | UnreadableImage) -> Batch:
        if isinstance(answer, UnreadableImage):
            raise UnreadableImage(answer.path, answer.reason)  # a new one: it must not refer to itself
        images = self._reader.take(number, len(index), answer, pinned=self.device.type == "cuda")
        index = index.to(self.device)
        return Batch(images.to(self.device, non_blocking=True), self.noisy_labels[index], index)


def make_batches(
    images: Images,
    noisy_labels: Tensor,
    *,
    batch_size: int,
    view: View | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    short_side: int = 256,
    crop: int = 224,
) -> Batches:
    """Batches of images wherever they live: pixels on the device, files through workers.

    Args:
        images: pixels, points or files.
        noisy_labels: (N,) int64.
        batch_size: samples a batch.
        view: what training does to pixels or points, see :class:`InMemoryBatches`; files are cut and mirrored.
        device: where batches go.
        workers: for files, see :class:`OnDiskBatches`.
        short_side: for files.
        crop: for files.
    """
    if not isinstance(images, ImageFiles):
        return InMemoryBatches(images, noisy_labels, batch_size=batch_size, view=view, device=device)
    return OnDiskBatches(
        images,
        noisy_labels,
        batch_size=batch_size,
        workers=workers,
        short_side=short_side,
        crop=crop,
        device=device,
    )


def crop_and_flip(images: Tensor, generator: torch.Generator, *, padding: int = 4) -> Tensor:
    """Shift every image by up to ``padding`` pixels each way and mirror half of them.

    Args:
        images: (B, C, H, W) uint8.
        generator: a CPU generator.
        padding: the border of mirrored pixels that a shift may uncover.

    Returns:
        (B, C, H, W) uint8.
    """
    batch, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (padding,) * 4, mode="reflect")
    top, left = torch.randint(2 * padding + 1, (2, batch, 1), generator=generator).to(images.device)
    flip = torch.randint(2, (batch, 1), generator=generator).to(images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    columns = left + torch.where(flip == 1, width - 1 - columns, columns)
    sample = torch.arange(batch, device=images.device)[:, None, None]
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _require_settings(*, batch_size: int, workers: int, short_side: int, crop: int) -> None:
    for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0), ("crop", crop, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, but it is {value}.")
    if crop > short_side:
        raise ValueError(f"crop must be at most short_side: {crop} pixels cannot be cut out of {short_side}.")
