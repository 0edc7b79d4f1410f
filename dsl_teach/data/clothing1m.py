"""Clothing1M: a million web images of clothes in 14 classes, labelled by the words around them.

Source: Xiao et al., "Learning From Massive Noisy Labeled Data for Image Classification", CVPR 2015. The images come
by request to its authors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from dsl_teach.data.dataset import UNKNOWN, ImageFiles, NoisyDataset
from dsl_teach.data.lists import read_key_values, read_keys, read_lines
from dsl_teach.data.parts import Listed, known_or_none, made_from, require_both_sides, take
from dsl_teach.data.usable import Check, usable_rows

Train = Literal["noisy", "noisy_and_both", "both", "clean"]
Test = Literal["clean_test", "clean_val"]

PREFIX = "images/"


def clothing1m(
    root: str | Path,
    *,
    train: Train = "noisy",
    test: Test = "clean_test",
    check: Check = "auto",
    max_unreadable: float = 0.001,
) -> NoisyDataset:
    """Read Clothing1M from the folder it was unpacked to, or from a copy made by data_scripts/prepare.py.

    The lists may lie in the folder or under ``annotations/``, and name the images with or without ``images/``.

    ==================== ===========================================================================
    ``train``
    ==================== ===========================================================================
    ``"noisy"``          the noisy key list, a million images; no true label is known
    ``"noisy_and_both"`` and those of the clean-train list that carry a noisy label too: it is the
                         one to train on, the clean one goes to ``clean_labels``
    ``"both"``           only those: small, and every error is known
    ``"clean"``          the clean-train list with its clean labels, for comparison
    ==================== ===========================================================================

    Args:
        root: the data folder.
        train: which images to train on.
        test: which clean list to test on; ``"clean_val"`` is for choosing settings.
        check: how thoroughly to look at the files, see :mod:`dsl_teach.data.usable`.
        max_unreadable: the share of a list's images that may be missing, unreadable or without a label. They are
            left out with a warning, and listed in ``left_out.tsv`` in the data folder.

    Returns:
        The data set; its images stay on disk.

    Raises:
        FileNotFoundError: if a list is missing, or no image is there.
        ValueError: if a line is wrong, an image stands in two lists, or too many images cannot be used.
    """
    lists = Clothing1MLists(Path(root))
    train_part, clean_labels = lists.train(train)
    test_part = lists.test(test)
    rows, test_rows = usable_rows(train_part, test_part, folder=lists.root, check=check, max_unreadable=max_unreadable)
    noisy_labels, test_labels = train_part.labels[rows], test_part.labels[test_rows]
    require_both_sides(noisy_labels, test_labels, lists.class_names, (train_part.source, test_part.source))
    return NoisyDataset(
        name="Clothing1M",
        images=take(train_part.files, rows),
        noisy_labels=noisy_labels,
        class_names=lists.class_names,
        test_images=take(test_part.files, test_rows),
        test_labels=test_labels,
        clean_labels=known_or_none(clean_labels[rows]),
        made_from=made_from("Clothing1M", f"train={train}, labels from the words around the images", lists.root),
    )


class Clothing1MLists:
    """The lists of a Clothing1M folder; each is read when it is first asked for.

    Args:
        root: the data folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self._hint = f"Put the lists of Clothing1M into {root} or {root / 'annotations'}, as they were published."

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        lines = read_lines(self._path("category_names_eng.txt"), hint=self._hint)
        return tuple(line.strip() for _, line in lines)

    @cached_property
    def noisy(self) -> dict[str, int]:
        """The noisy label of each image that has one."""
        return self._labels("noisy_label_kv.txt")

    @cached_property
    def clean(self) -> dict[str, int]:
        """The clean label of each image that has one."""
        return self._labels("clean_label_kv.txt")

    def keys(self, name: str) -> tuple[str, ...]:
        """The images of a list: ``noisy_train``, ``clean_train``, ``clean_val`` or ``clean_test``."""
        return read_keys(self._path(f"{name}_key_list.txt"), hint=self._hint, prefix=PREFIX)

    def train(self, train: Train) -> tuple[Listed, Tensor]:
        """The training images and their clean labels where known; see :func:`clothing1m`."""
        if train not in get_args(Train):
            raise ValueError(f"train must be one of {', '.join(get_args(Train))}, but it is {train!r}.")
        noisy_keys = self.keys("noisy_train") if train.startswith("noisy") else ()
        clean_keys = self.keys("clean_train") if train != "noisy" else ()
        if train != "clean":
            clean_keys = tuple(key for key in clean_keys if key in self.noisy)
        _require_apart(noisy_keys, clean_keys)
        keys, labels = noisy_keys + clean_keys, self.clean if train == "clean" else self.noisy
        source = {"noisy": "noisy_train_key_list.txt", "noisy_and_both": "the noisy and clean train key lists"}
        part = self._listed(keys, labels, source.get(train, "clean_train_key_list.txt"))
        return part, _look_up(self.clean, keys)

    def test(self, test: Test) -> Listed:
        """The test images with their clean labels."""
        if test not in get_args(Test):
            raise ValueError(f"test must be one of {', '.join(get_args(Test))}, but it is {test!r}.")
        return self._listed(self.keys(test), self.clean, f"{test}_key_list.txt")

    def _listed(self, keys: tuple[str, ...], labels: dict[str, int], source: str) -> Listed:
        return Listed(source, ImageFiles(self._image_folder(keys), keys), _look_up(labels, keys))

    def _image_folder(self, keys: tuple[str, ...]) -> Path:
        """Where the images lie: the folder in which most of the first hundred are found."""
        folders = [self.root / PREFIX.rstrip("/"), self.root]
        found = [sum((folder / key).exists() for key in keys[:100]) for folder in folders]
        if not max(found):
            raise FileNotFoundError(
                f"None of the first images is in {folders[0]} or {folders[1]}, {keys[:1]} say. Unpack 0.tar to 9.tar "
                f"with data_scripts/prepare.py, or check that {self.root} is the data folder."
            )
        return folders[found.index(max(found))]

    def _labels(self, name: str) -> dict[str, int]:
        return read_key_values(self._path(name), len(self.class_names), hint=self._hint, prefix=PREFIX)

    def _path(self, name: str) -> Path:
        beside = self.root / name
        return beside if beside.exists() else self.root / "annotations" / name


def _look_up(labels: dict[str, int], keys: Sequence[str]) -> Tensor:
    return torch.tensor([labels.get(key, UNKNOWN) for key in keys], dtype=torch.int64)


def _require_apart(noisy_keys: Sequence[str], clean_keys: Sequence[str]) -> None:
    shared = set(noisy_keys).intersection(clean_keys)
    if shared:
        raise ValueError(
            f"{len(shared)} image(s) stand in noisy_train_key_list.txt and in clean_train_key_list.txt, one is "
            f"{min(shared)}. Remove the line from one of the two."
        )
