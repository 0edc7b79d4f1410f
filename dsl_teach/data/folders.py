"""Any folder of images with one folder a class: ``root/cat/1.jpg``, ``root/dog/7.png``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.data.parts import Listed, made_from, require_both_sides, take
from dsl_teach.data.usable import Check, usable_rows
from dsl_teach.seeds import stream

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
"""What counts as an image; other files are passed over."""


def image_folder(
    root: str | Path,
    test_root: str | Path | None = None,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    check: Check = "auto",
    max_unreadable: float = 0.001,
) -> NoisyDataset:
    """Read a folder of images; the folder an image lies in is its given, perhaps wrong, label.

    Args:
        root: the training images, one folder a class. Classes are numbered in the order of their names.
        test_root: the test images, with the same class folders. Without it a share of ``root`` is held out: then
            the test labels are as perhaps wrong as the others.
        held_out: the share of each class to hold out, at least one image; used without ``test_root``.
        seed: which images are held out.
        check: how thoroughly to look at the files, see :mod:`dsl_teach.data.usable`.
        max_unreadable: the share of the images that may be unreadable. They are left out with a warning, and listed
            in ``left_out.tsv`` in the data folder.

    Returns:
        The data set; its images stay on disk.

    Raises:
        FileNotFoundError: if a folder is missing.
        ValueError: if a class is empty or exists on one side only, or too many images cannot be used.
    """
    everything, class_names = list_folder(Path(root))
    if test_root is None:
        train, test = _hold_out(everything, held_out=held_out, seed=seed)
    else:
        train, (test, test_names) = everything, list_folder(Path(test_root))
        _require_same_classes(class_names, test_names, Path(root), Path(test_root))
    rows, test_rows = usable_rows(train, test, folder=Path(root), check=check, max_unreadable=max_unreadable)
    noisy_labels, test_labels = train.labels[rows], test.labels[test_rows]
    require_both_sides(noisy_labels, test_labels, class_names, (train.source, test.source))
    origin = f"tested on {test_root}" if test_root else "tested on held-out images, labels as given, perhaps wrong"
    return NoisyDataset(
        name=Path(root).name,
        images=take(train.files, rows),
        noisy_labels=noisy_labels,
        class_names=class_names,
        test_images=take(test.files, test_rows),
        test_labels=test_labels,
        made_from=made_from(f"the images of {Path(root).name}", f"labels are folder names, {origin}", Path(root)),
    )


def list_folder(root: Path) -> tuple[Listed, tuple[str, ...]]:
    """The images of a folder in the order of their paths, and the names of its classes.

    Raises:
        FileNotFoundError: if the folder is missing.
        ValueError: if it holds no class folder, or one without an image.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}. Give the folder that holds one folder a class.")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise ValueError(f"{root} holds no class folder. Put the images of each class into a folder of its own.")
    paths: list[str] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = sorted(path.relative_to(root).as_posix() for path in _images_in(folder))
        if not found:
            raise ValueError(f"The class folder {folder} holds no image. Remove it, or put its images there.")
        paths += found
        labels += [label] * len(found)
    listed = Listed(str(root), ImageFiles(root, tuple(paths)), torch.tensor(labels, dtype=torch.int64))
    return listed, tuple(folder.name for folder in folders)


def _images_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _hold_out(everything: Listed, *, held_out: float, seed: int) -> tuple[Listed, Listed]:
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be a share above 0 and below 1, but it is {held_out}.")
    generator = stream(seed, "held out")
    drawn = [_draw(everything.labels == label, held_out, generator) for label in everything.labels.unique().tolist()]
    is_test = torch.zeros(len(everything.labels), dtype=torch.bool)
    is_test[torch.cat(drawn)] = True
    root = everything.source
    return _part(everything, ~is_test, root), _part(everything, is_test, f"the held-out images of {root}")


def _draw(of_class: Tensor, held_out: float, generator: torch.Generator) -> Tensor:
    rows = of_class.nonzero().flatten()
    return rows[torch.randperm(len(rows), generator=generator)[: max(1, round(held_out * len(rows)))]]


def _part(everything: Listed, chosen: Tensor, source: str) -> Listed:
    rows = chosen.nonzero().flatten()
    return Listed(source, take(everything.files, rows), everything.labels[rows])


def _require_same_classes(names: tuple[str, ...], test_names: tuple[str, ...], root: Path, test_root: Path) -> None:
    for here, there, lacking in (
        (root, test_root, set(names) - set(test_names)),
        (test_root, root, set(test_names) - set(names)),
    ):
        if lacking:
            raise ValueError(
                f"The class(es) {', '.join(sorted(lacking))} stand in {here}, but not in {there}. "
                "Both folders must hold the same class folders."
            )
