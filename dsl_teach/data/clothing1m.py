"""Clothing1M: a million web images of clothes in 14 classes, labelled by the words around them.

Source: Xiao et al., "Learning From Massive Noisy Labeled Data for Image Classification", CVPR 2015. The images come
by request to its authors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.dataset import UNKNOWN, NoisyDataset
from dsl_teach.data.folders import Listed, assemble, read_list

PREFIX = "images/"


def load(settings: Settings) -> NoisyDataset:
    """Clothing1M as the settings name it."""
    return clothing1m(settings.data_root, trust=settings.trust)


def clothing1m(root: str | Path, *, trust: bool = False) -> NoisyDataset:
    """Read Clothing1M from the folder it was unpacked to, or from a copy made by data_scripts/prepare.py.

    Trained on are the million images of the noisy key list, whose true labels nobody knows; tested on those of the
    clean test list. The lists may lie in the folder or under ``annotations/``, and name the images with or without
    ``images/``. For ``trust`` see :func:`dsl_teach.data.folders.assemble`.

    Raises:
        FileNotFoundError: if a list is missing, or no image is there.
        ValueError: if a line is wrong, or an image stands in two lists.
    """
    lists = Clothing1MLists(Path(root))
    train, test = lists.images("noisy_train"), lists.images("clean_test")
    told = "labels from the words around the images"
    return assemble("Clothing1M", train, test, lists.class_names, told, trust=trust)


class Clothing1MLists:
    """The lists of a Clothing1M folder; each is read when it is first asked for."""

    def __init__(self, root: Path):
        self.root = root

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        return tuple(self._read("category_names_eng.txt", lambda line: (line.strip(), UNKNOWN)))

    @cached_property
    def noisy(self) -> dict[str, int]:
        """The noisy label of each image, ``UNKNOWN`` where the line holds a path alone."""
        return self._read("noisy_label_kv.txt", self._labelled)

    @cached_property
    def clean(self) -> dict[str, int]:
        """The clean label of each image that has one."""
        return self._read("clean_label_kv.txt", self._labelled)

    def keys(self, name: str) -> tuple[str, ...]:
        """The images of a list: ``noisy_train``, ``clean_train``, ``clean_val`` or ``clean_test``."""
        return tuple(self._read(f"{name}_key_list.txt", lambda line: (line.removeprefix(PREFIX), UNKNOWN)))

    def images(self, name: str) -> Listed:
        """The images of a list with their labels, noisy ones for ``noisy_train``, else clean ones."""
        return self._listed(name, self.keys(name), self.noisy if name == "noisy_train" else self.clean)

    def with_both_labels(self) -> tuple[Listed, Tensor]:
        """The images of the clean-train list that carry a noisy label too, and their clean labels, (N,) int64."""
        keys = [key for key in self.keys("clean_train") if key in self.noisy]
        clean_labels = torch.tensor([self.clean.get(key, UNKNOWN) for key in keys])
        return self._listed("clean_train", keys, self.noisy), clean_labels

    def _listed(self, name: str, keys: Sequence[str], labels: dict[str, int]) -> Listed:
        """With the folder in which most of the first hundred images are found."""
        folders = [self.root / PREFIX.rstrip("/"), self.root]
        found = [sum((folder / key).exists() for key in keys[:100]) for folder in folders]
        if not max(found):
            raise FileNotFoundError(
                f"None of the first images is in {folders[0]} or {folders[1]}, {keys[:1]} say. Unpack 0.tar to 9.tar "
                f"with data_scripts/prepare.py, or check that {self.root} is the data folder."
            )
        return Listed.by(labels, keys, f"{name}_key_list.txt", self.root, folders[found.index(max(found))])

    def _labelled(self, line: str) -> tuple[str, int]:
        """A path, one space and a number, or a path alone; paths hold commas."""
        key, _, word = line.removeprefix(PREFIX).rpartition(" ")
        if not key or not word:
            return (key or word).strip(), UNKNOWN
        if not word.isdecimal() or int(word) >= len(self.class_names):
            raise ValueError(f"the label {word!r} must be a whole number from 0 to {len(self.class_names) - 1}.")
        return key, int(word)

    def _read(self, name: str, parse: Callable[[str], tuple[str, int]]) -> dict[str, int]:
        """A list, which lies in the folder or in ``annotations``."""
        beside, annotations = self.root / name, self.root / "annotations"
        hint = f"Put the lists of Clothing1M into {self.root} or {annotations}, as they were published."
        return read_list(beside if beside.exists() else annotations / name, parse, hint=hint)
