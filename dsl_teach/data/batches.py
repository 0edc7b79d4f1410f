"""Batches of images, noisy labels and index: shuffled for training, in order and unaltered for correction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dsl_teach._validate import require
from dsl_teach.data.dataset import ImageFiles, Images
from dsl_teach.data.decode import UnreadableImage, cut, decode_image, resize_short_side

View = Callable[[Tensor, torch.Generator], Tensor]
"""A random view for training: (B, C, H, W) uint8 and a generator in, the same shape out."""


class Batch(NamedTuple):
    """(B, C, H, W) uint8 images or (B, D) points, with their labels and ids, both (B,) int64.

    Labels are looked up by the ids, ``index``, never by the place in the batch.
    """

    images: Tensor
    noisy_labels: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a batch


class Share(NamedTuple):
    """The part, counted from 0, of every batch that one of several processes works on: a run of its samples."""

    part: int = 0
    parts: int = 1

    def bounds(self, total: int) -> tuple[int, int]:
        """Where this part of a batch of ``total`` samples starts and ends; the first parts take the remainder."""
        each, rest = divmod(total, self.parts)
        start = self.part * each + min(self.part, rest)
        return start, start + each + (self.part < rest)

    def of(self, x: Tensor) -> Tensor:
        """Its samples of a batch; none if the batch has fewer samples than there are parts."""
        start, stop = self.bounds(len(x))
        return x[start:stop]

    def or_first(self, x: Tensor) -> Tensor:
        """Its samples, or the first of the batch, which then counts for nothing: all processes step together."""
        part = self.of(x)
        return part if len(part) else x[:1]


WHOLE = Share()
"""The share of a process that works alone."""
PREFETCH = 2
"""Batches that each of a loader's workers has on their way at most."""


@dataclass(eq=False)
class InMemoryBatches:
    """Images or points, (N, ...), that live on the device; ``view`` is what training does to a batch of images there.

    Noisy labels are (N,) int64. ``batch_size`` counts the samples of all processes together; ``share`` is the part of
    every batch to hand out; ``balanced`` draws every class equally often for training.
    """

    images: Tensor
    noisy_labels: Tensor
    _: KW_ONLY
    batch_size: int
    view: View | None = None
    device: torch.device | str = "cpu"
    share: Share = WHOLE
    balanced: bool = False

    def __post_init__(self) -> None:
        self.images, self.noisy_labels = self.images.to(self.device), self.noisy_labels.to(self.device)

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """As many samples as there are, see :func:`training_order`, in the training view; without ``skip`` batches.

        Order and views follow from ``generator``, which lives on the CPU.
        """
        order = training_order(self.noisy_labels, generator, balanced=self.balanced).to(self.images.device)
        for step, index in enumerate(order.split(self.batch_size)):
            images = self.images[index]  # the whole batch: its random numbers do not hang on the share
            if self.view is not None:
                images = self.view(images, generator)
            if step >= skip:
                mine = self.share.or_first(index)
                yield Batch(self.share.or_first(images), self.noisy_labels[mine], mine)

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the order of the index, in the fixed view; nothing is copied."""
        index = torch.arange(len(self.images), device=self.images.device)
        for batch in zip(*(x.split(self.batch_size) for x in (self.images, self.noisy_labels, index)), strict=True):
            mine = Batch(*map(self.share.of, batch))
            if len(mine.index):
                yield mine


class OnDiskBatches:
    """Images read from disk as they are needed, by ``loader_workers`` processes of a ``DataLoader``, or by this one.

    The training view is the paper's: short side to ``short_side`` pixels (a copy made by data_scripts/prepare.py has
    them already), a random square of ``crop``, mirrored or not. The fixed view is the square in the middle. What an
    image looks like in an epoch follows from ``generator`` alone: not from the workers, nor from the batch size.

    Raises:
        ValueError: if a number is out of range, or there is not one label an image.
    """

    def __init__(
        self,
        files: ImageFiles,
        noisy_labels: Tensor,
        *,
        batch_size: int,
        loader_workers: int = 0,
        short_side: int = 256,
        crop: int = 224,
        device: torch.device | str = "cpu",
        share: Share = WHOLE,
        balanced: bool = False,
    ):
        told = f"batch_size = {batch_size} must be at least 1, loader_workers = {loader_workers} 0."
        require(batch_size >= 1 and loader_workers >= 0, told)
        require(1 <= crop <= short_side, f"crop must be from 1 to short_side = {short_side}, but it is {crop}.")
        told = f"There are {len(files)} images and {len(noisy_labels)} noisy_labels; give one an image."
        require(len(files) == len(noisy_labels), told)
        self.files, self.batch_size, self.share, self.balanced = files, batch_size, share, balanced
        self.device, self.noisy_labels = torch.device(device), noisy_labels.to(device)
        self._wanted: list[Wanted] = []  # by the pass under way; the loader's workers stay
        self._passes = 0
        start, stop = share.bounds(batch_size)
        batches = max(-(-len(files) // batch_size), 1)
        slots = min(PREFETCH * loader_workers + 1, batches)  # those on their way, and one that is copied here
        self._room = torch.empty(slots, max(stop - start, 1), crop, crop, 3, dtype=torch.uint8)
        if loader_workers:
            self._room.share_memory_()  # used again and again: fresh shared pages would take longer than cutting
        self._loader = DataLoader(
            _Squares(files, short_side, self._room),
            sampler=self._wanted,
            batch_size=None,
            num_workers=loader_workers,
            prefetch_factor=PREFETCH if loader_workers else None,
            persistent_workers=loader_workers > 0,
            multiprocessing_context="forkserver" if loader_workers else None,  # a fork beside threads may hang
            generator=torch.Generator(),  # torch's own random numbers stay untouched
        )

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """As of :class:`InMemoryBatches`; raises :class:`UnreadableImage`, which names the file."""
        order = training_order(self.noisy_labels, generator, balanced=self.balanced)
        draws = torch.rand(len(self.files), 3, generator=generator)
        draws = draws if self.balanced else draws[order]  # balanced: a sample drawn twice is seen in two views
        parts = zip(*(map(self.share.or_first, x.split(self.batch_size)) for x in (order, draws)), strict=True)
        return self._read([(index, x.numpy()) for index, x in parts][skip:])

    def in_order(self) -> Iterator[Batch]:
        """As of :class:`InMemoryBatches`; raises as :meth:`shuffled`."""
        parts = map(self.share.of, torch.arange(len(self.files)).split(self.batch_size))
        return self._read([(index, None) for index in parts if len(index)])

    def _read(self, parts: Sequence[tuple[Tensor, np.ndarray | None]]) -> Iterator[Batch]:
        self._passes = this_pass = self._passes + 1
        self._wanted[:] = [(index.numpy(), draws, step % len(self._room)) for step, (index, draws) in enumerate(parts)]
        read = iter(self._loader)
        for index, _ in parts:
            slot = next(read, None)
            if self._passes != this_pass or slot is None:
                raise RuntimeError("Another pass over these batches has begun; finish one before the next.")
            if isinstance(slot, UnreadableImage):
                raise UnreadableImage(slot.path, slot.reason)  # a new one: it must not refer to itself
            images = self._room[slot, : len(index)]
            images = images.pin_memory() if self.device.type == "cuda" else images.clone()  # the slot is written again
            index = index.to(self.device, non_blocking=True)
            images = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            yield Batch(images, self.noisy_labels[index], index)


Wanted = tuple[np.ndarray, np.ndarray | None, int]
"""Samples of a batch, three random numbers for each in training, and the slot that it is written to."""


@dataclass(eq=False)
class _Squares(Dataset["int | UnreadableImage"]):
    """Squares cut out of images into a slot of ``room``, (slots, B, crop, crop, 3): pixels as decoders give them."""

    files: ImageFiles
    short_side: int
    room: Tensor

    def __getitem__(self, wanted: Wanted) -> int | UnreadableImage:
        rows, draws, slot = wanted
        try:
            numbers = [None] * len(rows) if draws is None else draws.tolist()
            for square, row, drawn in zip(self.room[slot], rows, numbers, strict=False):
                image = decode_image(f"{self.files.root}/{self.files.paths[row]}", within=self.files.root)
                square.copy_(cut(resize_short_side(image, self.short_side), len(square), drawn).permute(1, 2, 0))
        except UnreadableImage as error:
            return error  # not raised here: the loader would bury the sentence under its own
        return slot


Batches = InMemoryBatches | OnDiskBatches
"""What training needs of a data set, wherever its images live."""


def make_batches(
    images: Images,
    noisy_labels: Tensor,
    *,
    view: View | None = None,
    loader_workers: int = 0,
    short_side: int = 256,
    crop: int = 224,
    **both: Any,
) -> Batches:
    """Pixels and points as :class:`InMemoryBatches`, files as :class:`OnDiskBatches`; ``both`` is what either takes."""
    if not isinstance(images, ImageFiles):
        return InMemoryBatches(images, noisy_labels, view=view, **both)
    return OnDiskBatches(images, noisy_labels, loader_workers=loader_workers, short_side=short_side, crop=crop, **both)


def training_order(noisy_labels: Tensor, generator: torch.Generator, *, balanced: bool = False) -> Tensor:
    r"""The order of an epoch: every sample once; or as many draws with replacement, every class equally often.

    .. math:: P(i) = \frac{1}{K'} \cdot \frac{1}{n_{y_i}} \quad \text{(balanced; } K' \text{ classes have samples)}

    Classes are those of ``noisy_labels``, (N,) int64. (N,) int64 on the CPU, where ``generator`` lives too.
    """
    if not balanced or not len(noisy_labels):
        return torch.randperm(len(noisy_labels), generator=generator)
    labels = noisy_labels.cpu()
    ends = torch.bincount(labels).double()[labels].reciprocal().cumsum(0)  # torch.multinomial takes 2^24 at most
    drawn = torch.rand(len(labels), generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, drawn, right=True).clamp(max=len(labels) - 1)


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift every one of (B, C, H, W) uint8 images by up to 4 pixels each way, and mirror half of them.

    What a shift uncovers is the mirrored border. The numbers are drawn from ``generator`` on the CPU.
    """
    batch, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4), mode="reflect")
    top, left = torch.randint(9, (2, batch, 1), generator=generator).to(images.device)
    flip = torch.randint(2, (batch, 1), generator=generator).to(images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    columns = left + torch.where(flip == 1, width - 1 - columns, columns)
    sample = torch.arange(batch, device=images.device)[:, None, None]
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
