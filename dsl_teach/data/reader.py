"""What a worker process does for on-disk batches: read the images of a batch and cut a square out of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from dsl_teach.data.decode import UnreadableImage, cut, decode_image, resize_short_side

Wanted = tuple[list[str], list[list[float]] | None]
"""The paths of a batch, and the random numbers of each of its images; None: the fixed view."""


class Plan(Sampler[Wanted]):
    """Tells the data loader which batches the pass under way wants."""

    def __init__(self) -> None:
        self.wanted: Iterable[Wanted] = ()

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self.wanted)


class SquareReader(Dataset[Tensor | UnreadableImage]):
    """What a worker does: read the images of a batch, and cut a square out of each."""

    def __init__(self, root: str, short_side: int, crop: int):
        self.root, self.short_side, self.crop = root, short_side, crop

    def __getitem__(self, wanted: Wanted) -> Tensor | UnreadableImage:
        paths, draws = wanted
        try:
            each: Sequence[list[float] | None] = draws or [None] * len(paths)
            return _pile(len(paths), map(self._square, paths, each))
        except UnreadableImage as error:
            return error  # not raised here: the loader would bury the sentence under its own

    def _square(self, path: str, draws: list[float] | None) -> Tensor:
        return cut(resize_short_side(decode_image(f"{self.root}/{path}"), self.short_side), self.crop, draws)


def _pile(number: int, squares: Iterable[Tensor]) -> Tensor:
    """Stack images in the memory layout they have: to change it costs as much as half the scaling."""
    pile = torch.empty(0)
    for place, square in enumerate(squares):
        if place == 0:
            side_by_side = square.stride(0) == 1  # a pixel's three values, as decoders give them
            layout = torch.channels_last if side_by_side else torch.contiguous_format
            pile = torch.empty((number, *square.shape), dtype=torch.uint8, memory_format=layout)
        pile[place] = square
    return pile
