"""What a data set was: by it a run that continues knows that it sees the same samples, and where they differ."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Callable, Sequence
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
        return f"The classes were {_shortened(before['class_names'])} and are now {_shortened(now['class_names'])}."
    for side in ("training", "test"):
        was, is_now = before[side], now[side]
        if was["number"] != is_now["number"]:
            gone = f" ({now['left_out']} left out, missing or unreadable)" if now["left_out"] else ""
            return f"There were {was['number']} {side} images and are now {is_now['number']}{gone}."
        if was["kind"] != is_now["kind"]:
            return f"The {side} images were {was['kind']} and are now {is_now['kind']}."
        for aspect in sorted((was.keys() | is_now.keys()) - {"begins"}, key=[*is_now, *was].index):
            if was.get(aspect) != is_now.get(aspect):
                return f"The {aspect} of {side} images {_where(was, is_now, aspect)}."
    return "The data differ."


def _where(was: dict[str, Any], is_now: dict[str, Any], aspect: str) -> str:
    if aspect not in was or aspect not in is_now:
        return "were known and are not" if aspect in was else "were not known and are"
    block = next(i for i, (x, y) in enumerate(zip(was[aspect], is_now[aspect], strict=True)) if x != y)
    first, number = block * _length(was["number"]), was["number"]
    told = f"{first} to {min(first + _length(number), number) - 1} differ"
    if "begins" not in was:
        return told
    path, former = is_now["begins"][block], was["begins"][block]
    return f"{told}: {first} is {path}" if path == former else f"{told}: {first} is now {path} and was {former}"


def _side(images: Images, labels: dict[str, Tensor]) -> dict[str, Any]:
    by_block = {name: _of_tensor(x) for name, x in labels.items()}
    if isinstance(images, ImageFiles):
        return {"number": len(images), "kind": "files", **_of_files(images), **by_block}
    kind = f"{images.dtype} {tuple(images.shape[1:])}"
    return {"number": len(images), "kind": kind, "contents": _of_tensor(images), **by_block}


def _of_files(files: ImageFiles) -> dict[str, list[str]]:
    number, paths = len(files), files.paths
    whole = set(random.Random(0).sample(range(number), min(number, READ_WHOLE)))
    with ThreadPool(8) as pool:  # waiting for a disk, not for a core
        sizes = pool.map(_size, [f"{files.root}/{path}" for path in paths], 100)
        content = dict(zip(whole, pool.map(_content, [f"{files.root}/{paths[row]}" for row in whole]), strict=True))
    return {
        "paths": _by_block(number, lambda rows: ["\0".join(paths[rows]).encode()]),
        "begins": [paths[start] for start in range(0, number, _length(number))],
        "file sizes": _by_block(number, lambda rows: [" ".join(map(str, sizes[rows])).encode()]),
        "contents": _by_block(number, lambda rows: [content[row] for row in range(number)[rows] if row in whole]),
    }


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # whoever decodes it will say so
        return -1


def _content(path: str) -> bytes:
    try:
        with open(require_regular(path), "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        return b"unreadable"


def _by_block(number: int, parts: Callable[[slice], Sequence[Any]]) -> list[str]:
    """A checksum for each run of consecutive samples."""
    starts = range(0, number, _length(number))
    return [_checksum(parts(slice(start, start + _length(number)))) for start in starts]


def _length(number: int) -> int:
    return max(1, -(-number // BLOCKS))


def _of_tensor(x: Tensor) -> list[str]:
    return _by_block(len(x), lambda rows: [x[rows].cpu().contiguous().view(torch.uint8).numpy()])


def _checksum(parts: Sequence[Any]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()[:16]


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" … ({len(names)})" if len(names) > 5 else "")
