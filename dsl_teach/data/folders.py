"""Images on disk: the lists that name them, the files that cannot be read, and any folder with one folder a class."""

from __future__ import annotations

import filecmp
import hashlib
import os
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dsl_teach.data.dataset import UNKNOWN, ImageFiles, NoisyDataset
from dsl_teach.data.decode import UnreadableImage, decode_image, reason_of
from dsl_teach.seeds import stream

if TYPE_CHECKING:
    from dsl_teach.config import Settings

Found = dict[str, str]
"""Paths of images that are to be left out, and why."""

UNREADABLE = "unreadable.txt"
"""In a data folder: what data_scripts/verify.py found; the first line says what it looked at."""
SYNTHETIC = "SYNTHETIC.txt"
"""Marks a folder of images that the project drew itself."""
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
"""What counts as an image; other files are passed over."""
HELD_OUT = 0.2
"""Share of each class that is tested on where there is no folder of test images."""


@dataclass(frozen=True)
class Listed:
    """Images that a list names, with the labels it gives."""

    source: str
    """The list, for messages."""
    folder: Path
    """The data folder, where ``unreadable.txt`` lies."""
    files: ImageFiles
    labels: Tensor
    """(N,) int64, ``UNKNOWN`` where the list gives none."""

    @classmethod
    def by(cls, labels: Mapping[str, int], paths: Iterable[str], source: str, folder: Path, images: Path) -> Listed:
        """Some paths in the folder ``images``, each with its label in ``labels``."""
        files = ImageFiles(images, tuple(paths))
        return cls(source, folder, files, torch.tensor([labels.get(path, UNKNOWN) for path in files.paths]))

    def of(self, chosen: Tensor, source: str = "") -> Listed:
        """Only the images for which ``chosen``, (N,) bool, holds."""
        rows = chosen.nonzero().flatten()
        files = ImageFiles(self.files.root, tuple(self.files.paths[row] for row in rows.tolist()))
        return Listed(source or self.source, self.folder, files, self.labels[rows])

    def full_paths(self) -> list[str]:
        """The paths with their folder in front."""
        return [f"{self.files.root.as_posix()}/{path}" for path in self.files.paths]

    def stamp(self) -> str:
        """Number and checksum of the paths: by it a loader knows that verify.py looked at just these."""
        digest = hashlib.sha256("\n".join(self.files.paths).encode()).hexdigest()
        return f"{len(self.labels)} files ({digest[:16]})"


def load(settings: Settings) -> NoisyDataset:
    """A folder of images as the settings name it."""
    return image_folder(settings.data_root, settings.test_root or None, seed=settings.seed, trust=settings.trust)


def image_folder(
    root: str | Path, test_root: str | Path | None = None, *, seed: int = 0, trust: bool = False
) -> NoisyDataset:
    """Read a folder of images, ``root/cat/1.jpg`` say; the folder an image lies in is its given, perhaps wrong, label.

    Args:
        root: the training images, one folder a class. Classes are numbered in the order of their names.
        test_root: the test images, with the same class folders. Without it a fifth of ``root`` is held out, by
            ``seed``: then the test labels are as perhaps wrong as the others.
        seed: which images are held out.
        trust: see :func:`assemble`.

    Raises:
        FileNotFoundError: if a folder is missing.
        ValueError: if a class is empty or exists on one side only.
    """
    whole, class_names = list_folder(Path(root))
    if test_root is None:
        is_test = _held_out(whole.labels, stream(seed, "held out"))
        train, test = whole.of(~is_test), whole.of(is_test, f"the held-out images of {whole.source}")
        told = "tested on held-out images, labels as given, perhaps wrong"
    else:
        train, (test, test_names), told = whole, list_folder(Path(test_root)), f"tested on {test_root}"
        if lacking := ", ".join(sorted(set(class_names) ^ set(test_names))):
            raise ValueError(f"{root} and {test_root} must hold the same class folders, but only one holds {lacking}.")
    looked_at = (train, test) if test_root else (whole, whole)
    told = f"labels are folder names, {told}"
    return assemble(Path(root).name, train, test, class_names, told, trust=trust, looked_at=looked_at)


def list_folder(root: Path) -> tuple[Listed, tuple[str, ...]]:
    """The images of a folder in the order of their paths, and the names of its classes."""
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}. Give the folder that holds one folder a class.")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise ValueError(f"{root} holds no class folder. Put the images of each class into a folder of its own.")
    labels: dict[str, int] = {}
    for label, folder in enumerate(folders):
        images = (x for x in folder.rglob("*") if x.suffix.lower() in SUFFIXES and not x.name.startswith("."))
        found = sorted(image.relative_to(root).as_posix() for image in images)
        if not found:
            raise ValueError(f"The class folder {folder} holds no image. Remove it, or put its images there.")
        labels |= dict.fromkeys(found, label)
    return Listed.by(labels, labels, str(root), root, root), tuple(folder.name for folder in folders)


def _held_out(labels: Tensor, generator: torch.Generator) -> Tensor:
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        is_test[rows[torch.randperm(len(rows), generator=generator)[: max(1, round(HELD_OUT * len(rows)))]]] = True
    return is_test


def assemble(
    name: str,
    train: Listed,
    test: Listed,
    class_names: tuple[str, ...],
    told: str,
    *,
    trust: bool = False,
    looked_at: Sequence[Listed] = (),
    verified: Tensor | None = None,
) -> NoisyDataset:
    """Make a data set of what can be used; what is left out is counted, in one warning and in ``made_from``.

    Args:
        name: of the data set.
        train: the training images.
        test: the test images.
        class_names: K names.
        told: how the labels came to be, for ``made_from``.
        trust: where data_scripts/verify.py has not looked at the images, do not look at all of them now: a broken one
            then stops the run that meets it, and training images that are test images by another name stay.
        looked_at: the lists that verify.py looks at, where they are not ``train`` and ``test``.
        verified: (N,) int64, see :class:`NoisyDataset`.

    Raises:
        ValueError: if an image or a class stands on the wrong side, or verify.py found too many images broken.
    """
    if train.files.root == test.files.root and (shared := set(train.files.paths) & set(test.files.paths)):
        raise ValueError(
            f"{len(shared)} image(s) stand in {train.source} and in {test.source}, one is {min(shared)}. A test on "
            f"images that were trained on says nothing: remove the line from {train.source}."
        )
    synthetic = any((side.folder / SYNTHETIC).exists() for side in (train, test))
    noted = [left_out(side) for side in looked_at or (train, test)]
    if None in noted and not trust:
        if not synthetic:
            warnings.warn(
                f"{name} has not been verified: its {len(train.labels) + len(test.labels):,} files are looked at now, "
                f"one by one. Run data_scripts/verify.py on {train.folder} once.",
                stacklevel=3,
            )
        noted = list(_look_at(train, test))
    sides = [(side, _unusable(side, found or {})) for side, found in zip((train, test), noted, strict=True)]
    images = f"synthetic data set drawn by the project, not {name}" if synthetic else name
    if missing := sum(len(found) for _, found in sides):
        images += f", {missing} left out"
        counts = " and ".join(f"{len(found)} of {len(side.labels)} images of {side.source}" for side, found in sides)
        first, (path, reason) = next((x, next(iter(found.items()))) for x, found in sides if found)
        warnings.warn(f"{name}: {counts} are left out; the first is {first.files.root / path}: {reason}.", stacklevel=3)
    kept = [torch.tensor([path not in found for path in side.files.paths]) for side, found in sides]
    train, test = train.of(kept[0]), test.of(kept[1])
    counts_of = [torch.bincount(side.labels, minlength=len(class_names)).tolist() for side in (train, test)]
    if lacking := [c for c, a, b in zip(class_names, *counts_of, strict=True) if bool(a) != bool(b)]:
        raise ValueError(
            f"The class(es) {', '.join(lacking)} have images in one of {train.source} and {test.source}, and none in "
            "the other. Both sides must hold the same classes: check that the two belong together."
        )
    return NoisyDataset(
        name, train.files, train.labels, class_names, test.files, test.labels, made_from=f"{images}; {told}",
        verified=None if verified is None else verified[kept[0]],
    )  # fmt: skip


def _unusable(side: Listed, found: Found) -> Found:
    """Of the images of a list, those that were found to be unusable, and those without a label."""
    labels = zip(side.files.paths, (side.labels == UNKNOWN).tolist(), strict=True)
    return {path: found.get(path, "no label") for path, lacks in labels if lacks or path in found}


def left_out(listed: Listed) -> Found | None:
    """What verify.py wrote down about the images of a list; None if it has not looked at just these.

    Raises:
        ValueError: if it found too many broken, or its file is damaged.
    """
    path, hint = listed.folder / UNREADABLE, "Run data_scripts/verify.py again."
    if not path.is_file():
        return None
    (_, first), *lines = read_lines(path, hint=hint) or [(1, "")]
    if listed.stamp() not in first:
        return None
    if not first.startswith("verified"):
        raise ValueError(f"{path}: {first} Restore the files, or raise --max-unreadable. {hint}")
    if damaged := [number for number, line in lines if "\t" not in line]:
        raise ValueError(f"{path}, line {damaged[0]}: there must be a path, a tab and a reason. {hint}")
    prefix = listed.files.root.relative_to(listed.folder).as_posix().removesuffix(".")
    rows = (line.rpartition("\t") for _, line in lines)
    return {path.removeprefix(f"{prefix}/"): reason for path, _, reason in rows}


class Look(NamedTuple):
    """What a look at one file told."""

    problem: str
    """Why it cannot be used; empty if it can."""
    mark: tuple[int, int]
    """Size and checksum of its last bytes: equal for equal files, and hardly ever for others."""


def look(path: str, *, decode: bool = False) -> Look:
    """Read the ends of a file, and decode it if they are not those of a whole JPEG or PNG file, or if ``decode``."""
    problem = ""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8)
            file.seek(max(0, size - 64))
            tail = file.read(64)
        jpeg = head.startswith(b"\xff\xd8\xff") and tail.endswith(b"\xff\xd9")
        png = head == b"\x89PNG\r\n\x1a\n" and tail.endswith(b"IEND\xaeB`\x82")
        if decode or not (jpeg or png):
            decode_image(path)
    except UnreadableImage as error:
        problem = error.reason
    except OSError as error:
        return Look(reason_of(error), (0, 0))
    return Look(problem, (size, zlib.crc32(tail)))


def _look_at(train: Listed, test: Listed) -> tuple[Found, Found]:
    """Look at every file of both sides, a few at a time; what cannot be used of each."""
    from tqdm import tqdm

    with ThreadPool(8) as pool:
        seen, test_seen = (
            list(tqdm(pool.imap(look, x.full_paths(), 100), x.source, len(x.labels), disable=None, delay=1))
            for x in (train, test)
        )
    return broken(train, seen) | copies(train, seen, test, test_seen), broken(test, test_seen)


def broken(listed: Listed, seen: Sequence[Look]) -> Found:
    """The images that cannot be read."""
    return {path: x.problem for path, x in zip(listed.files.paths, seen, strict=True) if x.problem}


def copies(train: Listed, seen: Sequence[Look], test: Listed, test_seen: Sequence[Look]) -> Found:
    """The training images that can be read, and hold the same bytes as a test image."""
    by_mark = {x.mark: path for path, x in zip(test.files.paths, test_seen, strict=True) if not x.problem}
    pairs = ((path, by_mark.get(x.mark)) for path, x in zip(train.files.paths, seen, strict=True) if not x.problem)
    return {
        path: f"the same bytes as the test image {other}"
        for path, other in pairs
        if other and filecmp.cmp(train.files.root / path, test.files.root / other, shallow=False)
    }


def read_lines(path: Path, *, hint: str) -> list[tuple[int, str]]:
    """The lines of a text file that hold something, with their numbers from 1.

    Raises:
        FileNotFoundError: if the file is missing; the sentence ends with ``hint``, which says where to get it.
        ValueError: if the file is not text in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"The list {path} is missing. {hint}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"The list {path} is not text in UTF-8 ({error.reason}). {hint}") from None
    lines = (line.rstrip("\r") for line in text.split("\n"))
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def add_once(found: dict[str, int], key: str, value: int, path: Path, number: int, prefix: str = "") -> None:
    """Note the value of an image path, without ``prefix``.

    Raises:
        ValueError: if the path could point outside the data folder, on any system, or is there already; the sentence
            gives file and line.
    """
    if key[:1] == "/" or "\\" in key or "\0" in key or key[1:2] == ":" or ".." in key.split("/"):
        raise ValueError(
            f"{path}, line {number}: {key!r} leaves the data folder. Image paths must be relative and without '..'; "
            "correct the line, or remove it."
        )
    if (key := key.removeprefix(prefix)) in found:
        raise ValueError(f"{path}, line {number}: {key!r} stands in this list twice. Remove one of the two lines.")
    found[key] = value
