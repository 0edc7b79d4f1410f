"""Batches of images, noisy labels and index: shuffled for training, in order and unaltered for correction."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

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


class Share(NamedTuple):
    """The part of every batch that one of several processes works on: a batch is cut into ``parts`` runs of samples."""

    part: int = 0
    """Which part, counted from 0."""
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


WHOLE = Share()
"""The share of a process that works alone."""


class Batches(Protocol):
    """What training needs of a data set, wherever its images live."""

    noisy_labels: Tensor
    """(N,) int64, in the order of the index."""
    batch_size: int
    """Samples a batch, all processes together."""

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """As many samples as there are, see :func:`training_order`, in the training view; without ``skip`` batches."""
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
        share: the part of every batch to hand out, where several processes train together.
        balanced: draw every class equally often for training, see :func:`training_order`.
    """

    def __init__(
        self,
        images: Tensor,
        noisy_labels: Tensor,
        *,
        batch_size: int,
        view: View | None = None,
        device: torch.device | str = "cpu",
        share: Share = WHOLE,
        balanced: bool = False,
    ):
        self.images, self.noisy_labels = images.to(device), noisy_labels.to(device)
        self.batch_size, self.view, self.share, self.balanced = batch_size, view, share, balanced

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """Every sample once, or classes equally often, in an order drawn from ``generator``, in the training view.

        Args:
            generator: a CPU generator; order and views follow from it.
            skip: leave out so many batches at the start; the others are what they would be otherwise.
        """
        order = training_order(self.noisy_labels, generator, balanced=self.balanced).to(self.images.device)
        for step, index in enumerate(order.split(self.batch_size)):
            images = self._seen(index, generator)  # the whole batch: its random numbers do not hang on the share
            if step >= skip:
                mine = part_or_first(self.share.of(index), index)
                yield Batch(part_or_first(self.share.of(images), images), self.noisy_labels[mine], mine)

    def _seen(self, index: Tensor, generator: torch.Generator) -> Tensor:
        images = self.images[index]
        return images if self.view is None else self.view(images, generator)

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the order of the index, unaltered."""
        index = torch.arange(len(self.images), device=self.images.device)
        for first in range(0, len(index), self.batch_size):
            start, stop = self.share.bounds(min(self.batch_size, len(index) - first))
            if stop > start:
                part = slice(first + start, first + stop)
                yield Batch(self.images[part], self.noisy_labels[part], index[part])


class OnDiskBatches:
    """Images that stay on disk: read, scaled and cut by worker processes, a batch at a time.

    The training view is the paper's: short side to 256, a random square of 224, mirrored or not. The fixed view is the
    square in the middle. What an image looks like in an epoch follows from ``generator`` alone: not from the number of
    loader_workers, nor from the batch size.

    Args:
        files: where the images are.
        noisy_labels: (N,) int64.
        batch_size: samples a batch; the last batch of an epoch may be smaller.
        loader_workers: processes that read ahead; with 0, this one reads. They share memory with this one: two batches
            each, and one more.
        short_side: pixels of an image's short side before it is cut. A copy made by data_scripts/prepare.py
            with the same number need not be scaled again.
        crop: side of the square in pixels.
        device: where batches go.
        share: the part of every batch to hand out, where several processes train together.
        balanced: draw every class equally often for training, see :func:`training_order`.

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
        _require_settings(batch_size=batch_size, loader_workers=loader_workers, short_side=short_side, crop=crop)
        if len(files) != len(noisy_labels):
            raise ValueError(f"There are {len(files)} images and {len(noisy_labels)} noisy_labels; give one an image.")
        self.files, self.batch_size, self.share, self.device = files, batch_size, share, torch.device(device)
        self.balanced = balanced
        self.noisy_labels = noisy_labels.to(self.device)
        self._plan, self._pass = Plan(), object()
        slots = 1 + 2 * loader_workers  # two that each worker reads ahead, and the one that is taken out
        folder, numbers = files.root.as_posix(), {"short_side": short_side, "crop": crop}
        self._reader = SquareReader(folder, batch_size=min(batch_size, len(files)), slots=slots, **numbers)
        self._loader = DataLoader(
            self._reader,
            sampler=self._plan,
            batch_size=None,  # a worker makes a whole batch
            num_workers=loader_workers,
            prefetch_factor=2 if loader_workers else None,
            persistent_workers=loader_workers > 0,
            generator=torch.Generator(),  # torch's own random numbers stay untouched
        )

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """Every sample once, or classes equally often, in an order drawn from ``generator``, in the training view.

        Args:
            generator: a CPU generator; order and views follow from it.
            skip: leave out so many batches at the start, without reading them.

        Raises:
            UnreadableImage: naming the file.
            RuntimeError: if another pass over these batches begins before this one ends.
        """
        order = training_order(self.noisy_labels, generator, balanced=self.balanced)
        draws = torch.rand(len(self.files), 3, generator=generator)
        draws = draws if self.balanced else draws[order]  # balanced: a sample drawn twice is seen in two views
        parts, views = (
            [part_or_first(self.share.of(batch), batch) for batch in self._split(x)[skip:]] for x in (order, draws)
        )
        return self._batches(parts, views)

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the order of the index, in the fixed view. Raises as ``shuffled`` does."""
        parts = [self.share.of(index) for index in self._split(torch.arange(len(self.files)))]
        return self._batches([index for index in parts if len(index)], None)

    def _split(self, order: Tensor) -> Sequence[Tensor]:
        return order.split(self.batch_size) if len(order) else ()

    def _batches(self, parts: Sequence[Tensor], views: Sequence[Tensor] | None) -> Iterator[Batch]:
        self._plan.wanted = wanted = (
            self._want(number, index, None if views is None else views[number]) for number, index in enumerate(parts)
        )
        self._pass = this_pass = object()
        read = iter(self._loader)
        try:
            for number, (index, answer) in enumerate(zip(parts, read, strict=True)):
                if self._pass is not this_pass:
                    raise RuntimeError("Another pass over these batches has begun; finish one before the next.")
                yield self._batch(number, index, answer)
        except (GeneratorExit, UnreadableImage):
            if self._pass is this_pass:  # take what is under way: loader_workers with unread batches end late
                wanted.close()
                deque(read, maxlen=0)
            raise

    def _want(self, number: int, index: Tensor, view: Tensor | None) -> Wanted:
        paths = [self.files.paths[i] for i in index.tolist()]
        return Wanted(number, paths, None if view is None else view.tolist())

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
    loader_workers: int = 0,
    short_side: int = 256,
    crop: int = 224,
    share: Share = WHOLE,
    balanced: bool = False,
) -> Batches:
    """Batches of images wherever they live: pixels on the device, files through loader_workers.

    Args:
        images: pixels, points or files.
        noisy_labels: (N,) int64.
        batch_size: samples a batch.
        view: what training does to pixels or points, see :class:`InMemoryBatches`; files are cut and mirrored.
        device: where batches go.
        loader_workers: for files, see :class:`OnDiskBatches`.
        short_side: for files.
        crop: for files.
        share: the part of every batch to hand out, where several processes train together.
        balanced: draw every class equally often for training, see :func:`training_order`.
    """
    both: dict[str, Any] = {"batch_size": batch_size, "device": device, "share": share, "balanced": balanced}
    if not isinstance(images, ImageFiles):
        return InMemoryBatches(images, noisy_labels, view=view, **both)
    return OnDiskBatches(images, noisy_labels, loader_workers=loader_workers, short_side=short_side, crop=crop, **both)


def training_order(noisy_labels: Tensor, generator: torch.Generator, *, balanced: bool = False) -> Tensor:
    r"""The order of an epoch: every sample once; or as many draws with replacement, every class equally often.

    .. math:: P(i) = \frac{1}{K'} \cdot \frac{1}{n_{y_i}} \quad \text{(balanced; } K' \text{ classes have samples)}

    Args:
        noisy_labels: (N,) int64; the classes are those of the noisy labels.
        generator: a CPU generator.
        balanced: whether classes are drawn equally often.

    Returns:
        (N,) int64 on the CPU.
    """
    if not balanced or not len(noisy_labels):
        return torch.randperm(len(noisy_labels), generator=generator)
    labels = noisy_labels.cpu()
    ends = torch.bincount(labels).double()[labels].reciprocal().cumsum(0)  # torch.multinomial takes 2^24 at most
    drawn = torch.rand(len(labels), generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, drawn, right=True).clamp(max=len(labels) - 1)


def part_or_first(part: Tensor, whole: Tensor) -> Tensor:
    """A process's part of a batch, or the batch's first sample where the part is empty.

    Processes that train together take each step together, so each needs a sample; this one counts for nothing.
    """
    return part if len(part) else whole[:1]


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


def _require_settings(*, batch_size: int, loader_workers: int, short_side: int, crop: int) -> None:
    for name, value, least in (("batch_size", batch_size, 1), ("loader_workers", loader_workers, 0), ("crop", crop, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, but it is {value}.")
    if crop > short_side:
        raise ValueError(f"crop must be at most short_side: {crop} pixels cannot be cut out of {short_side}.")
