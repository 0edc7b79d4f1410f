"""Verifying Clothing1M, Food-101N and Food-101: their lists, what they should count, and who meets whom in a test."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import get_args

import torch

from dsl_teach.data import food101n as food
from dsl_teach.data.clothing1m import Clothing1MLists, Test, Train
from dsl_teach.data.parts import Listed, is_stand_in
from dsl_teach.data.verifying import Report, check_images

CLOTHING1M = {
    "classes": 14,
    "noisy_train_key_list.txt": 1_000_000,
    "clean_train_key_list.txt": 47_570,
    "clean_val_key_list.txt": 14_313,
    "clean_test_key_list.txt": 10_526,
    "rows of noisy_label_kv.txt": 1_037_497,
    "clean_train images with a noisy label": 24_637,
    "clean_val images with a noisy label": 7_465,
    "clean_test images with a noisy label": 5_395,
    "images of the smallest noisy class": 18_976,
}
"""What the published data set counts."""
FOOD101N = {"classes": 101, "imagelist.tsv": 310_009, "verified_train.tsv": 52_868, "verified_val.tsv": 4_741}
FOOD101 = {"classes": 101, "test.txt": 25_250}


def verify_clothing1m(root: Path, *, workers: int = 1, max_unreadable: float = 0.001) -> Report:
    """Verify a Clothing1M folder. Raises FileNotFoundError if there is no such folder."""
    report, lists = _begin("Clothing1M", root), Clothing1MLists(root)
    if report.read(lambda: (lists.class_names, lists.noisy, lists.clean)) is None:
        return report
    report.count("classes", len(lists.class_names), CLOTHING1M)
    report.count("rows of noisy_label_kv.txt", len(lists.noisy), CLOTHING1M)
    report.counts["rows of clean_label_kv.txt"] = (len(lists.clean), None)
    trains = {train: part[0] for train in get_args(Train) if (part := report.read(partial(lists.train, train)))}
    tests = {test: listed for test in get_args(Test) if (listed := report.read(partial(lists.test, test)))}
    parts = [trains[train] for train in ("noisy", "clean") if train in trains] + list(tests.values())
    _count_clothing1m(report, lists, parts, trains.get("noisy"))
    _require_apart(report, parts)
    pairs = [(train, test) for train in trains.values() for test in tests.values()]
    check_images(report, root, parts, pairs, workers=workers, max_unreadable=max_unreadable)
    return report


def verify_food101n(root: Path, food101_root: Path, *, workers: int = 1, max_unreadable: float = 0.001) -> Report:
    """Verify Food-101N, and the test list of Food-101 with it. Raises FileNotFoundError if a folder is missing."""
    folder, test_folder = food.find_folder(root, food.FOOD101N), food.find_folder(food101_root, food.FOOD101)
    report = _begin("Food-101N and the test list of Food-101", folder, test_folder)
    if (names := report.read(lambda: food.food101n_classes(folder))) is None:
        return report
    report.count("classes", len(names), FOOD101N)
    train = report.read(lambda: food.food101n_images(folder, names))
    test = report.read(lambda: food.food101_images(test_folder, names))
    if train:
        report.count("imagelist.tsv", len(train.labels), FOOD101N)
        _verify_verification(report, folder, set(train.files.paths))
    if test:
        report.count("test.txt", len(test.labels), FOOD101)
    pairs = [(train, test)] if train and test else []
    parts = [part for part in (train, test) if part]
    check_images(report, folder, parts, pairs, workers=workers, max_unreadable=max_unreadable)
    return report


def verify_food101(root: Path, *, workers: int = 1, max_unreadable: float = 0.001) -> Report:
    """Verify the test list of Food-101. Raises FileNotFoundError if there is no such folder."""
    folder = food.find_folder(root, food.FOOD101)
    report = _begin("The test list of Food-101", folder)
    if (names := report.read(lambda: food.food101_classes(folder))) is None:
        return report
    report.count("classes", len(names), FOOD101)
    if test := report.read(lambda: food.food101_images(folder, names)):
        report.count("test.txt", len(test.labels), FOOD101)
        check_images(report, folder, [test], [], workers=workers, max_unreadable=max_unreadable)
    return report


def _begin(name: str, *folders: Path) -> Report:
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}. Name the folder the data set was unpacked to.")
    return Report(name, stand_in=is_stand_in(*folders))


def _count_clothing1m(report: Report, lists: Clothing1MLists, parts: list[Listed], noisy: Listed | None) -> None:
    for part in parts:
        report.count(part.source, len(part.labels), CLOTHING1M)
        name = part.source.removesuffix("_key_list.txt")
        if name != "noisy_train":
            both = sum(key in lists.noisy for key in part.files.paths)
            report.count(f"{name} images with a noisy label", both, CLOTHING1M)
    if noisy:
        sizes = torch.bincount(noisy.labels[noisy.labels >= 0], minlength=len(lists.class_names))
        report.count("images of the smallest noisy class", int(sizes.min()), CLOTHING1M)


def _require_apart(report: Report, parts: list[Listed]) -> None:
    for one, other in combinations(parts, 2):
        shared = set(one.files.paths) & set(other.files.paths)
        if shared:
            report.problems.append(
                f"{len(shared)} image(s) stand in {one.source} and in {other.source}: {min(shared)} …"
            )
            report.rows += [(one.source, path, f"stands in {other.source} too") for path in sorted(shared)]


def _verify_verification(report: Report, folder: Path, keys: set[str]) -> None:
    for name in food.VERIFIED:
        marks = report.read(partial(food.verification_list, folder, name))
        if marks is None:
            continue
        report.count(name, len(marks), FOOD101N)
        stray = sorted(marks.keys() - keys)
        if stray:
            report.notes.append(f"{len(stray)} row(s) of {name} belong to no image of the list: {stray[0]}.")
            report.rows += [(name, key, "verified, but not in imagelist.tsv") for key in stray]
