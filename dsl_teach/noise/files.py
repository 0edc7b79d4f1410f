"""Labels in a file together with their recipe: written in one step, read without ever running what a file holds."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from dsl_teach.noise.report import NoisyLabels

FORMAT = "dsl_teach labels 1"
"""Stands in every file, so that another archive of arrays is not taken for one."""

_BROKEN = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def save_labels(path: str | Path, noisy: NoisyLabels) -> None:
    """Write labels, truth and recipe to one ``.npz`` file; a folder that is missing is made.

    The file appears whole or not at all: it is written beside its place and then moved there. An older file of that
    name is replaced.

    Args:
        path: the file; it keeps exactly this name.
        noisy: from a noise model, or made of labels from elsewhere with a recipe of your own.

    Raises:
        ValueError: if the recipe holds something that JSON cannot.
    """
    path = Path(path)
    head = {"format": FORMAT, "num_classes": noisy.num_classes, "recipe": noisy.recipe}
    try:
        text = json.dumps(head, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"recipe must be plain JSON (texts, finite numbers, lists, dictionaries), but {error}."
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            given, true = (labels.numpy(force=True) for labels in (noisy.noisy_labels, noisy.clean_labels))
            np.savez_compressed(file, head=np.array(text), noisy_labels=given, clean_labels=true)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def load_labels(path: str | Path) -> NoisyLabels:
    """Read what :func:`save_labels` wrote.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut off, damaged, or something else; the sentence names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no label file {path}. Check the path, or write one with save_labels.")
    content = path.read_bytes()
    try:
        return _parse(content)
    except _BROKEN as error:
        raise ValueError(
            f"{path} is not a label file of dsl_teach, or is cut off or damaged ({_first_line(error)}). Make it again "
            "with save_labels, or copy it again from where it came."
        ) from error


def _parse(content: bytes) -> NoisyLabels:
    if content[:2] != b"PK":
        raise ValueError("it does not begin as an .npz archive does")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        head = json.loads(str(archive["head"]))
        arrays = [archive[name] for name in ("noisy_labels", "clean_labels")]
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(f"its head is not that of {FORMAT!r}")
    num_classes, recipe = head.get("num_classes"), head.get("recipe")
    if not isinstance(num_classes, int) or not isinstance(recipe, dict):
        raise ValueError("its head lacks num_classes or recipe")
    if any(array.dtype != np.int64 for array in arrays):
        raise ValueError("its labels are not int64")
    noisy_labels, clean_labels = (torch.from_numpy(array) for array in arrays)
    return NoisyLabels(noisy_labels, clean_labels, num_classes, recipe)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
