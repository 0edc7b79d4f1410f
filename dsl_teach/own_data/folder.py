"""What is in a folder of one's own: images and given labels, and what is skipped, each with the reason."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from dsl_teach.data.dataset import ImageFiles
from dsl_teach.data.folders import SUFFIXES, look_at_all
from dsl_teach.files import read_table

SPLITS = frozenset(("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"))
"""Folders of these names hold the class folders, if there is no other folder beside them."""
FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d*\.?\d*$)")
"""So begins what a spreadsheet would run."""


@dataclass(frozen=True)
class Folder:
    """Images in the order of their paths, and their given labels."""

    files: ImageFiles
    labels: Tensor
    """(N,) int64."""
    class_names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    """Path below the folder, and why it is no image of the data set."""
    doubles: dict[int, int]
    """Row -> another row with the same bytes and another label."""

    def without(self, broken: dict[int, str]) -> tuple[Folder, Tensor]:
        """The folder without the images of these rows, each with the reason; and the rows that stay."""
        kept = torch.tensor([row for row in range(len(self.files)) if row not in broken], dtype=torch.int64)
        skipped = tuple((self.files.paths[row], why) for row, why in broken.items())
        found = replace(self, files=self.files[kept], labels=self.labels[kept], skipped=self.skipped + skipped)
        return found, kept


def read_folder(root: Path, labels: Path | None = None) -> Folder:
    """Find the images of a folder and their labels: class folders, class folders within splits, or a CSV file.

    Nothing is decoded here. A CSV file has the columns ``file_name`` (or ``path``), below the folder, and ``label``.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        ValueError: if it holds fewer than two classes, or a name that a spreadsheet would run.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}. Give the folder that holds one folder a class.")
    seen = _walk(root)
    skipped, found = [(path, why) for path, why in seen if why], [path for path, why in seen if not why]
    given = _by_folder(found) if labels is None else _by_table(labels, set(found), skipped)
    skipped += [
        (path, "it lies in no class folder" if labels is None else "no label") for path in found if path not in given
    ]
    names = tuple(sorted(set(given.values())))
    if len(names) < 2:
        what = f"one class, {names[0]}" if names else "no class with images"
        raise ValueError(
            f"{labels or root} holds {what}: a label is compared with other classes, so give at least two."
        )
    if wrong := [name for name in names if FORMULA.match(name)]:
        raise ValueError(f"A spreadsheet would take the class name {wrong[0]!r} for a formula. Rename it.")
    number = {name: place for place, name in enumerate(names)}
    paths = tuple(sorted(given))
    rows = torch.tensor([number[given[path]] for path in paths], dtype=torch.int64)
    return Folder(ImageFiles(root, paths), rows, names, tuple(sorted(skipped)), {})


def _walk(root: Path) -> list[tuple[str, str]]:
    """Every file below a folder, and why it cannot be an image, if so; folders that are links are not entered."""

    def unreadable(error: OSError) -> None:
        found.append((os.path.relpath(error.filename, root), f"the folder cannot be read: {error.strerror}"))

    found: list[tuple[str, str]] = []
    for folder, inner, files in os.walk(root, onerror=unreadable):
        for name in inner + files:
            path, is_folder = os.path.join(folder, name), name in inner
            if is_folder and not os.path.islink(path) and not name.startswith("."):
                continue
            below = PurePosixPath(os.path.relpath(path, root)).as_posix()
            shown, why = below.encode("utf-8", "backslashreplace").decode(), ""
            if shown != below:
                why = "its name is not UTF-8"
            elif name.startswith("."):
                why = "hidden"
            elif is_folder:
                why = "a link to a folder"
            elif Path(name).suffix.lower() not in SUFFIXES:
                why = f"its name does not end in {', '.join(sorted(SUFFIXES))}"
            found.append((shown, why))
        inner[:] = [name for name in inner if not name.startswith(".")]
    return found


def _by_folder(found: list[str]) -> dict[str, str]:
    """Path -> the class folder it lies in."""
    tops = {path.split("/")[0] for path in found if "/" in path}
    depth = int(all(name.lower() in SPLITS for name in tops) and any(path.count("/") > 1 for path in found))
    return {path: path.split("/")[depth] for path in found if path.count("/") > depth}


def _by_table(table: Path, found: set[str], skipped: list[tuple[str, str]]) -> dict[str, str]:
    """Path -> label as a CSV file says; rows without an image, or without a label, are skipped."""
    rows = read_table(table, "label")
    column = next((name for name in ("file_name", "path") if rows and name in rows[0]), None)
    if column is None:
        raise ValueError(f"{table} must have a column file_name, or path, and a row at least.")
    given: dict[str, str] = {}
    for row in rows:
        path, label = PurePosixPath(row[column]).as_posix(), row["label"].strip()
        if given.get(path, label) != label:
            raise ValueError(f"{table}: {path} stands there twice, with two labels.")
        if path not in found:
            skipped.append((path, "the table names it, but no such image lies in the folder"))
        elif label:
            given[path] = label
    return given


def looked_at(folder: Folder) -> tuple[Folder, Tensor]:
    """Leave out what has no readable header and find files of the same bytes and other labels; the rows that stay."""
    looks = look_at_all(folder.files)
    kept, rows = folder.without({row: why for row, (why, _) in enumerate(looks.values()) if why})
    paths, by_content = kept.files.full_paths(), defaultdict[bytes, list[int]](list)
    often = Counter(looks[path] for path in paths)
    for place, path in enumerate(paths):
        if often[looks[path]] > 1:  # else no other file ends alike
            with open(path, "rb") as file:
                by_content[hashlib.file_digest(file, "sha256").digest()].append(place)
    label, doubles = kept.labels.tolist(), dict[int, int]()
    for same in by_content.values():
        firsts = {label[place]: place for place in reversed(same)}
        for place in same:
            other = next((first for c, first in firsts.items() if c != label[place]), None)
            if other is not None:
                doubles[place] = other
    return replace(kept, doubles=doubles), rows
