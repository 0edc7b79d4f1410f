"""Prepare a data set for long runs: unpack 0.tar to 9.tar, and copy it with the short side of every image at 256.

    python data_scripts/prepare.py /data/clothing1m /data/clothing1m_256
    python data_scripts/prepare.py /data/clothing1m --unpack-only

The copy is laid out as the original and read by the same loader; it saves the scaling in every epoch. Lists are copied
too. Archives are unpacked into images/ of the original folder first; one that holds a link, a device or a path that
leads out of it is refused. Stop with Ctrl-C whenever you like: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm
from verify import in_processes

from dsl_teach.data.decode import UnreadableImage, decode_image, leads_into, resize_short_side
from dsl_teach.data.folders import SUFFIXES, UNREADABLE
from dsl_teach.errors import boundary
from dsl_teach.files import read_text, require_regular
from dsl_teach.storage import LOCK, locked, write_atomically

PREPARED = "PREPARED.txt"
"""Marks a prepared copy and says how small its images are."""


def unpack(root: Path) -> int:
    """Unpack 0.tar to 9.tar of ``root`` or ``root/images`` into ``root/images``; how many files they hold.

    Files already there are kept. Every name in an archive is looked at before any of its files is written.
    """
    archives = [path for folder in (root, root / "images") for path in sorted(folder.glob("[0-9].tar"))]
    with locked(root) if archives else nullcontext():
        return sum(_unpack_one(archive, root / "images") for archive in archives)


def _unpack_one(archive: Path, folder: Path) -> int:
    try:
        with tarfile.open(archive, "r:") as tar:
            members = [tarfile.data_filter(member, str(folder)) for member in tar.getmembers()]
            with archive.open("rb") as file:  # Python takes an archive cut off between two files for whole
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("its end is missing")
            if strange := [member.name for member in members if not (member.isfile() or member.isdir())]:
                raise tarfile.ReadError(f"{strange[0]!r} is a link")
            files = [member for member in members if member.isfile()]
            if sum(member.size for member in files) > archive.stat().st_size:  # files with holes take what they name
                raise tarfile.ReadError("its files are larger than it is")
            for member in tqdm(files, archive.name, unit=" files", disable=None, leave=False):
                target = folder / member.name.removeprefix("./").removeprefix("images/")
                if not (target.exists() and target.stat().st_size == member.size):
                    with whole_file(target) as part, part.open("wb") as file:
                        shutil.copyfileobj(tar.extractfile(member) or io.BytesIO(), file)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} is damaged or not safe to unpack: {error}. Get it again.") from error
    return len(files)


def prepare(source: Path, target: Path, *, short_side: int = 256, workers: int = 1) -> dict[str, str]:
    """Copy a data set folder with the short side of each image brought down to ``short_side`` pixels.

    Images that are small enough are copied as they are, and so are lists and other files. What the copy holds
    already is not made again. Returns the images that could not be read and are missing from the copy, and why.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"There is no folder {source}. Name the data folder.")
    if short_side < 1:
        raise ValueError(f"short_side must be at least 1, but it is {short_side}.")
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"The copy {target} must lie outside {source}; name another folder.")
    paths = sorted(path.relative_to(source) for path in _files(source))
    with locked(target):
        _begin_copy(target, short_side)
        images = [path for path in paths if path.suffix.lower() in SUFFIXES]
        for path in set(paths) - set(images):
            with whole_file(target / path) as part:
                shutil.copyfile(require_regular(source / path), part)
        make = partial(make_small, source=source, target=target, short_side=short_side)
        made = in_processes(make, images, workers, f"short side to {short_side}")
        return {path.as_posix(): reason for path, reason in made if reason}


def make_small(path: Path, *, source: Path, target: Path, short_side: int) -> str:
    """Write one image of the copy, if it is not there yet; the answer is why it could not be read, else empty."""
    if (target / path).exists():
        return ""
    try:
        image = decode_image(source / path, within=source)
    except UnreadableImage as error:
        return error.reason
    with whole_file(target / path) as part:
        if min(image.shape[-2:]) <= short_side:
            shutil.copyfile(source / path, part)
        else:
            small = Image.fromarray(resize_short_side(image, short_side).permute(1, 2, 0).contiguous().numpy())
            small.save(part, Image.registered_extensions()[path.suffix.lower()], quality=92)
    return ""


def _files(source: Path) -> Iterator[Path]:
    """The files of a data set, less what this package wrote about them; a link that leads out is a ValueError."""
    for folder, inner, names in os.walk(source):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for path in (Path(folder, name) for name in inner + names):
            if path.is_symlink() and not leads_into(path, source):
                raise ValueError(f"{path} is a link that leads out of {source}. Put the file itself there.")
        for name in names:
            if name not in (UNREADABLE, PREPARED) and not name.startswith(".") and not name.endswith((".part", ".tar")):
                yield Path(folder, name)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to; it becomes ``target`` once it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    yield part
    os.replace(part, target)


def _begin_copy(target: Path, short_side: int) -> None:
    """Mark the copy, unless it is marked: then with the same ``short_side``."""
    marker = target / PREPARED
    text = f"Images whose short side was longer than {short_side} pixels were scaled to it.\n"
    if marker.exists() and read_text(marker) != text:
        raise ValueError(f"{target} was begun with another short side, see {marker}. Name another folder.")
    if not marker.exists() and {path.name for path in target.iterdir()} > {LOCK}:
        raise ValueError(f"{target} holds files that are no prepared copy. Name an empty folder.")
    write_atomically(marker, text)


def main(arguments: list[str] | None = None) -> int:
    """Unpack and copy; 0 if all is done. Images that cannot be read do not count as a failure: they are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the data folder")
    parser.add_argument("copy", type=Path, nargs="?", help="where the copy goes: empty, or begun by this command")
    parser.add_argument("--short-side", type=int, default=256, metavar="PIXELS", help="default: 256")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--unpack-only", action="store_true", help="unpack the archives and make no copy")
    options = parser.parse_args(arguments)
    if options.copy is None and not options.unpack_only:
        parser.error("name a folder for the copy, or give --unpack-only")
    with boundary("prepare.py"):
        if unpacked := unpack(options.root):
            print(f"The archives' {unpacked:,} files are in {options.root / 'images'}.")
        if options.copy and not options.unpack_only:
            missing = prepare(options.root, options.copy, short_side=options.short_side, workers=options.workers)
            print(f"{options.copy} is ready. {len(missing)} images could not be read and are missing from it.")
            print("".join(f"  {path}: {reason}\n" for path, reason in list(missing.items())[:10]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
