"""What every data set gives: images, noisy labels, an index, a test set; and the same with other labels or fewer."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.config import Settings
from dsl_teach.metrics import chance_changed
from dsl_teach.noise import instance_dependent_noise
from dsl_teach.prototypes.selection import sample_by_class
from dsl_teach.seeds import stream

UNKNOWN = -1
"""Stands in ``clean_labels`` where the true label of a sample is not known."""


@dataclass(frozen=True)
class ImageFiles:
    """Images that stay on disk: a folder and the paths in it, with forward slashes."""

    root: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor) -> ImageFiles:
        """The images of these rows, (M,) int64 in any order or (N,) bool, as of a tensor of pixels."""
        places = torch.arange(len(self))[rows].tolist()
        return ImageFiles(self.root, tuple(self.paths[place] for place in places))

    def full_paths(self) -> list[str]:
        """The absolute paths."""
        root = self.root.absolute().as_posix()
        return [f"{root}/{path}" for path in self.paths]

    def stamp(self) -> str:
        """Number and checksum of paths, sizes and times: by it one knows whether files are those of before."""
        states = (f"{path} {_state(full)}\n" for path, full in zip(self.paths, self.full_paths(), strict=True))
        return f"{len(self)} files ({hashlib.sha256(''.join(states).encode()).hexdigest()[:16]})"


def _state(path: str) -> str:
    try:
        state = os.stat(path)
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"


Images = Tensor | ImageFiles
"""(N, C, H, W) uint8 pixels, (N, D) floating-point points, or files."""


@dataclass(frozen=True)
class NoisyDataset:
    """N training samples with labels that may be wrong, and a test set with labels that are right.

    Raises:
        ValueError: if labels and images do not belong together, an image is not finite, or both sides share one.
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
    """(N,) int64, what a person found on looking at the given label: 1 right, 0 wrong, ``UNKNOWN`` where nobody looked;
    None if nobody looked at any."""

    def __post_init__(self) -> None:
        n, k = len(self.images), self.num_classes
        require_labels(self.noisy_labels, "noisy_labels", length=n, num_classes=k)
        require_labels(self.test_labels, "test_labels", length=len(self.test_images), num_classes=k)
        for name, labels, classes in (("clean_labels", self.clean_labels, k), ("verified", self.verified, 2)):
            if labels is not None:
                require_labels(labels.where(labels != UNKNOWN, 0), name, length=n, num_classes=classes)
        for name, images in (("images", self.images), ("test_images", self.test_images)):
            if isinstance(images, Tensor) and not bool(images.isfinite().all()):
                rows = (~images.flatten(1).isfinite().all(dim=1)).nonzero().flatten().tolist()
                raise ValueError(f"{name} must be finite, but {len(rows)} of {len(images)} are not: {rows[0]} first.")
        if shared := shared_images(self.images, self.test_images):
            first = self.images.paths[shared[0]] if isinstance(self.images, ImageFiles) else shared[0]
            raise ValueError(
                f"{self.name}: {len(shared)} training image(s) also stand in the test set, the first is {first}. A "
                "test on images that were trained on says nothing; leave them out of training."
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.noisy_labels)


def with_labels(dataset: NoisyDataset, noisy_labels: Tensor, *, made_from: str) -> NoisyDataset:
    """The same images with other labels, (N,) int64 in the order of the images; what people verified goes.

    ``made_from`` says how they came to be; it replaces what stands behind the first semicolon of ``dataset.made_from``.

    Warns:
        UserWarning: if the labels agree with the clean ones no better than chance, as labels in a wrong order do.
    """
    told = f"{dataset.made_from.split(';')[0]}; {made_from}"
    relabelled = dataclasses.replace(dataset, noisy_labels=noisy_labels, verified=None, made_from=told)
    truth = torch.full_like(noisy_labels, UNKNOWN) if dataset.clean_labels is None else dataset.clean_labels
    noisy, clean = noisy_labels[truth >= 0], truth[truth >= 0]
    agree, chance = float((noisy == clean).double().mean()), 1 - chance_changed(noisy, clean, dataset.num_classes)
    if chance < 1 and agree <= chance + 3 * (chance * (1 - chance) / len(noisy)) ** 0.5:  # no number: none is known
        warnings.warn(
            f"{made_from}: the labels agree with the true ones for {agree:.1%} of the samples, no more than chance "
            f"({chance:.1%}). Do they stand in the order of the images?",
            stacklevel=2,
        )
    return relabelled


def confused_labels(probabilities: Tensor, clean_labels: Tensor, settings: Settings) -> Tensor:
    """(N,) labels of which a share ``noise_rate`` is wrong, by :func:`dsl_teach.noise.instance_dependent_noise`."""
    noise = instance_dependent_noise(
        probabilities, clean_labels, settings.noise_rate or 0.0,
        generator=stream(settings.seed, "noise"), temperature=settings.noise_temperature,
    )  # fmt: skip
    return noise.noisy_labels


def subset(dataset: NoisyDataset, size: int, *, seed: int) -> NoisyDataset:
    """Keep ``size`` training images, equally many of each (true) class, in order.

    Raises:
        ValueError: if there are not that many samples, in all or in a class.
    """
    each, rest = divmod(size, dataset.num_classes)
    if rest or each < 1:
        raise ValueError(f"subset must be a multiple of {dataset.num_classes}, the classes, but it is {size}.")
    labels = dataset.noisy_labels if dataset.clean_labels is None else dataset.clean_labels
    drawn = sample_by_class(labels, num_classes=dataset.num_classes, m=each, generator=stream(seed, "subset"))
    if short := [name for name, rows in zip(dataset.class_names, drawn, strict=True) if len(rows) < each]:
        raise ValueError(f"subset = {size} needs {each} samples of each class, but {short[0]!r} has fewer.")
    rows, (images, semicolon, told) = torch.cat(drawn).sort().values, dataset.made_from.partition(";")
    kept: dict[str, Any] = {
        name: x[rows] for name, x in vars(dataset).items() if isinstance(x, Images) and not name.startswith("test_")
    }
    made_from = f"{images}, {size} images drawn with seed {seed}{semicolon}{told}"
    return dataclasses.replace(dataset, **kept, made_from=made_from)


def shared_images(images: Images, test_images: Images) -> list[int]:
    """The training samples that also stand in the test set: files by path, pixels and points by their bytes."""
    held_out = set(_keys(test_images))
    return [index for index, key in enumerate(_keys(images)) if key in held_out]


def _keys(images: Images) -> Sequence[object]:
    if isinstance(images, ImageFiles):
        return images.full_paths()
    return [hash(image.numpy(force=True).tobytes()) for image in images]
