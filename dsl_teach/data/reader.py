"""What a worker process does for on-disk batches: read the images of a batch and cut a square out of each.

Workers write into memory that they share with the main process, one slot a batch, again and again. To share fresh
memory for every batch would cost a tenth of the reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from dsl_teach.data.decode import UnreadableImage, cut, decode_image, resize_short_side


class Wanted(NamedTuple):
    """One batch to read."""

    number: int
    """Its place in the pass; the slot follows from it."""
    paths: list[str]
    draws: list[list[float]] | None
    """The random numbers of each image; None: the fixed view."""


class Plan(Sampler[Wanted]):
    """Tells the data loader which batches the pass under way wants."""

    def __init__(self) -> None:
        self.wanted: Iterable[Wanted] = ()

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self.wanted)


class SquareReader(Dataset["bool | UnreadableImage"]):
    """Reads batches of squares into slots.

    Args:
        root: folder of the images.
        short_side: pixels of an image's short side before it is cut.
        crop: side of the square in pixels.
        batch_size: squares a slot.
        slots: how many; as many as may be read before the first of them is taken out. One: there are no workers.
    """

    def __init__(self, root: str, *, short_side: int, crop: int, batch_size: int, slots: int):
        self.root, self.short_side, self.crop = root, short_side, crop
        self.slots = torch.empty(slots, batch_size * 3 * crop * crop, dtype=torch.uint8)
        if slots > 1:
            self.slots.share_memory_()

    def __getitem__(self, wanted: Wanted) -> bool | UnreadableImage:
        """Fill a slot, in a worker; the answer is for :meth:`take`."""
        each: Sequence[list[float] | None] = wanted.draws or [None] * len(wanted.paths)
        side_by_side, squares = False, self.slots[:0]
        try:
            for place, square in enumerate(map(self._square, wanted.paths, each)):
                if place == 0:
                    side_by_side = square.stride(0) == 1
                    squares = self._shape(self._slot(wanted.number), len(each), side_by_side)
                squares[place] = square
        except UnreadableImage as error:
            return error  # not raised here: the loader would bury the sentence under its own
        return side_by_side

    def take(self, number: int, images: int, side_by_side: bool, *, pinned: bool) -> Tensor:
        """Copy a batch out of its slot, in the main process.

        Returns:
            (B, 3, crop, crop) uint8, in the memory layout of its first image: to change it costs as much as half the
            scaling.
        """
        slot = self._slot(number)[: images * 3 * self.crop**2]
        return self._shape(slot.pin_memory() if pinned else slot.clone(), images, side_by_side)

    def _square(self, path: str, draws: list[float] | None) -> Tensor:
        return cut(resize_short_side(decode_image(f"{self.root}/{path}"), self.short_side), self.crop, draws)

    def _slot(self, number: int) -> Tensor:
        return self.slots[number % len(self.slots)]

    def _shape(self, memory: Tensor, images: int, side_by_side: bool) -> Tensor:
        memory = memory[: images * 3 * self.crop**2]
        if side_by_side:  # a pixel's three values, as decoders give them
            return memory.view(images, self.crop, self.crop, 3).permute(0, 3, 1, 2)
        return memory.view(images, 3, self.crop, self.crop)
