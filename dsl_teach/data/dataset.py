"""What every data set of the package gives: images, noisy labels, an index, and a held-out test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach._validate import require_labels

UNKNOWN = -1
"""Stands in ``clean_labels`` where the true label of a sample is not known."""


@dataclass(frozen=True)
class ImageFiles:
    """Images that stay on disk: a folder and the paths in it."""

    root: Path
    paths: tuple[str, ...]
    """Relative to ``root``, with forward slashes."""

    def __len__(self) -> int:
        return len(self.paths)


Images = Tensor | ImageFiles
"""(N, C, H, W) uint8 pixels, (N, D) floating-point points, or files."""


@dataclass(frozen=True)
class NoisyDataset:
    """N training samples with labels that may be wrong, and a test set with labels that are right.

    Raises:
        ValueError: if labels and images do not belong together, or training and test share an image.
    """

    name: str
    images: Images
    noisy_labels: Tensor
    """(N,) int64, the given labels."""
    class_names: tuple[str, ...]
    test_images: Images
    test_labels: Tensor
    """(T,) int64, right labels."""
    clean_labels: Tensor | None = None
    """(N,) int64, the true labels where they are known, ``UNKNOWN`` where they are not; None if none is known."""
    made_from: str = ""
    """One line for figures and tables: what these images are and how their labels came to be wrong."""
    verified: Tensor | None = None
    """(N,) int64, what a person found on looking at the given label: 1 right, 0 wrong (the true one is not known),
    ``UNKNOWN`` where nobody looked; None if nobody looked at any."""

    def __post_init__(self) -> None:
        k = self.num_classes
        require_labels(self.noisy_labels, "noisy_labels", length=len(self.images), num_classes=k)
        require_labels(self.test_labels, "test_labels", length=len(self.test_images), num_classes=k)
        if self.clean_labels is not None:
            known = self.clean_labels.clamp(min=0)  # UNKNOWN is allowed here
            require_labels(known, "clean_labels", length=len(self.images), num_classes=k)
        if self.verified is not None:
            require_labels(self.verified.clamp(min=0), "verified", length=len(self.images), num_classes=2)
        shared = shared_images(self.images, self.test_images)
        if shared:
            raise ValueError(
                f"{self.name}: {len(shared)} training image(s) also stand in the test set, the first is "
                f"{shared[0]}. A test on images that were trained on says nothing; leave them out of training."
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def index(self) -> Tensor:
        """(N,) the sample ids 0 .. N - 1: the place of a sample in ``noisy_labels``."""
        return torch.arange(len(self.noisy_labels))

    def __len__(self) -> int:
        return len(self.noisy_labels)


def shared_images(images: Images, test_images: Images) -> list[int]:
    """The training samples that also stand in the test set.

    Pixels and points are compared by their bytes, files by their path.
    """
    held_out = set(_keys(test_images))
    return [index for index, key in enumerate(_keys(images)) if key in held_out]


def _keys(images: Images) -> list[object]:
    if isinstance(images, ImageFiles):
        folder = images.root.as_posix()
        return [f"{folder}/{path}" for path in images.paths]
    return [hash(image.numpy(force=True).tobytes()) for image in images]
