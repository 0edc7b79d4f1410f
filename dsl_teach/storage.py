"""Writing files that last: each whole or absent, with its checksum beside it, by one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

SUMS = "SHA256SUMS"
"""The checksums of the files in a folder, as ``sha256sum`` writes and checks them."""
LOCK = ".lock"
Write = Callable[[IO[bytes]], object]


class RunFolderError(OSError):
    """A folder that cannot be used."""


class DamagedFile(RunFolderError):
    """A file that is not as it was written."""


def open_folder(folder: str | Path) -> Path:
    """Make a folder, or find it there; if it cannot be written to, a RunFolderError."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be written to ({reason(error)}). Name another folder.") from error


@contextlib.contextmanager
def locked(folder: str | Path, *, wait: bool = False) -> Iterator[Path]:
    """A folder that this process alone writes to, as long as it lives; one that is taken is a RunFolderError."""
    with (open_folder(folder) / LOCK).open("a") as file:
        try:
            with contextlib.suppress(ImportError):  # no such lock on this system
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            raise RunFolderError(f"Another process is writing to {folder}. Wait for it, or stop it.") from error
        yield Path(folder)


def write_atomically(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_whole(Path(path), lambda file: file.write(text.encode()))


def write_whole(path: Path, write: Write, *, before: Callable[[Path], object] = lambda part: None) -> None:
    """Write a file whole or not at all, also if the power fails: beside it first, then under its name."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        before(part)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:  # make the new name last, where that can be
        handle = os.open(path.parent, os.O_RDONLY)
        stack.callback(os.close, handle)
        os.fsync(handle)


def write_checked(path: Path, write: Write, *, instead_of: Iterable[Path] = ()) -> None:
    """Write a file whole, with its checksum, for :func:`read_checked`; killed anywhere, the old or the new one holds.

    Files that it stands ``instead_of`` go afterwards. The folder must be this process's own, see :func:`locked`.
    Three writes, in this order: the sums of the new file and of the old one, the file, the sums without the old one.
    """
    here = {name: digests for name, digests in checksums(path.parent).items() if (path.parent / name).exists()}
    old = here.pop(path.name, [])

    def announce(part: Path) -> None:
        with part.open("rb") as file:
            new = hashlib.file_digest(file, "sha256").hexdigest()
        here[path.name] = [new]
        _write_sums(path.parent, here | {path.name: [new, *old]})

    write_whole(path, write, before=announce)
    for other in instead_of:
        other.unlink()
        here.pop(other.name, None)
    if old or instead_of:
        _write_sums(path.parent, here)


def read_checked(path: Path) -> bytes:
    """The content of a file as it was written; DamagedFile if it is not, or if nobody can know."""
    try:
        content, digests = path.read_bytes(), checksums(path.parent).get(path.name)
    except (OSError, MemoryError) as error:
        raise RunFolderError(f"{path} cannot be read now ({reason(error)}).") from error
    if digests is None:
        raise DamagedFile(f"{path} has no checksum in {SUMS} beside it, so nobody can know whether it is whole.")
    if hashlib.sha256(content).hexdigest() not in digests:
        raise DamagedFile(f"{path} is damaged: its checksum is not the one in {SUMS}.")
    return content


def damages(folder: Path) -> list[str]:
    """What is not as it was written, in a folder and those in it: a sentence each."""
    found = [f"{path} was found damaged and put aside." for path in sorted(folder.rglob("*.damaged"))]
    for inner in sorted({path.parent for path in folder.rglob(SUMS)}):
        kept = {path.name for path in inner.iterdir() if path.is_file() and path.suffix in (".pt", ".jsonl", ".yaml")}
        for name in sorted(checksums(inner).keys() | kept):
            try:
                read_checked(inner / name)
            except RunFolderError as error:
                found.append(str(error))
    return found


def reason(error: BaseException) -> str:
    """What an error says, in a line; never the advice of a library to read a file without care."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than numbers"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return words.splitlines()[0][:200]


def checksums(folder: Path) -> dict[str, list[str]]:
    """Name -> its checksums: several if it was being replaced; of a line that is damaged nothing is known."""
    try:
        lines = (folder / SUMS).read_bytes().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        found.setdefault(name, []).append(digest)
    return found


def _write_sums(folder: Path, sums: dict[str, list[str]]) -> None:
    lines = (f"{digest}  {name}\n" for name, digests in sorted(sums.items()) for digest in digests)
    write_atomically(folder / SUMS, "".join(lines))
