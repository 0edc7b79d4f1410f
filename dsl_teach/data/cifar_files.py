"""Reads CIFAR's batch files, as torchvision lists them, and checks that they are the official ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from dsl_teach.data.download import require_md5
from dsl_teach.data.plain_pickle import read_pickle


class Pixels(NamedTuple):
    """Images of one split, and their official labels."""

    images: Tensor
    """(N, 3, 32, 32) uint8."""
    labels: Tensor
    """(N,) int64."""

    def take(self, rows: Tensor) -> Pixels:
        """Images and labels by the same rows."""
        return Pixels(self.images[rows], self.labels[rows])


class _Torchvision(Protocol):
    """What torchvision says of the official files."""

    base_folder: str
    filename: str
    train_list: Any
    test_list: Any
    meta: Any


@dataclass(frozen=True)
class CifarFiles:
    """A CIFAR on disk.

    Args:
        name: ``"CIFAR-10"`` or ``"CIFAR-100"``.
        official: torchvision's class, which lists the files.
        root: the folder that holds the folder of the batch files.
        checksum: whether each file must be the official one.
    """

    name: str
    official: _Torchvision
    root: Path
    checksum: bool

    def pixels(self, split: list[list[str]], label_key: str) -> Pixels:
        """Read the batch files of a split, in order."""
        parts = [_images_and_labels(self._read(name, md5), label_key, self.folder / name) for name, md5 in split]
        return Pixels(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))

    def class_names(self, key: str) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers."""
        meta = self._read(self.official.meta["filename"], self.official.meta["md5"])
        names = meta.get(key)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{self.folder / self.official.meta['filename']} holds no class names {key!r}.")
        return tuple(names)

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.root / self.official.base_folder

    def _read(self, name: str, md5: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            command = f"python data_scripts/download_cifar.py {self.name.replace('-', '').lower()} --root {self.root}"
            raise FileNotFoundError(f"{self.name}: {path} is missing. Run: {command}")
        if self.checksum:
            try:
                require_md5(path, md5)
            except ValueError as error:
                raise ValueError(
                    f"{error} Delete it and download it again; or, if this is a copy of {self.name} whose pixels "
                    "are meant to differ, set checksum=False."
                ) from None
        return read_pickle(path)


def _images_and_labels(content: dict[str, Any], label_key: str, path: Path) -> Pixels:
    """Images and labels of one batch file."""
    data, labels = content.get("data"), content.get(label_key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * 32 * 32,):
        raise ValueError(f"{path} holds no images in the layout of CIFAR: 'data' must be (n, 3072) uint8.")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(type(label) is int for label in labels):
        raise ValueError(f"{path} must hold {label_key!r}, a list of one whole number for each of {len(data)} images.")
    return Pixels(torch.from_numpy(data.reshape(-1, 3, 32, 32).copy()), torch.tensor(labels, dtype=torch.int64))
