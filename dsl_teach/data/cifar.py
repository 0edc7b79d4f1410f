"""CIFAR-10 and CIFAR-100 from their official files, and the human labels of CIFAR-10N and CIFAR-100N.

Which files there are, and their checksums, is what torchvision publishes; they are read without running any code that
a pickle could hold (:mod:`dsl_teach.data.plain_pickle`).

Sources: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; Wei et al., "Learning with Noisy
Labels Revisited: A Study Using Real-World Human Annotations", ICLR 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from dsl_teach._validate import require_labels
from dsl_teach.data.cifar_files import CifarFiles
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.label_files import PublishedLabels, require_same_order, warn_if_unrelated, whole_numbers
from dsl_teach.data.plain_pickle import read_torch
from dsl_teach.data.relabel import describe_subset, subset_rows, without_test_images

Labels100 = Literal["fine", "coarse"]


def cifar10(
    root: str | Path,
    *,
    labels: PublishedLabels | None = None,
    subset: int | None = None,
    seed: int | None = 0,
    checksum: bool = True,
) -> NoisyDataset:
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels in 10 classes.

    Args:
        root: the folder that holds ``cifar-10-batches-py``.
        labels: noisy labels for the training images, from :func:`cifar_n_labels` or
            :func:`dsl_teach.data.label_files.labels_from_file`; None: the official labels.
        subset: keep so many training images, for a quick run; a multiple of the number of classes.
        seed: draw the subset at random, equally many images of each class. None: keep the first ones; then labels
            for just these will do.
        checksum: compare the files with the official checksums. False reads a copy whose pixels differ, and
            ``made_from`` says so.

    Returns:
        uint8 images (N, 3, 32, 32). Training images that are also in the test set are left out, with a warning.

    Raises:
        FileNotFoundError: if a file is missing; the message says how to download it.
        ValueError: if a file is damaged or unofficial, or the labels do not belong to these images.
    """
    files = CifarFiles("CIFAR-10", CIFAR10, Path(root), checksum)
    return _dataset(files, "labels", CIFAR10.meta["key"], labels, subset, seed)


def cifar100(
    root: str | Path,
    *,
    kind: Labels100 = "fine",
    labels: PublishedLabels | None = None,
    subset: int | None = None,
    seed: int | None = 0,
    checksum: bool = True,
) -> NoisyDataset:
    """CIFAR-100: 50,000 training and 10,000 test images of 32 x 32 pixels in 100 classes.

    Args:
        root: the folder that holds ``cifar-100-python``.
        kind: the 100 ``"fine"`` classes, or the 20 ``"coarse"`` ones that group them.
        labels: see :func:`cifar10`; they must be of the same kind.
        subset: see :func:`cifar10`.
        seed: see :func:`cifar10`.
        checksum: see :func:`cifar10`.

    Returns:
        As :func:`cifar10`.

    Raises:
        FileNotFoundError: see :func:`cifar10`.
        ValueError: see :func:`cifar10`.
    """
    if kind not in ("fine", "coarse"):
        raise ValueError(f"kind must be 'fine' or 'coarse', but it is {kind!r}.")
    files = CifarFiles("CIFAR-100", CIFAR100, Path(root), checksum)
    return _dataset(files, f"{kind}_labels", f"{kind}_label_names", labels, subset, seed)


def cifar_n_labels(path: str | Path, name: str) -> PublishedLabels:
    """Labels by human hand for CIFAR-10 or CIFAR-100, from the published ``CIFAR-10_human.pt``.

    Args:
        path: the file, as ``data_scripts/download_cifar_n.py`` fetches it.
        name: CIFAR-10N: ``aggre_label`` (majority of three people), ``random_label1`` to ``3`` (one person),
            ``worse_label`` (a wrong one wherever there is one). CIFAR-100N: ``noisy_label``, ``noisy_coarse_label``.

    Returns:
        The labels, and the true ones by which their order can be checked.

    Raises:
        FileNotFoundError: if there is no such file; the message says how to download it.
        ValueError: if the file holds anything but arrays of whole numbers, or not these labels.
    """
    path = Path(path)
    if not path.is_file():
        which = "cifar100n" if "100" in path.name else "cifar10n"
        raise FileNotFoundError(
            f"There is no label file {path}. Run: python data_scripts/download_cifar_n.py {which} --root {path.parent}"
        )
    content = read_torch(path)
    clean_name = "clean_coarse_label" if "coarse" in name else "clean_label"
    missing = [key for key in (name, clean_name) if not isinstance(content.get(key), np.ndarray)]
    if missing:
        raise ValueError(f"{path} holds no labels {missing[0]!r}. It has: {', '.join(sorted(content)) or 'none'}.")
    noisy_labels, clean_labels = (whole_numbers(content[key], f"{path}, {key}") for key in (name, clean_name))
    return PublishedLabels(noisy_labels, clean_labels, f"human labels from {path.name}, {name}")


def _dataset(
    files: CifarFiles,
    label_key: str,
    names_key: str,
    published: PublishedLabels | None,
    subset: int | None,
    seed: int | None,
) -> NoisyDataset:
    """Read, check the labels against the images, and only then leave images out: labels stay with their images."""
    class_names = files.class_names(names_key)
    train = files.pixels(files.official.train_list, label_key)
    test = files.pixels(files.official.test_list, label_key)
    if subset is not None and seed is None:
        rows = subset_rows(train.labels, subset, class_names=class_names, seed=None)
        train, published = train.take(rows), published and published.first(subset)
    noisy_labels = (
        _aligned(published, train.labels, files.name, len(class_names)) if published else train.labels.clone()
    )
    rows = without_test_images(train.images, test.images, name=files.name)
    if subset is not None and seed is not None:
        rows = rows[subset_rows(train.labels[rows], subset, class_names=class_names, seed=seed)]
    if len(rows) < len(train.images):
        train, noisy_labels = train.take(rows), noisy_labels[rows]
    return NoisyDataset(
        name=files.name,
        images=train.images,
        noisy_labels=noisy_labels,
        clean_labels=train.labels,
        class_names=class_names,
        test_images=test.images,
        test_labels=test.labels,
        made_from=_made_from(files, published, subset, seed),
    )


def _aligned(published: PublishedLabels, clean_labels: Tensor, name: str, num_classes: int) -> Tensor:
    """The published labels, if they belong to the images that ``clean_labels`` belong to."""
    noisy_labels = published.noisy_labels
    if len(noisy_labels) != len(clean_labels):
        raise ValueError(
            f"{published.made_from}: labels of {len(noisy_labels)} images, but {name} has {len(clean_labels)} training "
            "images. If they are meant for the first ones only, set subset to their number and seed=None."
        )
    require_labels(noisy_labels, published.made_from, length=len(clean_labels), num_classes=num_classes)
    require_same_order(published, clean_labels, name=name)
    warn_if_unrelated(noisy_labels, clean_labels, num_classes=num_classes, source=published.made_from)
    return noisy_labels


def _made_from(files: CifarFiles, published: PublishedLabels | None, subset: int | None, seed: int | None) -> str:
    images = f"{files.name}, " + ("official files" if files.checksum else "a copy, not the official files")
    if subset is not None:
        images += f", {describe_subset(subset, seed)}"
    return f"{images}; {published.made_from if published else 'clean labels'}"
