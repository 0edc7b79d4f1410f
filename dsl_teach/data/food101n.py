"""Food-101N: 310,000 web images of 101 dishes, some of their labels looked at by people; tested on Food-101.

Sources: Lee et al., "CleanNet: Transfer Learning for Scalable Image Classifier Training with Label Noise", CVPR 2018;
Bossard et al., "Food-101 - Mining Discriminative Components with Random Forests", ECCV 2014.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.dataset import UNKNOWN, NoisyDataset
from dsl_teach.data.folders import Listed, assemble, read_list

FOOD101N = "Food-101N_release"
FOOD101 = "food-101"
VERIFIED = ("verified_train.tsv", "verified_val.tsv")


def load(settings: Settings) -> NoisyDataset:
    """Food-101N as the settings name it."""
    return food101n(settings.data_root, settings.test_root, trust=settings.trust)


def food101n(root: str | Path, food101_root: str | Path, *, trust: bool = False) -> NoisyDataset:
    """Read Food-101N to train on, and the test list of Food-101 to test on.

    ``root`` is the folder ``Food-101N_release``, ``food101_root`` the folder ``food-101``, or what holds it. A class
    has one number on both sides, whatever the order of the two lists of class names (they differ at cheesecake and
    cheese_plate): its place in the list of Food-101N. An image is known by its class and its file: the same file may
    stand in two classes. No true label is known: ``verified`` says where a person found the given one right, 1, or
    wrong, 0. For ``trust`` see :func:`dsl_teach.data.folders.assemble`.

    Raises:
        FileNotFoundError: if a list is missing.
        ValueError: if a line is wrong, or a class exists on one side only.
    """
    folder, test_folder = find_folder(root, FOOD101N), find_folder(food101_root, FOOD101)
    class_names = food101n_classes(folder)
    train, test = food101n_images(folder, class_names), food101_images(test_folder, class_names)
    told = "labels from a web search, tested on Food-101"
    verified = verification(folder, train)
    return assemble("Food-101N", train, test, class_names, told, trust=trust, verified=verified)


def find_folder(root: str | Path, name: str) -> Path:
    """The folder with ``meta``: ``root``, or ``name`` in it."""
    inner = Path(root) / name
    return inner if (inner / "meta").is_dir() else Path(root)


def food101n_classes(folder: Path) -> tuple[str, ...]:
    """The class names of Food-101N in the order of its list."""
    return tuple(_read(folder, "classes.txt", lambda line: (line, UNKNOWN), "class_name"))


def food101n_images(folder: Path, class_names: tuple[str, ...]) -> Listed:
    """The images of ``imagelist.tsv`` with the class they were found for."""
    labels = _read(folder, "imagelist.tsv", lambda line: (line, _class_number(line, class_names)), "class_name/key")
    return Listed.by(labels, labels, "Food-101N's imagelist.tsv", folder, folder / "images")


def food101_images(folder: Path, class_names: tuple[str, ...]) -> Listed:
    """The images of Food-101's test list with the numbers of ``class_names``; both must have the same classes."""
    theirs = _read(folder, "classes.txt", lambda line: (line.strip(), UNKNOWN))
    if differ := set(class_names) ^ theirs.keys():
        raise ValueError(
            f"Food-101N and Food-101 must have the same classes, but {', '.join(sorted(differ))} stand(s) in one of "
            f"{folder / 'meta' / 'classes.txt'} and the list of Food-101N only."
        )
    labels = _read(folder, "test.txt", lambda line: (f"{line}.jpg", _class_number(line, class_names)))
    return Listed.by(labels, labels, "Food-101's test.txt", folder, folder / "images")


def verification(folder: Path, train: Listed) -> Tensor | None:
    """What people found on looking at the labels of ``train``: 1 right, 0 wrong, ``UNKNOWN`` where nobody looked.

    Rows about an image that the image list does not hold are left out with a warning: the published files have one.
    """
    marks = verification_list(folder, VERIFIED[0]) | verification_list(folder, VERIFIED[1])
    if stray := sorted(marks.keys() - set(train.files.paths)):
        warnings.warn(
            f"{len(stray)} verification label(s) of {folder / 'meta'} belong to no image of imagelist.tsv and are left "
            f"out, the first is {stray[0]}.",
            stacklevel=3,
        )
    found = torch.tensor([marks.get(key, UNKNOWN) for key in train.files.paths])
    return found if bool((found != UNKNOWN).any()) else None


def verification_list(folder: Path, name: str) -> dict[str, int]:
    """The rows of ``verified_train.tsv`` or ``verified_val.tsv``: 1 or 0 for each image."""

    def parse(line: str) -> tuple[str, int]:
        key, _, mark = line.partition("\t")
        if mark not in ("0", "1"):
            raise ValueError(f"the verification label, behind a tab, must be 0 or 1, but it is {mark!r}.")
        return key, int(mark)

    return _read(folder, name, parse, "class_name/key\tverification_label")


def _read(
    folder: Path, name: str, parse: Callable[[str], tuple[str, int]], header: str | None = None
) -> dict[str, int]:
    """A list of Food-101N, which has a header, or of Food-101, which has none."""
    hint = f"Unpack Food-101{'N' if header else ''} so that {folder}/meta and {folder}/images are there."
    return read_list(folder / "meta" / name, parse, hint=hint, header=header)


def _class_number(key: str, class_names: tuple[str, ...]) -> int:
    name, _, file = key.partition("/")
    if not file:
        raise ValueError(f"{key!r} must be a class name, a slash and a file name.")
    if name not in class_names:
        raise ValueError(f"the class {name!r} is not in the list of classes.")
    return class_names.index(name)
