"""Images on disk: the lists that name them, the files that cannot be read, and any folder with one folder a class."""

from __future__ import annotations

import filecmp
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.dataset import UNKNOWN, ImageFiles, NoisyDataset
from dsl_teach.data.decode import UnreadableImage, decode_image, reason_of, require_image_file
from dsl_teach.files import read_table, read_text
from dsl_teach.seeds import stream

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
    """Images that the list ``source`` names, with the labels it gives, (N,) int64, ``UNKNOWN`` where it gives none."""

    source: str
    folder: Path
    """The data folder, where ``unreadable.txt`` lies."""
    files: ImageFiles
    labels: Tensor
    whole: ImageFiles
    """All images of the list, of which ``files`` may be some: what verify.py looks at."""

    @classmethod
    def by(cls, labels: Mapping[str, int], paths: Iterable[str], source: str, folder: Path, images: Path) -> Listed:
        """Some paths in the folder ``images``, each with its label in ``labels``."""
        files = ImageFiles(images, tuple(paths))
        known = torch.tensor([labels.get(path, UNKNOWN) for path in files.paths], dtype=torch.int64)
        return cls(source, folder, files, known, files)

    def of(self, chosen: Tensor, source: str = "") -> Listed:
        """Only the images for which ``chosen``, (N,) bool, holds."""
        return replace(self, source=source or self.source, files=self.files[chosen], labels=self.labels[chosen])


def load(settings: Settings) -> NoisyDataset:
    """A folder of images as the settings name it."""
    where = (settings.data_root, settings.test_root or None, settings.labels_file or None)
    return image_folder(*where, seed=settings.seed, trust=settings.trust)


def image_folder(
    root: str | Path, test_root: str | Path | None = None, labels_file: str | Path | None = None, *, seed: int = 0,
    trust: bool = False,
) -> NoisyDataset:  # fmt: skip
    """Read a folder of images, ``root/cat/1.jpg`` say; the folder an image lies in is its given, perhaps wrong, label.

    Classes are numbered in the order of their names. ``test_root`` holds the test images in the same class folders;
    without it a fifth of ``root`` is held out, by ``seed``: then the test labels are as perhaps wrong as the others.
    A ``labels_file``, see :func:`listed_in`, gives other labels, and says which images there are.
    For ``trust`` see :func:`assemble`.

    Raises:
        FileNotFoundError: if a folder is missing.
        ValueError: if a class is empty or exists on one side only.
    """
    whole, class_names = list_folder(Path(root)) if labels_file is None else listed_in(Path(labels_file), Path(root))
    if test_root is None:
        is_test = held_out(whole.labels, stream(seed, "held out"))
        train, test = whole.of(~is_test), whole.of(is_test, f"the held-out images of {whole.source}")
        told = "tested on held-out images, labels as given, perhaps wrong"
    else:
        train, (test, test_names), told = whole, list_folder(Path(test_root)), f"tested on {test_root}"
        if lacking := sorted(set(class_names) ^ set(test_names)):
            raise ValueError(f"{root} and {test_root} must hold the same class folders: only one has {lacking[0]}.")
    told = f"labels are {labels_file or 'folder names'}, {told}"
    return assemble(Path(root).name, train, test, class_names, told, trust=trust)


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


def listed_in(table: Path, root: Path) -> tuple[Listed, tuple[str, ...]]:
    """The images of a folder that a CSV file names, with the labels it gives them, and the classes that these make."""
    given = {name: row["label"] for name, row in read_by_file(table, "label").items()}
    class_names = tuple(sorted(set(given.values())))
    number = {name: label for label, name in enumerate(class_names)}
    labels = {path: number[given[path]] for path in sorted(given)}
    return Listed.by(labels, labels, str(table), root, root), class_names


def read_by_file(table: Path, *columns: str) -> dict[str, dict[str, str]]:
    """Image -> row of a CSV file, by the column ``file_name``: below a folder, with forward slashes.

    Raises:
        ValueError: if a name leaves the folder or stands twice, or a column is missing or empty in a row.
    """
    found: dict[str, dict[str, str]] = {}
    for row in read_table(table, "file_name", *columns):
        try:
            name = PurePosixPath(require_inside(row["file_name"])).as_posix()
            if name in found:
                raise ValueError(f"{name!r} stands in this list twice.")
            if empty := [column for column in columns if not row[column]]:
                raise ValueError(f"{name!r} has no {empty[0]}.")
        except ValueError as error:
            raise ValueError(f"{table}: {error} Correct it, or remove the row.") from None
        found[name] = row
    return found


def require_inside(path: str) -> str:
    """A path below a folder; a ValueError if it leaves the folder on any system: absolute, on a drive, or by '..'."""
    pure = PureWindowsPath(path)  # takes slashes of both kinds
    if pure.anchor or not pure.parts or ".." in pure.parts or "\0" in path:
        raise ValueError(f"{path!r} leaves the data folder. Image paths must be relative and without '..'.")
    return path


def held_out(labels: Tensor, generator: torch.Generator) -> Tensor:
    """(N,) bool, a share ``HELD_OUT`` of each class, one image at least."""
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
    verified: Tensor | None = None,
) -> NoisyDataset:
    """Make a data set of what can be used; what is left out is counted, in one warning and in ``made_from``.

    ``told`` says how the labels came to be. Where data_scripts/verify.py has not looked at the images, all are looked
    at now, unless ``trust``: a broken one then stops the run that meets it, and training images that are test images
    by another name stay. ``verified``, (N,) int64, is that of :class:`NoisyDataset`.

    Raises:
        ValueError: if an image or a class stands on the wrong side, or verify.py found too many images broken.
    """
    sides = (train, test)
    synthetic = any((side.folder / SYNTHETIC).exists() for side in sides)
    noted = [left_out(side) for side in sides]
    if None in noted and not trust:
        changed = any((side.folder / UNREADABLE).is_file() for side in sides)
        if changed or not synthetic:
            state = "has changed since it was verified" if changed else "has not been verified"
            warnings.warn(
                f"{name} {state}: its {len(train.labels) + len(test.labels):,} files are looked at now, one by one. "
                f"Run data_scripts/verify.py on {train.folder} once.",
                stacklevel=3,
            )
        seen = look_at_all(train.files) | look_at_all(test.files)
        noted = [unusable(train, seen, [test]), unusable(test, seen)]
    paths = [side.files.full_paths() for side in sides]
    found = {path: "no label" for side in sides for path in side.of(side.labels == UNKNOWN).files.full_paths()}
    for part in noted:
        found |= part or {}
    kept = [torch.tensor([path not in found for path in side], dtype=torch.bool) for side in paths]
    if empty := [side.source for side, rows in zip(sides, kept, strict=True) if not rows.any()]:
        raise ValueError(f"{empty[0]} names no image that can be used. Is it the whole file, and are the images there?")
    images = f"synthetic data set drawn by the project, not {name}" if synthetic else name
    if gone := [path for side in paths for path in side if path in found]:
        images += f", {len(gone)} left out"
        counts = (f"{int((~x).sum())} of {len(x)} images of {side.source}" for x, side in zip(kept, sides, strict=True))
        first = f"the first is {gone[0]}: {found[gone[0]]}"
        warnings.warn(f"{name}: {' and '.join(counts)} are left out; {first}.", stacklevel=3)
    train, test = train.of(kept[0]), test.of(kept[1])
    sizes = [torch.bincount(side.labels, minlength=len(class_names)).tolist() for side in (train, test)]
    if lacking := [c for c, a, b in zip(class_names, *sizes, strict=True) if bool(a) != bool(b)]:
        raise ValueError(
            f"The class(es) {', '.join(lacking)} have images in one of {train.source} and {test.source}, and none in "
            "the other. Both sides must hold the same classes: check that the two belong together."
        )
    return NoisyDataset(
        name, train.files, train.labels, class_names, test.files, test.labels, made_from=f"{images}; {told}",
        verified=None if verified is None else verified[kept[0]],
    )  # fmt: skip


def left_out(listed: Listed) -> dict[str, str] | None:
    """Absolute path -> why it cannot be used, as verify.py wrote down; None if it has not looked at just these."""
    path, hint = listed.folder / UNREADABLE, "Run data_scripts/verify.py again."
    if not path.is_file():
        return None
    first, *rows = read_text(path).removesuffix("\n").split("\n")
    if listed.whole.stamp() not in first:
        return None
    if not first.startswith("verified"):
        raise ValueError(f"{path}: {first} Restore the files, or raise --max-unreadable. {hint}")
    if damaged := [number for number, row in enumerate(rows, start=2) if "\t" not in row]:
        raise ValueError(f"{path}, line {damaged[0]}: there must be a path, a tab and a reason. {hint}")
    folder = listed.folder.absolute().as_posix()
    return {f"{folder}/{name}": reason for name, _, reason in (row.rpartition("\t") for row in rows)}


Look = tuple[str, tuple[int, int]]
"""Why a file cannot be used, if so; and its size and a checksum of its last bytes: equal files have equal ones."""


def look(path: str, *, within: Path, decode: bool = False) -> Look:
    """Read the header and the end of a file; decode it if it does not end as JPEG or PNG files do, or if ``decode``."""
    try:
        require_image_file(path, within)
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - 64))
            tail = file.read(64)
        if decode or not tail.endswith((b"\xff\xd9", b"IEND\xaeB`\x82")):
            decode_image(path)
    except (UnreadableImage, OSError) as error:
        return reason_of(error), (0, 0)
    return "", (size, zlib.crc32(tail))


def look_at_all(files: ImageFiles, *, decode: bool = False) -> dict[str, Look]:
    """Absolute path -> what :func:`look` finds there, a few at a time."""
    from tqdm import tqdm

    paths = files.full_paths()
    with ThreadPool(8) as pool:
        looks = pool.imap(partial(look, within=files.root, decode=decode), paths, 100)
        return dict(zip(paths, tqdm(looks, "looking at files", len(paths), disable=None, delay=1), strict=True))


def unusable(listed: Listed, seen: Mapping[str, Look], tests: Sequence[Listed] = ()) -> dict[str, str]:
    """The images that cannot be read, and those that hold the same bytes as another file, in one of ``tests``."""
    tested = [path for test in tests for path in test.files.full_paths()]
    by_mark = {seen[path][1]: path for path in reversed(tested)}  # of equal files the first
    found = {}
    for path in listed.files.full_paths():
        problem, mark = seen[path]
        other = by_mark.get(mark, path)
        if problem:
            found[path] = problem
        elif other != path and filecmp.cmp(path, other, shallow=False):
            found[path] = f"the same bytes as {other}"
    return found


def read_list(
    path: Path, parse: Callable[[str], tuple[str, int]], *, hint: str, header: str | None = None
) -> dict[str, int]:
    """The image path and number that ``parse`` makes of each line of a text file, below the header if there is one.

    Empty lines are passed over; ``hint`` says where to get the file.
    """
    try:
        numbered = enumerate((line.rstrip("\r") for line in read_text(path).split("\n")), start=1)
    except FileNotFoundError:
        raise FileNotFoundError(f"The list {path} is missing. {hint}") from None
    lines, found = [(number, line) for number, line in numbered if line.strip()], dict[str, int]()
    if header is not None and [line for _, line in lines[:1]] != [header]:
        raise ValueError(f"{path} must begin with the header {header!r}. Take the file as it was published.")
    for number, line in lines[header is not None :]:
        try:
            key, value = parse(line)
            if require_inside(key) in found:
                raise ValueError(f"{key!r} stands in this list twice.")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error} Correct the line, or remove it.") from None
        found[key] = value
    return found
