"""Reads pickled dictionaries of numbers, words and arrays of whole numbers, and nothing else that a pickle can hold.

A pickle is a small program: a file made by an attacker runs whatever code it likes as soon as it is loaded. CIFAR's
batches and the human labels of CIFAR-N are published as pickles. Here a pickle may ask only for the few names below,
and gets stand-ins written for the purpose: not even NumPy's own unpickling code sees the file.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def read_pickle(path: Path) -> dict[str, Any]:
    """A pickled dictionary, such as a batch file of CIFAR.

    Args:
        path: the file; pickles of Python 2 and 3 are read alike.

    Returns:
        The dictionary; its arrays hold whole numbers.

    Raises:
        ValueError: if the file is damaged, or holds anything else.
    """
    with path.open("rb") as file:
        return _plain_dictionary(path, lambda: _PlainUnpickler(file, encoding="latin1").load())


def read_torch(path: Path) -> dict[str, Any]:
    """A dictionary saved by ``torch.save``, such as the human labels of CIFAR-N.

    The arguments, the result and the errors are those of :func:`read_pickle`.
    """
    stand_ins = [(stand_in, name) for name, stand_in in _STAND_INS.items() if not name.startswith("_codecs")]

    def load() -> object:
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]  # pairs of object and name
            return torch.load(path, map_location="cpu", weights_only=True)

    return _plain_dictionary(path, load)


def _plain_dictionary(path: Path, load: Callable[[], object]) -> dict[str, Any]:
    try:
        loaded = load()
    except Exception as error:  # a hostile or damaged pickle can make its reader stumble in any way
        raise ValueError(
            f"{path} cannot be read. {_reason(error)} Only dictionaries of numbers, words and arrays of whole numbers "
            "are read; anything else could run code from the file. Get the file again from its publisher."
        ) from None
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ValueError(f"{path} holds no dictionary with names, but a {type(loaded).__name__}. Is it the right file?")
    return {key: value.array if isinstance(value, _Array) else value for key, value in loaded.items()}


def _reason(error: Exception) -> str:
    """Our own sentence, also out of PyTorch's long message (which advises to load the file unsafely)."""
    ours = re.search(r"It (holds|asks|refers)[^\n]*", str(error))
    unknown = re.search(r"GLOBAL (\S+)", str(error))
    if ours:
        return ours.group()
    return f"It asks for {unknown.group(1)}." if unknown else "It is damaged, or another kind of file."


class _Refused(pickle.UnpicklingError):
    """The pickle asks for something that is not on the list."""


class _Dtype:
    """Stands in for ``numpy.dtype``: whole numbers only."""

    def __init__(self, code: str, align: object = False, copy: object = True):
        if not (isinstance(code, str) and re.fullmatch("[iu][1248]", code)):
            raise _Refused(f"It holds an array of {code!r}, not of whole numbers.")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, byte_order, *others = state
        if byte_order not in ("<", ">", "|", "=") or any(other is not None for other in others[:3]):
            raise _Refused("It holds an array with fields, not of whole numbers.")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _Array:
    """Stands in for ``numpy.ndarray`` until its bytes have come."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.fill(data, dtype, shape, "F" if is_fortran else "C")

    def fill(self, data: bytes | bytearray | str, dtype: _Dtype, shape: tuple[int, ...], order: str) -> None:
        """Make the array of its bytes; a pickle of Python 2 brings them as text."""
        content = data.encode("latin1") if isinstance(data, str) else data
        if not (isinstance(dtype, _Dtype) and isinstance(content, bytes | bytearray) and order in ("C", "F")):
            raise _Refused("It holds an array that is not made of plain bytes.")
        numbers = np.frombuffer(content, dtype=dtype.dtype)
        self.array = numbers.reshape(shape, order=order)  # type: ignore[call-overload]  # "C" or "F"


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    """Stands in for the function by which NumPy begins to unpickle an array."""
    return _Array()


def _from_buffer(data: bytearray, dtype: _Dtype, shape: tuple[int, ...], order: str, axes: object = None) -> _Array:
    """Stands in for the function by which NumPy unpickles an array since pickle protocol 5."""
    if axes is not None:
        raise _Refused("It holds an array with its axes exchanged.")
    array = _Array()
    array.fill(data, dtype, shape, order)
    return array


def _encode(text: str, codec: str) -> bytes:
    """Stands in for ``codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if codec != "latin1":
        raise _Refused(f"It asks for the codec {codec!r}.")
    return text.encode("latin1")


_STAND_INS: dict[str, Callable[..., object]] = {
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _reconstruct,  # NumPy 1
    "numpy._core.multiarray._reconstruct": _reconstruct,  # NumPy 2
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., object]:
        stand_in = _STAND_INS.get(f"{module}.{name}")
        if stand_in is None:
            raise _Refused(f"It asks for {module}.{name}.")
        return stand_in

    def persistent_load(self, pid: object) -> object:
        raise _Refused("It refers to data outside the file.")
