"""Food-101N: 310,000 web images of 101 dishes, some of their labels looked at by people; tested on Food-101.

Sources: Lee et al., "CleanNet: Transfer Learning for Scalable Image Classifier Training with Label Noise", CVPR 2018;
Bossard et al., "Food-101 - Mining Discriminative Components with Random Forests", ECCV 2014.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.data.dataset import UNKNOWN, ImageFiles, NoisyDataset
from dsl_teach.data.lists import add_once, inside, read_lines, read_table
from dsl_teach.data.parts import Listed, known_or_none, made_from, require_both_sides, take
from dsl_teach.data.usable import Check, usable_rows

FOOD101N = "Food-101N_release"
FOOD101 = "food-101"
VERIFIED = ("verified_train.tsv", "verified_val.tsv")
VERIFIED_HEADER = ("class_name/key", "verification_label")


def food101n(
    root: str | Path,
    food101_root: str | Path,
    *,
    check: Check = "auto",
    max_unreadable: float = 0.001,
) -> NoisyDataset:
    """Read Food-101N to train on, and the test list of Food-101 to test on.

    A class has one number on both sides, whatever the order of the two lists of class names (they differ at
    cheesecake and cheese_plate): its place in the list of Food-101N. An image is known by its class and its file: the
    same file may stand in two classes.

    Where a person found the label right, ``clean_labels`` holds it. Where a person found it wrong, the true class is
    not known: ``verified`` is 0 there, and ``clean_labels`` ``UNKNOWN``.

    Args:
        root: the folder ``Food-101N_release``, or the one that holds it.
        food101_root: the folder ``food-101``, or the one that holds it.
        check: how thoroughly to look at the files, see :mod:`dsl_teach.data.usable`.
        max_unreadable: the share of a list's images that may be missing or unreadable. They are left out with a
            warning, and listed in ``left_out.tsv`` in the data folder.

    Returns:
        The data set; its images stay on disk.

    Raises:
        FileNotFoundError: if a list is missing.
        ValueError: if a line is wrong, a class exists on one side only, or too many images cannot be used.
    """
    folder, test_folder = find_folder(root, FOOD101N), find_folder(food101_root, FOOD101)
    class_names = food101n_classes(folder)
    train, test = food101n_images(folder, class_names), food101_images(test_folder, class_names)
    verified = verification(folder, train)
    rows, test_rows = usable_rows(train, test, folder=folder, check=check, max_unreadable=max_unreadable)
    noisy_labels, test_labels = train.labels[rows], test.labels[test_rows]
    require_both_sides(noisy_labels, test_labels, class_names, (train.source, test.source))
    return NoisyDataset(
        name="Food-101N",
        images=take(train.files, rows),
        noisy_labels=noisy_labels,
        class_names=class_names,
        test_images=take(test.files, test_rows),
        test_labels=test_labels,
        clean_labels=known_or_none(torch.where(verified[rows] == 1, noisy_labels, UNKNOWN)),
        verified=known_or_none(verified[rows]),
        made_from=made_from("Food-101N", "labels from a web search, tested on Food-101", folder, test_folder),
    )


def find_folder(root: str | Path, name: str) -> Path:
    """The folder with ``meta``: ``root``, or ``name`` in it."""
    inner = Path(root) / name
    return inner if (inner / "meta").is_dir() else Path(root)


def food101n_classes(folder: Path) -> tuple[str, ...]:
    """The class names of Food-101N in the order of its list."""
    path = folder / "meta" / "classes.txt"
    names: dict[str, int] = {}
    for number, (name,) in read_table(path, ("class_name",), hint=_hint(folder, "Food-101N")):
        add_once(names, inside(name, path, number), number, path, number)
    return tuple(names)


def food101n_images(folder: Path, class_names: tuple[str, ...]) -> Listed:
    """The images of ``imagelist.tsv`` with the class they were found for."""
    path = folder / "meta" / "imagelist.tsv"
    numbers = {name: number for number, name in enumerate(class_names)}
    labels: dict[str, int] = {}
    for line, (key,) in read_table(path, ("class_name/key",), hint=_hint(folder, "Food-101N")):
        add_once(labels, inside(key, path, line), _class_number(key, numbers, path, line), path, line)
    return _listed(folder, labels, "Food-101N's imagelist.tsv")


def food101_images(folder: Path, class_names: tuple[str, ...], part: str = "test") -> Listed:
    """The images of a list of Food-101, ``test`` or ``train``, with the numbers of ``class_names``.

    Raises:
        FileNotFoundError: if a list is missing.
        ValueError: if Food-101 has other classes, or a line is wrong.
    """
    _require_same_classes(folder / "meta" / "classes.txt", class_names)
    path = folder / "meta" / f"{part}.txt"
    numbers = {name: number for number, name in enumerate(class_names)}
    labels: dict[str, int] = {}
    for line, key in read_lines(path, hint=_hint(folder, "Food-101")):
        label = _class_number(inside(key, path, line), numbers, path, line)
        add_once(labels, f"{key}.jpg", label, path, line)
    return _listed(folder, labels, f"Food-101's {part}.txt")


def food101_classes(folder: Path) -> tuple[str, ...]:
    """The class names of Food-101 in the order of its list."""
    path = folder / "meta" / "classes.txt"
    return tuple(line.strip() for _, line in read_lines(path, hint=_hint(folder, "Food-101")))


def verification(folder: Path, train: Listed) -> Tensor:
    """What people found on looking at the labels of ``train``: 1 right, 0 wrong, ``UNKNOWN`` where nobody looked.

    Rows about an image that the image list does not hold are left out with a warning: the published files have one.
    """
    lists = [verification_list(folder, name) for name in VERIFIED]
    marks = lists[0] | lists[1]
    if len(marks) < len(lists[0]) + len(lists[1]):
        twice = min(lists[0].keys() & lists[1].keys())
        raise ValueError(f"{twice!r} stands in both {' and '.join(VERIFIED)}. Remove it from one of them.")
    stray = sorted(marks.keys() - set(train.files.paths))
    if stray:
        warnings.warn(
            f"{len(stray)} verification label(s) of {folder / 'meta'} belong to no image of imagelist.tsv and are left "
            f"out, the first is {stray[0]}.",
            stacklevel=3,
        )
    return torch.tensor([marks.get(key, UNKNOWN) for key in train.files.paths], dtype=torch.int64)


def verification_list(folder: Path, name: str) -> dict[str, int]:
    """The rows of ``verified_train.tsv`` or ``verified_val.tsv``: 1 or 0 for each image."""
    path = folder / "meta" / name
    marks: dict[str, int] = {}
    for line, (key, mark) in read_table(path, VERIFIED_HEADER, hint=_hint(folder, "Food-101N")):
        if mark not in ("0", "1"):
            raise ValueError(f"{path}, line {line}: the verification label must be 0 or 1, but it is {mark!r}.")
        add_once(marks, inside(key, path, line), int(mark), path, line)
    return marks


def _listed(folder: Path, labels: dict[str, int], source: str) -> Listed:
    files = ImageFiles(folder / "images", tuple(labels))
    return Listed(source, files, torch.tensor(list(labels.values()), dtype=torch.int64))


def _class_number(key: str, numbers: dict[str, int], path: Path, line: int) -> int:
    name, slash, file = key.partition("/")
    if not (slash and file):
        raise ValueError(f"{path}, line {line}: {key!r} must be a class name, a slash and a file name.")
    if name not in numbers:
        raise ValueError(
            f"{path}, line {line}: the class {name!r} is not in the list of classes. Correct the line, or check that "
            "classes.txt belongs to it."
        )
    return numbers[name]


def _require_same_classes(path: Path, class_names: tuple[str, ...]) -> None:
    others = food101_classes(path.parent.parent)
    only = [f"{name} (only in Food-101N)" for name in class_names if name not in others]
    only += [f"{name} (only in Food-101)" for name in others if name not in class_names]
    if only:
        raise ValueError(
            f"Food-101N and Food-101 must have the same classes, but these stand on one side only: {', '.join(only)}. "
            f"Check {path} and the list of Food-101N."
        )


def _hint(folder: Path, name: str) -> str:
    return f"Unpack {name} so that {folder / 'meta'} and {folder / 'images'} are there."
