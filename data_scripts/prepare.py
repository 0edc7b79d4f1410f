"""Prepare a data set for long runs: unpack 0.tar to 9.tar, and copy it with the short side of every image at 256.

    python data_scripts/prepare.py /data/clothing1m /data/clothing1m_256
    python data_scripts/prepare.py /data/clothing1m --unpack-only

The copy is laid out as the original and read by the same loader; it saves the scaling in every epoch. Lists are copied
too. Archives are unpacked into images/ of the original folder first; one that holds a link, a device or a path that
leaves the folder is refused. Stop with Ctrl-C whenever you like: the same command goes on where it stopped.

Exit code: 0 if all is done, 1 if it is not, 2 if the command is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dsl_teach.data.preparing import UNREADABLE, prepare, unpack


def main(arguments: list[str] | None = None) -> int:
    """Unpack and copy; 0 if all is done. Images that cannot be read do not count as a failure: they are listed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.copy is None and not options.unpack_only:
        parser.error("name a folder for the copy, or give --unpack-only")
    try:
        _work(options)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def _work(options: argparse.Namespace) -> None:
    unpacked = unpack(options.source)
    if unpacked:
        print(f"The archives' {unpacked:,} files are in {options.source / 'images'}.")
    if options.unpack_only:
        return
    made = prepare(options.source, options.copy, short_side=options.short_side, workers=options.processes)
    print(f"{options.copy} holds {made.images:,} images and {made.other_files:,} other files.")
    if made.unreadable:
        print(f"{len(made.unreadable):,} images cannot be read; they are listed in {options.copy / UNREADABLE}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the data folder")
    parser.add_argument("copy", type=Path, nargs="?", help="where the copy goes: empty, or begun by this command")
    parser.add_argument("--short-side", type=int, default=256, metavar="PIXELS", help="default: 256")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a core")
    parser.add_argument("--unpack-only", action="store_true", help="unpack the archives and make no copy")
    return parser


if __name__ == "__main__":
    sys.exit(main())
