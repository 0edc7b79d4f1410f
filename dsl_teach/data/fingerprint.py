"""What a data set was: by it a run that continues knows that it sees the same samples, and where they differ."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import textwrap
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

import torch
from torch import Tensor

from dsl_teach.data.dataset import ImageFiles, Images, NoisyDataset
from dsl_teach.files import require_regular

BLOCKS, READ_WHOLE = 64, 1000
"""Runs of consecutive samples with a checksum of their own, at most, and files of a side of which all bytes count."""


def fingerprint(data: NoisyDataset) -> dict[str, Any]:
    """Class names, and for both sides number, paths, sizes, bytes and labels of the samples, as JSON can hold them.

    Paths are those below the data folder, so a folder may be moved. Of files that are not in memory, 1,000 a side are
    read whole, the same ones each time.
    """
    known = {"noisy labels": data.noisy_labels, "clean labels": data.clean_labels, "marks of verified": data.verified}
    left_out = re.search(r"(\d+) left out", data.made_from.partition(";")[0])
    return {
        "class_names": list(data.class_names),
        "left_out": int(left_out[1]) if left_out else 0,
        "training": _side(data.images, {name: x for name, x in known.items() if x is not None}),
        "test": _side(data.test_images, {"labels": data.test_labels}),
    }


def digest(of: dict[str, Any]) -> str:
    """16 hexadecimal digits that stand for a fingerprint."""
    return _checksum([json.dumps({**of, "left_out": 0}, sort_keys=True).encode()])


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """A sentence on the first difference between two fingerprints; None if there is none."""
    if digest(before) == digest(now):
        return None
    if before["class_names"] != now["class_names"]:
        was, is_now = (textwrap.shorten(", ".join(x["class_names"]), 200, placeholder=" …") for x in (before, now))
        return f"The classes were {was} and are now {is_now}."
    for side in ("training", "test"):
        was, is_now = before[side], now[side]
        for what in dict.fromkeys([*is_now, *was]):
            x, y = was.get(what), is_now.get(what)
            if isinstance(x, list) and isinstance(y, list) and x != y:
                block = next(i for i, (one, other) in enumerate(zip(x, y, strict=True)) if one != other)
                first, length = block * _length(was["number"]), _length(was["number"])
                last, begins = min(first + length, was["number"]) - 1, is_now.get("begins")
                path = f": {first} is {begins[block]}" if begins else ""
                return f"The {what} of {side} images {first} to {last} differ{path}."
            if x != y:
                told = ("unknown" if z is None else "known" if isinstance(z, list) else z for z in (x, y))
                gone = f" ({now['left_out']} left out, missing or unreadable)" if now["left_out"] else ""
                return f"The {what} of {side} images: {next(told)} before, {next(told)} now{gone}."
    return None


def _side(images: Images, labels: dict[str, Tensor]) -> dict[str, Any]:
    """Number, kind, and of each aspect a checksum for every run of consecutive samples; where files, its first path."""
    length = _length(len(images))
    starts = range(0, len(images), length)
    if isinstance(images, ImageFiles):
        kind, by_sample, begins = "files", _of_files(images), {"begins": [images.paths[start] for start in starts]}
    else:
        kind, by_sample, begins = f"{images.dtype} {tuple(images.shape[1:])}", {"contents": images}, {}
    sums = {name: [_checksum(x[i : i + length]) for i in starts] for name, x in (by_sample | labels).items()}
    return {"number": len(images), "kind": kind, **sums, **begins}


def _of_files(files: ImageFiles) -> dict[str, Tensor | Sequence[bytes]]:
    whole = set(random.Random(0).sample(range(len(files)), min(len(files), READ_WHOLE)))
    jobs = [(path, row in whole) for row, path in enumerate(files.full_paths())]
    with ThreadPool(8) as pool:  # waiting for a disk, not for a core
        sizes, contents = zip(*pool.starmap(_read, jobs, 100), strict=True) if jobs else ((), ())
    return {"paths": [f"{path}\0".encode() for path in files.paths], "file sizes": sizes, "contents": contents}


def _read(path: str, whole: bool) -> tuple[bytes, bytes]:
    """Size and, of a ``whole`` file, checksum; of a file that cannot be read, neither: whoever decodes it says so."""
    try:
        size = b"%d " % os.stat(path).st_size
        if not whole:
            return size, b""
        with open(require_regular(path), "rb") as file:
            return size, hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        return b"unreadable", b""


def _length(number: int) -> int:
    return max(1, -(-number // BLOCKS))


def _checksum(part: Tensor | Sequence[bytes]) -> str:
    content: Any = part.cpu().contiguous().view(torch.uint8).numpy() if isinstance(part, Tensor) else b"".join(part)
    return hashlib.sha256(content).hexdigest()[:16]
