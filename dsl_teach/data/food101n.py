"""Food-101N: 310,000 web images of 101 dishes, some of their labels looked at by people; tested on Food-101.

Sources: Lee et al., "CleanNet: Transfer Learning for Scalable Image Classifier Training with Label Noise", CVPR 2018;
Bossard et al., "Food-101 - Mining Discriminative Components with Random Forests", ECCV 2014.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dsl_teach.data.dataset import UNKNOWN, NoisyDataset
from dsl_teach.data.folders import Listed, add_once, assemble, read_lines

if TYPE_CHECKING:
    from dsl_teach.config import Settings

FOOD101N = "Food-101N_release"
FOOD101 = "food-101"
VERIFIED = ("verified_train.tsv", "verified_val.tsv")
HINT = "Unpack {0} so that {1}/meta and {1}/images are there."


def load(settings: Settings) -> NoisyDataset:
    """Food-101N as the settings name it."""
    return food101n(settings.data_root, settings.test_root, trust=settings.trust)


def food101n(root: str | Path, food101_root: str | Path, *, trust: bool = False) -> NoisyDataset:
    """Read Food-101N to train on, and the test list of Food-101 to test on.

    A class has one number on both sides, whatever the order of the two lists of class names (they differ at
    cheesecake and cheese_plate): its place in the list of Food-101N. An image is known by its class and its file: the
    same file may stand in two classes.

    No true label is known: ``verified`` says where a person found the given one right, 1, or wrong, 0.

    Args:
        root: the folder ``Food-101N_release``, or the one that holds it.
        food101_root: the folder ``food-101``, or the one that holds it.
        trust: see :func:`dsl_teach.data.folders.assemble`.

    Raises:
        FileNotFoundError: if a list is missing.
        ValueError: if a line is wrong, or a class exists on one side only.
    """
    folder, test_folder = find_folder(root, FOOD101N), find_folder(food101_root, FOOD101)
    class_names = food101n_classes(folder)
    train, test = food101n_images(folder, class_names), food101_images(test_folder, class_names)
    told = "labels from a web search, tested on Food-101"
    return assemble(
        "Food-101N", train, test, class_names, told, trust=trust, verified=verification(folder, train)
    )  # fmt: skip


def find_folder(root: str | Path, name: str) -> Path:
    """The folder with ``meta``: ``root``, or ``name`` in it."""
    inner = Path(root) / name
    return inner if (inner / "meta").is_dir() else Path(root)


def food101n_classes(folder: Path) -> tuple[str, ...]:
    """The class names of Food-101N in the order of its list."""
    names: dict[str, int] = {}
    for path, line, (name,) in _table(folder, "classes.txt", "class_name"):
        add_once(names, name, line, path, line)
    return tuple(names)


def food101n_images(folder: Path, class_names: tuple[str, ...]) -> Listed:
    """The images of ``imagelist.tsv`` with the class they were found for."""
    labels: dict[str, int] = {}
    for path, line, (key,) in _table(folder, "imagelist.tsv", "class_name/key"):
        add_once(labels, key, _class_number(key, class_names, path, line), path, line)
    return Listed.by(labels, labels, "Food-101N's imagelist.tsv", folder, folder / "images")


def food101_images(folder: Path, class_names: tuple[str, ...]) -> Listed:
    """The images of Food-101's test list with the numbers of ``class_names``; both must have the same classes."""
    hint, labels = HINT.format("Food-101", folder), dict[str, int]()
    theirs = {line.strip() for _, line in read_lines(folder / "meta" / "classes.txt", hint=hint)}
    if differ := set(class_names) ^ theirs:
        raise ValueError(
            f"Food-101N and Food-101 must have the same classes, but {', '.join(sorted(differ))} stand(s) in one of "
            f"{folder / 'meta' / 'classes.txt'} and the list of Food-101N only."
        )
    path = folder / "meta" / "test.txt"
    for line, key in read_lines(path, hint=hint):
        add_once(labels, f"{key}.jpg", _class_number(key, class_names, path, line), path, line)
    return Listed.by(labels, labels, "Food-101's test.txt", folder, folder / "images")


def verification(folder: Path, train: Listed) -> Tensor | None:
    """What people found on looking at the labels of ``train``: 1 right, 0 wrong, ``UNKNOWN`` where nobody looked.

    Rows about an image that the image list does not hold are left out with a warning: the published files have one.
    """
    lists = [verification_list(folder, name) for name in VERIFIED]
    if twice := lists[0].keys() & lists[1].keys():
        raise ValueError(f"{min(twice)!r} stands in both {' and '.join(VERIFIED)}. Remove it from one of them.")
    marks = lists[0] | lists[1]
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
    marks: dict[str, int] = {}
    for path, line, (key, mark) in _table(folder, name, "class_name/key", "verification_label"):
        if mark not in ("0", "1"):
            raise ValueError(f"{path}, line {line}: the verification label must be 0 or 1, but it is {mark!r}.")
        add_once(marks, key, int(mark), path, line)
    return marks


def _table(folder: Path, name: str, *header: str) -> Iterator[tuple[Path, int, list[str]]]:
    """The rows of a table with tabs between its columns, with its path and their line numbers."""
    path = folder / "meta" / name
    for place, (number, line) in enumerate(read_lines(path, hint=HINT.format("Food-101N", folder))):
        row = line.split("\t")
        if place == 0 and tuple(row) != header:
            raise ValueError(
                f"{path} must begin with the header {'<tab>'.join(header)!r}, but its first line is {line!r}. "
                "Take the file as it was published."
            )
        if len(row) != len(header):
            raise ValueError(f"{path}, line {number}: {line!r} has {len(row)} column(s), not {len(header)}.")
        if place:
            yield path, number, row


def _class_number(key: str, class_names: tuple[str, ...], path: Path, line: int) -> int:
    name, slash, file = key.partition("/")
    if not (slash and file):
        raise ValueError(f"{path}, line {line}: {key!r} must be a class name, a slash and a file name.")
    if name not in class_names and name != "..":  # a path that leaves the folder is refused where it is noted
        raise ValueError(
            f"{path}, line {line}: the class {name!r} is not in the list of classes. Correct the line, or check that "
            "classes.txt belongs to it."
        )
    return class_names.index(name) if name in class_names else UNKNOWN
