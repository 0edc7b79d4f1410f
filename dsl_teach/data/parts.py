"""What loaders of image files share: images with their labels, rows of them, and what is said of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.data.dataset import UNKNOWN, ImageFiles

STAND_IN = "STAND_IN.txt"
"""Marks a folder of images that the project drew itself."""


@dataclass(frozen=True)
class Listed:
    """Images that a list names, with the labels it gives."""

    source: str
    """The list, for messages."""
    files: ImageFiles
    labels: Tensor
    """(N,) int64, ``UNKNOWN`` where the list gives none."""

    def fingerprint(self) -> str:
        """Short text that changes when any path does."""
        return hashlib.sha256("\n".join(self.files.paths).encode()).hexdigest()[:32]


def take(files: ImageFiles, rows: Tensor) -> ImageFiles:
    """Only these rows of the files."""
    return ImageFiles(files.root, tuple(files.paths[row] for row in rows.tolist()))


def known_or_none(labels: Tensor) -> Tensor | None:
    """The labels, or None where none of them is known."""
    return labels if bool((labels != UNKNOWN).any()) else None


def require_both_sides(
    noisy_labels: Tensor, test_labels: Tensor, class_names: tuple[str, ...], sources: tuple[str, str]
) -> None:
    """Refuse a class that has images for training and none for testing, or the other way round.

    Raises:
        ValueError: naming the classes and the list that lacks them.
    """
    counts = [torch.bincount(labels, minlength=len(class_names)) for labels in (noisy_labels, test_labels)]
    for here, there in ((0, 1), (1, 0)):
        lacking = [name for name, a, b in zip(class_names, counts[here], counts[there], strict=True) if b and not a]
        if lacking:
            raise ValueError(
                f"The class(es) {', '.join(lacking)} have images in {sources[there]} and none in {sources[here]}. "
                "Both sides must hold the same classes: check that the two lists belong together."
            )


def is_stand_in(*folders: Path) -> bool:
    """Whether one of the folders holds images that the project drew itself."""
    return any((folder / STAND_IN).exists() for folder in folders)


def made_from(name: str, what: str, *folders: Path) -> str:
    """One line for figures and tables; it says so if the images are a stand-in."""
    return f"stand-in drawn by the project, not {name}; {what}" if is_stand_in(*folders) else f"{name}; {what}"
