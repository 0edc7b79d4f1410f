"""Unpacks archives from the network without letting them write where they please."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath


def extract_tar(archive: Path, folder: Path) -> list[Path]:
    """Unpack a tar archive that may hold only folders and ordinary files that stay inside ``folder``.

    Every name is looked at before anything is written. The files are unpacked beside their place and moved there one
    by one: a file that has its name is whole.

    Args:
        archive: ``.tar``, ``.tar.gz``, ...
        folder: where it goes; files of the same name are replaced.

    Returns:
        The files, in the order of the archive.

    Raises:
        ValueError: if the archive is damaged or holds a link, a device, or a path that leads elsewhere; nothing is
            written then.
    """
    beside = folder / f".{archive.name}.unpacking"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                require_safe_member(member, archive)
            beside.mkdir(parents=True)
            tar.extractall(beside, members, filter="data")
        return [_move(beside / member.name, folder / member.name) for member in members if member.isfile()]
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a full disk, say: not the archive's fault
            raise
        raise ValueError(f"{archive} is damaged: {error} Delete it and download it again.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def require_safe_member(member: tarfile.TarInfo, archive: Path) -> None:
    """Refuse an archive's member that is neither file nor folder, or would be written outside its folder.

    Raises:
        ValueError: with the member's name.
    """
    posix, windows = PurePosixPath(member.name), PureWindowsPath(member.name)
    if posix.is_absolute() or windows.anchor or ".." in posix.parts + windows.parts:
        raise ValueError(f"{archive}: the member {member.name!r} leads out of the folder. Nothing was unpacked.")
    if not (member.isfile() or member.isdir()):
        raise ValueError(f"{archive}: the member {member.name!r} is a link or a device. Nothing was unpacked.")


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    return target
