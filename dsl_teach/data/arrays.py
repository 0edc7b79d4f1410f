"""Reads dictionaries of numbers, words and arrays of whole numbers out of files, and nothing that could run code.

A pickle is a small program that runs as it is loaded, and CIFAR and CIFAR-N are published as pickles. Here a pickle may
ask only for what stands below for NumPy's arrays: NumPy itself would believe whatever a file says of its bytes.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def read_arrays(path: Path) -> dict[str, Any]:
    """The content of a ``.pt`` (saved by PyTorch), ``.npz``, ``.npy``, ``.txt`` or pickled file; one array is named ''.

    Raises:
        ValueError: if the file is damaged, or holds anything but words, whole numbers and arrays of them.
    """
    try:
        content = _READERS.get(path.suffix, _unpickle)(path)
        return {name: x.array if isinstance(x, _Array) else x for name, x in content.items()}
    except Exception as error:  # damaged and hostile files can make a reader stumble in any way
        reason = re.search(r"it (?:holds|asks)[^\n]*|GLOBAL \S+|Object arrays cannot[^\n.]*", str(error))
        raise ValueError(
            f"{path} cannot be read ({reason.group() if reason else 'damaged, or another kind of file'}). Only words, "
            "whole numbers and arrays of them are read: anything else could run code. Get it again from its publisher."
        ) from None


class _Dtype:
    def __init__(self, code: str, *_: object):
        if not re.fullmatch("[iu][1248]", str(code)):
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, not of whole numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        content = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(content, bytes | bytearray):
            raise pickle.UnpicklingError("it holds an array that is not made of plain bytes")
        self.array = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


_ALLOWED = {"numpy.dtype": _Dtype, "numpy.ndarray": _Array} | {
    f"numpy.{core}.{name}": stand_in
    for core in ("core", "_core")  # NumPy 1 and 2
    for name, stand_in in (("multiarray._reconstruct", _reconstruct), ("numeric._frombuffer", _from_buffer))
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[f"{module}.{name}"]


def _unpickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _Unpickler(file, encoding="latin1").load()


def _load_torch(path: Path) -> Any:
    with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in _ALLOWED.items()]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _load_numpy(path: Path) -> Any:
    loaded = np.load(path, allow_pickle=False)
    return {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pt": _load_torch,
    ".npz": _load_numpy,
    ".npy": _load_numpy,
    ".txt": lambda path: {"": np.loadtxt(path, dtype=np.int64, ndmin=1)},
}
