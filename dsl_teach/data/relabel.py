"""Other labels, or fewer samples, for a data set that is there already; each label stays with its image."""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch import Tensor

from dsl_teach.data.dataset import ImageFiles, Images, NoisyDataset, shared_images
from dsl_teach.data.label_files import warn_if_unrelated
from dsl_teach.data.parts import take as take_files
from dsl_teach.prototypes.selection import sample_by_class
from dsl_teach.seeds import stream


def with_labels(dataset: NoisyDataset, noisy_labels: Tensor, *, made_from: str) -> NoisyDataset:
    """The same images with other labels.

    Args:
        dataset: any data set.
        noisy_labels: (N,) int64, in the order of ``dataset.index``.
        made_from: how these labels came to be, in a few words. It replaces what stands behind the first semicolon of
            ``dataset.made_from``; what stands before it tells of the images and stays.

    Returns:
        A new data set; images, clean labels and test set are shared with the old one. What people verified is left
        out: they looked at the old labels.

    Raises:
        ValueError: if a label is missing, one too many, or no class.

    Warns:
        UserWarning: if the labels agree with the clean ones no better than chance, as labels in a wrong order do.
    """
    images = dataset.made_from.split(";")[0]
    relabelled = dataclasses.replace(
        dataset, noisy_labels=noisy_labels, verified=None, made_from=f"{images}; {made_from}"
    )
    if dataset.clean_labels is not None:
        warn_if_unrelated(noisy_labels, dataset.clean_labels, num_classes=dataset.num_classes, source=made_from)
    return relabelled


def subset(dataset: NoisyDataset, size: int, *, seed: int | None = 0) -> NoisyDataset:
    """Fewer training samples, for a quick run. The test set stays whole.

    Args:
        dataset: any data set.
        size: training samples to keep.
        seed: draw equally many samples of each class at random, a class being the clean label where every one is
            known, else the noisy label. None: keep the first ``size`` samples.

    Returns:
        A new data set; its samples keep their order, and are numbered anew from 0.

    Raises:
        ValueError: if there are not that many samples, in all or in a class.
    """
    rows = subset_rows(_classes(dataset), size, class_names=dataset.class_names, seed=seed)
    return _keep(dataset, rows, describe_subset(size, seed))


def thinned(dataset: NoisyDataset, rarest_share: float, *, seed: int) -> NoisyDataset:
    """Fewer training samples of some classes than of others. The test set stays whole.

    Args:
        dataset: any data set.
        rarest_share: the last class keeps so large a share of its samples, see :func:`thin`. A sample belongs to its
            clean label where every one is known, else to its noisy label.
        seed: which samples are kept follows from it.

    Returns:
        A new data set; its samples keep their order, and are numbered anew from 0.
    """
    every = torch.arange(len(dataset))
    rows = thin(every, _classes(dataset), rarest_share=rarest_share, generator=stream(seed, "thin"))
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
    images, _, labels_text = dataset.made_from.partition(";")
    clean, verified = (None if x is None else x[rows] for x in (dataset.clean_labels, dataset.verified))
    return dataclasses.replace(
        dataset,
        images=take(dataset.images, rows),
        noisy_labels=dataset.noisy_labels[rows],
        clean_labels=clean,
        verified=verified,
        made_from=f"{images}, {how}" + (f";{labels_text}" if labels_text else ""),
    )


def subset_rows(labels: Tensor, size: int, *, class_names: tuple[str, ...], seed: int | None) -> Tensor:
    """The rows that :func:`subset` keeps, in ascending order.

    Args:
        labels: (N,) int64, the class of each sample.
        size: rows to keep.
        class_names: K names.
        seed: for an equal draw from each class; None: the first rows.

    Returns:
        (size,) int64.
    """
    if not 1 <= size <= len(labels):
        raise ValueError(f"subset must be from 1 to {len(labels)}, the number of training images, but it is {size}.")
    if seed is None:
        return torch.arange(size)
    each, rest = divmod(size, len(class_names))
    if rest:
        raise ValueError(
            f"subset must be a multiple of {len(class_names)}, so that every class gets as many, but it is {size}; "
            "or set seed=None to keep the first images as they come."
        )
    drawn = sample_by_class(labels, num_classes=len(class_names), m=each, generator=stream(seed, "subset"))
    short = [c for c, rows in enumerate(drawn) if len(rows) < each]
    if short:
        raise ValueError(
            f"subset = {size} needs {each} samples of each class, but {class_names[short[0]]!r} has "
            f"{len(drawn[short[0]])}; choose a smaller subset."
        )
    return torch.cat(drawn).sort().values


def describe_subset(size: int, seed: int | None) -> str:
    """Half a line for ``made_from``."""
    return f"the first {size} images" if seed is None else f"{size} images drawn with seed {seed}"


def take(images: Images, rows: Tensor) -> Images:
    """The images of these rows, in the order of the rows."""
    if isinstance(images, ImageFiles):
        return take_files(images, rows)
    return images[rows]


def without_test_images(images: Images, test_images: Images, *, name: str) -> Tensor:
    """The rows of the training images that the test set does not hold.

    Take images **and labels** by these rows: then each label stays with its image.

    Args:
        images: N training images.
        test_images: the test set.
        name: the data set, for the warning.

    Returns:
        (N',) int64, in ascending order; N' = N if no image is in both.

    Warns:
        UserWarning: says how many training images were left out.
    """
    shared = shared_images(images, test_images)
    keep = torch.ones(len(images), dtype=torch.bool)
    keep[shared] = False
    if shared:
        warnings.warn(
            f"{name}: {len(shared)} of {len(images)} training images are also in the test set; they are left out of "
            f"training. Their places in the original order: {_some(shared)}.",
            stacklevel=3,
        )
    return keep.nonzero().flatten()


def _some(numbers: list[int], most: int = 5) -> str:
    return ", ".join(map(str, numbers[:most])) + (" ..." if len(numbers) > most else "")
