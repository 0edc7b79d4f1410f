"""Reads dictionaries of numbers, words and arrays of whole numbers out of files, and nothing that could run code.

A pickle is a small program that runs as it is loaded, and CIFAR and CIFAR-N are published as pickles. Here a pickle may
ask only for what stands below for NumPy's arrays: NumPy itself would believe whatever a file says of its bytes.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsl_teach.files import require_regular

LARGEST = 2**28
"""Bytes of such a file, unpacked."""


def read_arrays(path: Path) -> dict[str, Any]:
    """The content of a ``.npz`` file, a ``.pt`` file (saved by PyTorch), or, under any other name, a pickle."""
    try:
        _require_small(path)
        if path.suffix == ".npz":
            return dict(np.load(path, allow_pickle=False))
        with torch.serialization.safe_globals([(instead, name) for name, instead in _ALLOWED.items()]):
            content = (
                torch.load(path, map_location="cpu", weights_only=True) if path.suffix == ".pt" else _unpickle(path)
            )
        return {name: x.array if isinstance(x, _Array) else x for name, x in content.items()}
    except Exception as error:  # damaged and hostile files can make a reader stumble in any way
        raise ValueError(
            f"{path} cannot be read: it is damaged, too large, or holds more than words, whole numbers and arrays "
            "of them, and anything else could run code. Get it again from its publisher."
        ) from error


def _require_small(path: Path) -> None:
    """Nothing is taken in that is larger than label files and CIFAR are, nor what would unpack to it."""
    size = require_regular(path).stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(member.file_size for member in archive.infolist()))
    if size > LARGEST:
        raise ValueError(f"{size:,} bytes are more than the {LARGEST:,} that are read")


class _Dtype:
    def __init__(self, code: str, *_: object):
        self.dtype = {name: np.dtype(name) for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}[code]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    def __init__(self, *_: object):
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        content = data.encode("latin1") if isinstance(data, str) else data
        self.array = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if is_fortran else "C")


def _from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


_ALLOWED = {"numpy.dtype": _Dtype, "numpy.ndarray": _Array} | {
    f"numpy.{core}.{name}": instead
    for core in ("core", "_core")  # NumPy 1 and 2
    for name, instead in (("multiarray._reconstruct", _Array), ("numeric._frombuffer", _from_buffer))
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return _ALLOWED[f"{module}.{name}"]


def _unpickle(path: Path) -> Any:
    content = path.read_bytes()
    for operation, number, _ in pickletools.genops(content):
        if operation.name.endswith("PUT") and int(number or 0) > len(content):  # each place in between takes memory
            raise pickle.UnpicklingError(f"{operation.name} {number} is not allowed")
    return _Unpickler(io.BytesIO(content), encoding="latin1").load()
