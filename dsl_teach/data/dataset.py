"""What every data set of the package gives: images, noisy labels, an index, and a held-out test set.

Also the same data set with other labels or fewer samples; each label stays with its image.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.prototypes.selection import sample_by_class
from dsl_teach.seeds import stream

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
        n, k = len(self.images), self.num_classes
        require_labels(self.noisy_labels, "noisy_labels", length=n, num_classes=k)
        require_labels(self.test_labels, "test_labels", length=len(self.test_images), num_classes=k)
        if self.clean_labels is not None:
            require_labels(self.clean_labels.clamp(min=0), "clean_labels", length=n, num_classes=k)
        if self.verified is not None:
            require_labels(self.verified.clamp(min=0), "verified", length=n, num_classes=2)
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


def with_labels(dataset: NoisyDataset, noisy_labels: Tensor, *, made_from: str) -> NoisyDataset:
    """The same images with other labels, (N,) int64 in the order of ``dataset.index``.

    ``made_from`` says in a few words how they came to be. It replaces what stands behind the first semicolon of
    ``dataset.made_from``; what stands before it tells of the images and stays. What people verified is left out: they
    looked at the old labels.

    Warns:
        UserWarning: if the labels agree with the clean ones no better than chance, as labels in a wrong order do.
    """
    told = f"{dataset.made_from.split(';')[0]}; {made_from}"
    relabelled = dataclasses.replace(dataset, noisy_labels=noisy_labels, verified=None, made_from=told)
    if dataset.clean_labels is not None:
        _warn_if_unrelated(noisy_labels, dataset.clean_labels, dataset.num_classes, made_from)
    return relabelled


def _warn_if_unrelated(noisy_labels: Tensor, clean_labels: Tensor, num_classes: int, source: str) -> None:
    known = clean_labels >= 0
    noisy, clean = noisy_labels[known], clean_labels[known]
    if not len(noisy):
        return
    agree = (noisy == clean).double().mean().item()
    shares = [torch.bincount(labels, minlength=num_classes).double() / len(labels) for labels in (noisy, clean)]
    chance = (shares[0] * shares[1]).sum().item()
    if agree <= chance + 3 * (chance * (1 - chance) / len(noisy)) ** 0.5 and chance < 1:
        warnings.warn(
            f"{source}: the labels agree with the true ones for {agree:.1%} of the samples, no more than chance "
            f"({chance:.1%}). Do they stand in the order of the images?",
            stacklevel=3,
        )


def subset(dataset: NoisyDataset, size: int, *, seed: int) -> NoisyDataset:
    """Keep ``size`` training samples, equally many of each class; the test set stays whole.

    A sample belongs to its clean label where every one is known, else to its noisy label. Samples keep their order,
    and are numbered anew from 0.

    Raises:
        ValueError: if there are not that many samples, in all or in a class.
    """
    if not 1 <= size <= len(dataset):
        raise ValueError(f"subset must be from 1 to {len(dataset)}, the number of training images, but it is {size}.")
    each, rest = divmod(size, dataset.num_classes)
    if rest:
        raise ValueError(
            f"subset must be a multiple of {dataset.num_classes}, so that every class gets as many, but it is {size}."
        )
    generator = stream(seed, "subset")
    drawn = sample_by_class(_classes(dataset), num_classes=dataset.num_classes, m=each, generator=generator)
    short = [c for c, rows in enumerate(drawn) if len(rows) < each]
    if short:
        raise ValueError(
            f"subset = {size} needs {each} samples of each class, but {dataset.class_names[short[0]]!r} has "
            f"{len(drawn[short[0]])}; choose a smaller subset."
        )
    return _keep(dataset, torch.cat(drawn).sort().values, f"{size} images drawn with seed {seed}")


def thinned(dataset: NoisyDataset, rarest_share: float, *, seed: int) -> NoisyDataset:
    """Fewer training samples of some classes than of others, see :func:`thin`; classes as in :func:`subset`."""
    generator = stream(seed, "thin")
    rows = thin(dataset.index, _classes(dataset), rarest_share=rarest_share, generator=generator)
    return _keep(dataset, rows, f"classes thinned from 1 to {rarest_share:g}")


def thin(rows: Tensor, labels: Tensor, *, rarest_share: float, generator: torch.Generator) -> Tensor:
    """Keep a share of each class that falls evenly from 1 (first class) to ``rarest_share`` (last class)."""
    num_classes = int(labels.max()) + 1
    shares = torch.linspace(1, rarest_share, num_classes, dtype=torch.float64)
    shuffled = torch.randperm(len(rows), generator=generator)
    kept = []
    for c, share in enumerate(shares.tolist()):
        members = shuffled[labels[shuffled] == c]
        kept.append(members[: round(share * len(members))])
    return rows[torch.cat(kept).sort().values]


def _classes(dataset: NoisyDataset) -> Tensor:
    clean = dataset.clean_labels
    return clean if clean is not None and bool((clean >= 0).all()) else dataset.noisy_labels


def _keep(dataset: NoisyDataset, rows: Tensor, how: str) -> NoisyDataset:
    """The samples of these rows; ``how`` is added to what ``made_from`` says of the images."""
    images, semicolon, labels_text = dataset.made_from.partition(";")
    clean, verified = (None if x is None else x[rows] for x in (dataset.clean_labels, dataset.verified))
    return dataclasses.replace(
        dataset,
        images=take(dataset.images, rows),
        noisy_labels=dataset.noisy_labels[rows],
        clean_labels=clean,
        verified=verified,
        made_from=f"{images}, {how}{semicolon}{labels_text}",
    )


def take(images: Images, rows: Tensor) -> Images:
    """The images of these rows, in the order of the rows."""
    if isinstance(images, ImageFiles):
        return ImageFiles(images.root, tuple(images.paths[row] for row in rows.tolist()))
    return images[rows]


def shared_images(images: Images, test_images: Images) -> list[int]:
    """The training samples that also stand in the test set: files by path, pixels and points by their bytes."""
    held_out = set(_keys(test_images))
    return [index for index, key in enumerate(_keys(images)) if key in held_out]


def _keys(images: Images) -> list[object]:
    if isinstance(images, ImageFiles):
        return [f"{images.root.as_posix()}/{path}" for path in images.paths]
    return [hash(image.numpy(force=True).tobytes()) for image in images]


def without_test_images(images: Images, test_images: Images, *, name: str) -> Tensor:
    """(N',) int64, the rows of the training images that the test set does not hold; a warning says how many it does.

    Take images **and labels** by these rows: then each label stays with its image.
    """
    shared = shared_images(images, test_images)
    if shared:
        places = ", ".join(map(str, shared[:5])) + (" ..." if len(shared) > 5 else "")
        warnings.warn(
            f"{name}: {len(shared)} of {len(images)} training images are also in the test set; they are left out of "
            f"training. Their places in the original order: {places}.",
            stacklevel=3,
        )
    keep = torch.ones(len(images), dtype=torch.bool)
    keep[shared] = False
    return keep.nonzero().flatten()
