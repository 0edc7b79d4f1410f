"""Verify a data set once: read every list, decode every image, compare every count with the published one.

    python data_scripts/verify.py clothing1m /data/clothing1m
    python data_scripts/verify.py food101n /data/Food-101N_release --test-root /data/food-101
    python data_scripts/verify.py image_folder /data/mine --test-root /data/mine_test

What loaders have to leave out is written to unreadable.txt in the data folder (and in the test folder): its first line
says what was looked at, each other one is a path, a tab and a reason: missing, unreadable, or the same bytes as a test
image. The loaders go by it and need not look again. A million images take one core about half an hour.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dsl_teach.data import food101n as food
from dsl_teach.data.clothing1m import Clothing1MLists
from dsl_teach.data.dataset import UNKNOWN
from dsl_teach.data.folders import SYNTHETIC, UNREADABLE, Listed, Look, list_folder, look, unusable
from dsl_teach.errors import boundary
from dsl_teach.storage import locked, write_atomically

PUBLISHED = {
    "classes of Clothing1M": 14,
    "noisy_train_key_list.txt": 1_000_000,
    "clean_train_key_list.txt": 47_570,
    "clean_val_key_list.txt": 14_313,
    "clean_test_key_list.txt": 10_526,
    "rows of noisy_label_kv.txt": 1_037_497,
    "images of the smallest noisy class": 18_976,
    "classes of Food-101N": 101,
    "Food-101N's imagelist.tsv": 310_009,
    "verified_train.tsv": 52_868,
    "verified_val.tsv": 4_741,
    "Food-101's test.txt": 25_250,
}
"""What the published data sets count."""


@dataclass
class Report:
    """What was found. ``problems`` make the data set unfit."""

    synthetic: bool
    trains: list[Listed] = field(default_factory=list)
    tests: list[Listed] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, read: Callable[[], Any], into: list[Any] | None = None) -> Any:
        """Read a list; if it is missing or wrong, that is a problem, and the answer is None."""
        try:
            found = read()
        except (FileNotFoundError, ValueError) as error:
            return self.problems.append(str(error))
        if into is not None:
            into.append(found)
        return found

    def count(self, what: str, number: int) -> None:
        """Note a number; one that is not the published one is a problem, unless the data are synthetic."""
        published = None if self.synthetic else PUBLISHED.get(what)
        self.lines.append(f"{what}: {number:,}")
        if published is not None and number != published:
            self.problems.append(f"{what}: there are {number:,}, but the published data set has {published:,}.")


def clothing1m(root: Path, test_root: Path) -> Report:
    """Read the lists of Clothing1M."""
    report, lists = Report((root / SYNTHETIC).exists()), Clothing1MLists(root)
    if report.read(lambda: (lists.class_names, lists.noisy, lists.clean)):
        report.count("classes of Clothing1M", len(lists.class_names))
        report.count("rows of noisy_label_kv.txt", len(lists.noisy))
        for name in ("noisy_train", "clean_train", "clean_val", "clean_test"):
            report.read(partial(lists.images, name), report.trains if name.endswith("train") else report.tests)
        for noisy in report.trains[:1]:
            sizes = torch.bincount(noisy.labels[noisy.labels >= 0], minlength=len(lists.class_names))
            report.count("images of the smallest noisy class", int(sizes.min()))
    return report


def food101n(root: Path, test_root: Path) -> Report:
    """Read the lists of Food-101N, and the test list of Food-101."""
    folder, test_folder = food.find_folder(root, food.FOOD101N), food.find_folder(test_root, food.FOOD101)
    report = Report((folder / SYNTHETIC).exists())
    if names := report.read(lambda: food.food101n_classes(folder)):
        report.count("classes of Food-101N", len(names))
        train = report.read(lambda: food.food101n_images(folder, names), report.trains)
        report.read(lambda: food.food101_images(test_folder, names), report.tests)
        for name in food.VERIFIED:
            marks = report.read(partial(food.verification_list, folder, name))
            report.count(name, len(marks or ()))
            stray = (marks or {}).keys() - set(train.files.paths if train else ())
            report.lines += [f"of these, {len(stray)} belong to no image of the list"] if stray else []
    return report


def image_folder(root: Path, test_root: Path) -> Report:
    """Read folders with one folder a class."""
    report = Report(synthetic=True)
    report.read(lambda: list_folder(root)[0], report.trains)
    if test_root != root:
        report.read(lambda: list_folder(test_root)[0], report.tests)
    return report


READ = {"clothing1m": clothing1m, "food101n": food101n, "image_folder": image_folder}


def verify(
    name: str, root: Path, test_root: Path | None = None, *, workers: int = 1, max_unreadable: float = 0.001
) -> Report:
    """Look at everything by ``workers`` processes, and write ``unreadable.txt`` into each data folder."""
    if not 0 <= max_unreadable <= 1:
        raise ValueError(f"max_unreadable must be a share from 0 to 1, but it is {max_unreadable}.")
    if gone := [folder for folder in (root, test_root or root) if not folder.is_dir()]:
        raise FileNotFoundError(f"There is no folder {gone[0]}. Name the folder the data set was unpacked to.")
    report = READ[name](root, test_root or root)
    lists = report.trains + report.tests
    report.problems += [
        f"{len(shared)} image(s) stand in {one.source} and in {other.source}: {min(shared)} …"
        for one, other in combinations(lists, 2)
        if (shared := set(one.files.full_paths()) & set(other.files.full_paths()))
    ]
    with ExitStack() as stack:
        for folder in sorted({part.folder for part in lists}):
            stack.enter_context(locked(folder))
        seen = dict[str, Look]()
        for part in lists:
            looks = partial(look, within=part.files.root, decode=True)
            seen |= in_processes(looks, part.files.full_paths(), workers, part.source)
        for folder in dict.fromkeys(part.folder for part in lists):
            _write(report, folder, [part for part in lists if part.folder == folder], seen, max_unreadable)
    return report


def _write(report: Report, folder: Path, lists: list[Listed], seen: dict[str, Look], max_unreadable: float) -> None:
    found, in_order = dict[str, str](), True
    for part in lists:
        # without test images, some of these will be held out: of files with the same bytes only one may stay
        gone = unusable(part, seen, (report.tests or [part]) if part in report.trains else ())
        twins = sum(reason.startswith("the same bytes") for reason in gone.values())
        broken, unlabelled, total = len(gone) - twins, int((part.labels == UNKNOWN).sum()), len(part.labels)
        is_over = broken + unlabelled > max_unreadable * total
        in_order &= not is_over
        report.count(part.source, total)
        if broken or unlabelled:
            what = f"{part.source}: {broken} missing or unreadable, {unlabelled} without a label."
            over = f" That is more than max_unreadable = {max_unreadable} allows: restore them."
            report.problems.append(what + over) if is_over else report.lines.append(what)
        if twins:
            report.lines.append(f"{part.source}: {twins} with the same bytes as a test image, or another one")
        found |= {Path(path).relative_to(folder.absolute()).as_posix(): reason for path, reason in gone.items()}
    began = f"{'verified' if in_order else 'NOT IN ORDER'} {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    stamps = "; ".join(f"{part.source}: {part.whole.stamp()}" for part in lists)
    rows = "".join(f"{path}\t{reason}\n" for path, reason in sorted(found.items()))
    write_atomically(folder / UNREADABLE, f"{began}, max_unreadable {max_unreadable:g}; {stamps}.\n{rows}")


def in_processes(work: Callable[..., Any], items: Sequence[Any], workers: int, what: str) -> Iterator[tuple[Any, Any]]:
    """Every item with what ``work`` makes of it, by so many processes, or, with one, here; shows how far it is."""
    if workers < 1:
        raise ValueError(f"workers must be at least 1, but it is {workers}.")
    with nullcontext() if workers == 1 else multiprocessing.Pool(workers, initializer=_begin) as pool:
        made = pool.imap(work, items, 100) if pool else map(work, items)
        yield from zip(items, tqdm(made, what, len(items), disable=None, unit=" files"), strict=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the one who hands out the work
    torch.set_num_threads(1)


def main(arguments: list[str] | None = None) -> int:
    """Verify, print the report; 0 if the data set is in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=READ)
    parser.add_argument("root", type=Path, help="the data folder")
    parser.add_argument("--test-root", type=Path, help="folder of the test images: Food-101, or a folder of images")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument(
        "--max-unreadable", type=float, default=0.001, metavar="SHARE",
        help="share of a list's images that may be missing or unreadable (default: 0.001)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    with boundary("verify.py"):
        report = verify(**vars(options))
        print("\n".join([*report.lines, *(f"PROBLEM: {problem}" for problem in report.problems)]))
        print("This data set is not in order." if report.problems else "Everything is in order.")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
