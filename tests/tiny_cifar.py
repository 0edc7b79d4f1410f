"""A few images in the layout of CIFAR. Image i starts with the two pixel values i % 251 and i // 251."""

import hashlib
import os
import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np

TEN = [f"thing {c}" for c in range(10)]


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, as they stand in the official files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, obj):
        self.write(b"T" + struct.pack("<i", len(obj)) + obj)
        self.memoize(obj)

    dispatch[bytes] = save_string


class Attack:
    """Unpickled without care, this makes a folder."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def dump(path, content, protocol=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if protocol == "python 2":
            Python2Pickler(file, protocol=2).dump(content)
        else:
            pickle.dump(content, file, protocol=protocol)


def images(numbers):
    numbers = np.asarray(numbers)
    pixels = np.full((len(numbers), 3072), 7, dtype=np.uint8)
    pixels[:, 0], pixels[:, 1] = numbers % 251, numbers // 251
    return pixels


def write_cifar10(root, *, train=100, test=(), protocol=4):
    """``train`` images numbered from 0, and ten test images numbered from 50,000; ``test``: other numbers there."""
    folder = Path(root) / "cifar-10-batches-py"
    labels = [i * 7 % 10 for i in range(train)]
    for part, rows in enumerate(np.array_split(np.arange(train), 5), start=1):
        batch = {"data": images(rows), "labels": [labels[i] for i in rows], "batch_label": f"part {part}"}
        dump(folder / f"data_batch_{part}", batch, protocol)
    test = list(test) or list(range(50_000, 50_010))
    dump(folder / "test_batch", {"data": images(test), "labels": [i % 10 for i in range(len(test))]}, protocol)
    dump(folder / "batches.meta", {"label_names": TEN, "num_vis": 3072}, protocol)
    return np.array(labels)


def write_cifar100(root):
    folder = Path(root) / "cifar-100-python"
    for split, start in (("train", 0), ("test", 50_000)):
        fine = [i % 100 for i in range(200)]
        content = {"data": images(np.arange(start, start + 200)), "fine_labels": fine}
        dump(folder / split, content | {"coarse_labels": [c // 5 for c in fine]})
    names = {"fine_label_names": [f"f{c}" for c in range(100)], "coarse_label_names": [f"c{c}" for c in range(20)]}
    dump(folder / "meta", names)


def md5(path):
    return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()


def make_official(monkeypatch, dataset, root):
    """Let torchvision's list of checksums be that of the files under ``root``."""
    folder = Path(root) / dataset.base_folder
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(dataset, name, [[part, md5(folder / part)] for part, _ in getattr(dataset, name)])
    monkeypatch.setattr(dataset, "meta", dataset.meta | {"md5": md5(folder / dataset.meta["filename"])})
