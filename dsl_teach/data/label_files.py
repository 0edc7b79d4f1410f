"""Labels that somebody published in a file, one for each training image of a data set, in its original order."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PublishedLabels:
    """Labels that somebody published for every training image of a data set, in its original order."""

    noisy_labels: Tensor
    """(N,) int64."""
    clean_labels: Tensor | None
    """(N,) int64, the true labels by the same file: they show whether its order is the data set's. None: no such."""
    made_from: str
    """Which labels of which file."""

    def first(self, size: int) -> PublishedLabels:
        """The labels of the first ``size`` images."""
        clean_labels = None if self.clean_labels is None else self.clean_labels[:size]
        return PublishedLabels(self.noisy_labels[:size], clean_labels, self.made_from)


def labels_from_file(path: str | Path, name: str | None = None, *, clean_name: str | None = None) -> PublishedLabels:
    """Labels from a NumPy or text file, one whole number for each training image, in the data set's order.

    Args:
        path: ``.npy`` (one array), ``.npz`` (named arrays), or ``.txt`` (one number a line).
        name: which array of an ``.npz`` file; not needed if it holds only one.
        clean_name: the array of an ``.npz`` file that holds the true labels, if there is one. With it, a file in
            another order than the data set's is found out.

    Returns:
        The labels, as int64.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds something else than whole numbers, or not the array that was named. Arrays of
            Python objects are refused: reading them would run code out of the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no label file {path}.")
    try:
        arrays = _read_arrays(path)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as labels: {error}") from error
    if name is None and len(arrays) == 1:
        name = next(iter(arrays))
    noisy_labels = whole_numbers(_named(arrays, name, path), f"{path}, {name}")
    clean_labels = (
        None if clean_name is None else whole_numbers(_named(arrays, clean_name, path), f"{path}, {clean_name}")
    )
    return PublishedLabels(noisy_labels, clean_labels, f"labels from {path.name}" + (f", {name}" if name else ""))


def whole_numbers(array: np.ndarray, source: str) -> Tensor:
    """An array of labels as an int64 tensor; anything but one row of whole numbers is refused."""
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{source}: labels must be one row of whole numbers, but this is {array.dtype} of shape {array.shape}."
        )
    return torch.from_numpy(array.astype(np.int64))


def require_same_order(published: PublishedLabels, clean_labels: Tensor, *, name: str) -> None:
    """Refuse label files that belong to other images, or to these images in another order.

    Raises:
        ValueError: if the true labels of the file are not the data set's, one by one.
    """
    if published.clean_labels is None:
        return
    if len(published.clean_labels) != len(clean_labels):
        raise ValueError(
            f"{published.made_from}: true labels of {len(published.clean_labels)} images, but {name} has "
            f"{len(clean_labels)} training images. The file belongs to another data set."
        )
    differ = (published.clean_labels != clean_labels).nonzero().flatten()
    if len(differ):
        raise ValueError(
            f"{published.made_from}: its true labels are not those of {name} for {len(differ)} of "
            f"{len(clean_labels)} images, the first is image {int(differ[0])}. The labels belong to another data set "
            "or stand in another order; use a file in the order of torchvision's training set."
        )


def warn_if_unrelated(noisy_labels: Tensor, clean_labels: Tensor, *, num_classes: int, source: str) -> None:
    """Warn if labels agree with the clean ones no better than chance: as if they stood in a wrong order."""
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


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".txt":
        return {"": np.loadtxt(path, dtype=np.int64, ndmin=1)}
    if path.suffix not in (".npy", ".npz"):
        raise ValueError("the name of a label file must end in .npy, .npz or .txt.")
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"": loaded}
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _named(arrays: dict[str, np.ndarray], name: str | None, path: Path) -> np.ndarray:
    if name is None or name not in arrays:
        asked = "several arrays; name one" if name is None else f"no array {name!r}"
        raise ValueError(f"{path} holds {asked}. It has: {', '.join(sorted(arrays)) or 'none'}.")
    return arrays[name]
