"""Once before long runs: unpack the archives of Clothing1M, and make a copy of a data set with small images.

Both go on where they were stopped, and no file has its name before it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from dsl_teach.data.archives import require_safe_member
from dsl_teach.data.decode import UnreadableImage, decode_image, resize_short_side
from dsl_teach.data.folders import SUFFIXES
from dsl_teach.data.lists import write_text
from dsl_teach.data.look import in_parallel, processes
from dsl_teach.data.usable import LEFT_OUT, RECORD
from dsl_teach.data.verifying import JOURNAL, REPORT

PREPARED = "prepared.json"
"""Marks a prepared copy and says how small its images are."""
UNREADABLE = "prepare_unreadable.tsv"
"""In the copy: the images that could not be read and are missing from it."""


class Job(NamedTuple):
    """One image to make smaller."""

    source: Path
    target: Path
    short_side: int


class Prepared(NamedTuple):
    """What a copy holds now."""

    images: int
    other_files: int
    unreadable: dict[str, str]
    """Path to reason."""


def unpack(root: Path) -> int:
    """Unpack 0.tar to 9.tar of ``root`` or ``root/images`` into ``root/images``; files already there are kept.

    Every name in an archive is looked at before any of its files is written.

    Returns:
        How many files the archives hold.

    Raises:
        ValueError: if an archive is damaged, or holds a link, a device or a path that leaves the folder.
    """
    archives = [path for folder in (root, root / "images") for path in sorted(folder.glob("[0-9].tar"))]
    return sum(_unpack_one(archive, root / "images") for archive in archives)


def prepare(source: Path, target: Path, *, short_side: int = 256, workers: int = 1) -> Prepared:
    """Copy a data set folder with the short side of each image brought down to ``short_side``.

    Images that are small enough are copied as they are, and so are lists and other files. What the copy holds
    already is not made again. Images that cannot be read are left out and listed in ``prepare_unreadable.tsv``.

    Args:
        source: the data folder.
        target: where to; outside ``source``.
        short_side: in pixels; the ``short_side`` of :class:`dsl_teach.data.batches.OnDiskBatches`.
        workers: processes.

    Raises:
        FileNotFoundError: if ``source`` is missing.
        ValueError: if ``target`` lies in ``source``, or was begun with another ``short_side``.
    """
    _require_settings(source, target, short_side)
    jobs, others = [], 0
    for path in _files(source):
        if path.suffix.lower() in SUFFIXES:
            jobs.append(Job(path, target / path.relative_to(source), short_side))
        else:
            _copy(path, target / path.relative_to(source))
            others += 1
    with processes(workers) as pool:
        reasons = list(in_parallel(make_small, jobs, pool, what=f"short side to {short_side}"))
    unreadable = {
        job.source.relative_to(source).as_posix(): reason for job, reason in zip(jobs, reasons, strict=True) if reason
    }
    rows = "".join(f"{path}\t{reason}\n" for path, reason in unreadable.items())
    write_text(target / UNREADABLE, f"path\treason\n{rows}")
    return Prepared(len(jobs) - len(unreadable), others, unreadable)


def make_small(job: Job) -> str:
    """Write one image of the copy, if it is not there yet.

    Returns:
        Why it could not be read; empty if it could.
    """
    if job.target.exists():
        return ""
    try:
        image = decode_image(job.source)
    except UnreadableImage as error:
        return error.reason
    if min(image.shape[-2:]) <= job.short_side:
        _copy(job.source, job.target)
        return ""
    small = Image.fromarray(resize_short_side(image, job.short_side).permute(1, 2, 0).contiguous().numpy())
    with _whole_file(job.target) as part:
        small.save(part, Image.registered_extensions()[job.target.suffix.lower()], quality=92)
    return ""


def _unpack_one(archive: Path, folder: Path) -> int:
    try:
        with tarfile.open(archive, "r:") as tar:
            members = tar.getmembers()
            _require_end(archive, tar)
            for member in members:
                require_safe_member(member, archive)
                tarfile.data_filter(member, str(folder))
            files = [member for member in members if member.isfile()]
            for member in tqdm(files, desc=archive.name, unit=" files", disable=None, leave=False):
                _unpack_file(tar, member, folder / member.name.removeprefix("./").removeprefix("images/"))
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(
            f"{archive} is damaged or cut off: {error}. Get it again; what was unpacked is kept."
        ) from error
    return len(files)


def _require_end(archive: Path, tar: tarfile.TarFile) -> None:
    """An archive ends with a block of zeros; Python takes one that was cut off between two files for whole."""
    with archive.open("rb") as file:
        file.seek(tar.offset)  # where the next header was looked for
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")


def _unpack_file(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if target.exists() and target.stat().st_size == member.size:
        return
    content = tar.extractfile(member)
    data = content.read() if content else b""
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} is incomplete")
    with _whole_file(target) as part:
        part.write_bytes(data)


def _files(source: Path) -> Iterator[Path]:
    """The files of a data set in a fixed order, less what this package wrote about them."""
    ours = {RECORD, REPORT, JOURNAL, LEFT_OUT, UNREADABLE, PREPARED}
    for folder, inner, names in os.walk(source):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            if name not in ours and not name.startswith(".") and not name.endswith((".part", ".tar")):
                yield Path(folder, name)


def _copy(source: Path, target: Path) -> None:
    with _whole_file(target) as part:
        shutil.copyfile(source, part)


@contextmanager
def _whole_file(target: Path) -> Iterator[Path]:
    """A path to write to; it becomes ``target`` once it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    yield part
    os.replace(part, target)


def _require_settings(source: Path, target: Path, short_side: int) -> None:
    if not source.is_dir():
        raise FileNotFoundError(f"There is no folder {source}. Name the data folder.")
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"The copy {target} must lie outside {source}; name another folder.")
    if short_side < 1:
        raise ValueError(f"short_side must be at least 1, but it is {short_side}.")
    marker = target / PREPARED
    target.mkdir(parents=True, exist_ok=True)
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) != {"short_side": short_side}:
        raise ValueError(f"{target} was begun with another short side, see {marker}. Name another folder.")
    if not marker.exists() and any(target.iterdir()):
        raise ValueError(f"{target} holds files that are no prepared copy. Name an empty folder.")
    write_text(marker, json.dumps({"short_side": short_side}) + "\n")
