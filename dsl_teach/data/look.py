"""Looking at image files before training: is each of them there and whole, and does any stand on both sides?

Decoding a million images takes a core a quarter of an hour, reading the first and last bytes of each half a minute.
A JPEG, PNG, GIF or WebP file that was cut off lacks the mark its format ends with; only a file whose ends look
wrong is decoded, and the decoder has the last word.
"""

from __future__ import annotations

import filecmp
import functools
import hashlib
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from tqdm import tqdm

from dsl_teach.data.dataset import ImageFiles
from dsl_teach.data.decode import UnreadableImage, decode_image, reason_of

Item = TypeVar("Item")
Result = TypeVar("Result")

ENDS = 64
"""Bytes read from either end of a file."""


class Sighting(NamedTuple):
    """What a look at one file told."""

    problem: str
    """Why it cannot be used; empty if it can."""
    mark: int
    """Equal for equal files, and hardly ever for others: taken from the file's size and its last bytes."""


def glance(path: str) -> Sighting:
    """Look at the ends of a file; decode it only if they look wrong."""
    try:
        head, tail, size = _ends(path)
    except OSError as error:
        return Sighting(reason_of(error), 0)
    return Sighting("" if _whole(head, tail, size) else _decoding_problem(path), _mark(tail, size))


def inspect(path: str) -> Sighting:
    """Decode a file."""
    try:
        _, tail, size = _ends(path)
    except OSError as error:
        return Sighting(reason_of(error), 0)
    return Sighting(_decoding_problem(path), _mark(tail, size))


def look_at(files: ImageFiles, look: Callable[[str], Sighting], *, what: str = "images") -> list[Sighting]:
    """Look at every file, a few at a time; a progress bar shows in a terminal.

    Returns:
        One sighting a file, in their order.
    """
    with ThreadPoolExecutor(8) as pool:
        return list(in_parallel(look, full_paths(files), pool, what=f"looking at {what}"))


def full_paths(files: ImageFiles) -> list[str]:
    """The paths with their folder in front."""
    folder = files.root.as_posix()
    return [f"{folder}/{path}" for path in files.paths]


def missing_files(files: ImageFiles) -> set[str]:
    """The paths that are not there. Lists each folder once: a million files take a second or two."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in files.paths:
        by_folder[path.rpartition("/")[0]].append(path)
    missing: set[str] = set()
    for folder, paths in by_folder.items():
        try:
            there = set(os.listdir(files.root / folder))
        except OSError:
            there = set()
        missing.update(path for path in paths if path.rpartition("/")[2] not in there)
    return missing


def copies(
    files: ImageFiles, seen: Sequence[Sighting], others: ImageFiles, others_seen: Sequence[Sighting]
) -> dict[str, str]:
    """The files that hold the same bytes as one of the others: path to path."""
    by_mark = {sighting.mark: path for path, sighting in zip(others.paths, others_seen, strict=True) if sighting.mark}
    pairs = ((path, by_mark.get(sighting.mark)) for path, sighting in zip(files.paths, seen, strict=True))
    return {path: other for path, other in pairs if other and same_bytes(files.root / path, others.root / other)}


def same_bytes(path: Path, other: Path) -> bool:
    """Whether two files hold the same."""
    return filecmp.cmp(path, other, shallow=False)


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], pool: Executor | None, *, what: str
) -> Iterator[Result]:
    """Results in the order of the items, by a pool of threads or processes (None: here), under a progress bar."""
    size = max(1, min(500, len(items) // 32))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    on_chunk = functools.partial(_each, work)
    results: Iterable[list[Result]] = pool.map(on_chunk, chunks) if pool else map(on_chunk, chunks)
    with tqdm(total=len(items), desc=what, unit=" files", disable=None, delay=1, leave=False) as bar:
        for chunk in results:
            bar.update(len(chunk))
            yield from chunk


@contextmanager
def processes(number: int) -> Iterator[Executor | None]:
    """A pool of so many processes; with one, None: the work is done here. Stops at once if it is interrupted."""
    if number == 1:
        yield None
        return
    if number < 1:
        raise ValueError(f"processes must be at least 1, but it is {number}.")
    pool = ProcessPoolExecutor(number, initializer=_start_process)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the one who hands out the work
    torch.set_num_threads(1)


def _each(work: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [work(item) for item in chunk]


def _ends(path: str) -> tuple[bytes, bytes, int]:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(ENDS)
        file.seek(max(0, size - ENDS))
        return head, file.read(ENDS), size


def _whole(head: bytes, tail: bytes, size: int) -> bool:
    if head.startswith(b"\xff\xd8\xff"):
        return tail.endswith(b"\xff\xd9")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return tail.endswith(b"IEND\xaeB`\x82")
    if head.startswith(b"GIF8"):
        return tail.endswith(b";")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return int.from_bytes(head[4:8], "little") + 8 == size
    return False


def _mark(tail: bytes, size: int) -> int:
    return int.from_bytes(hashlib.blake2b(tail + size.to_bytes(8, "little"), digest_size=8).digest(), "little")


def _decoding_problem(path: str) -> str:
    try:
        decode_image(path)
    except UnreadableImage as error:
        return error.reason
    return ""
