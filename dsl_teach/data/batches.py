"""Batches of images, noisy labels and index: shuffled for training, in order and unaltered for correction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

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
