"""Download CIFAR-10 or CIFAR-100 from its official source, or from a mirror that you name.

    python data_scripts/download_cifar.py cifar10 --root data
    python data_scripts/download_cifar.py cifar100 --root data --mirror https://example.org/datasets

The official server can take an hour. Stop with Ctrl-C whenever you like: the same command goes on where it stopped.
Every byte is checked against the official checksum, whatever the source.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from torchvision.datasets import CIFAR10, CIFAR100

from dsl_teach.data.archives import extract_tar
from dsl_teach.data.download import DownloadError, fetch, require_md5

DATASETS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def address(official: str, mirror: str | None) -> str:
    """Where the archive lies: a mirror is a folder that holds it under its official name, or the archive itself."""
    name = official.rsplit("/", 1)[-1]
    if mirror is None or mirror.endswith(name):
        return mirror or official
    return f"{mirror.rstrip('/')}/{name}"


def is_complete(dataset: type[CIFAR10], root: Path) -> bool:
    """Whether every file of the data set is there and is the official one."""
    meta = [dataset.meta["filename"], dataset.meta["md5"]]
    try:
        for name, md5 in [*dataset.train_list, *dataset.test_list, meta]:
            require_md5(root / dataset.base_folder / name, md5)
    except (FileNotFoundError, ValueError):
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Download, check, unpack; 0 if the data set is there in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder for the data set (default: data)")
    parser.add_argument("--mirror", help="another source: the folder's address (https), or the archive's")
    parser.add_argument("--keep-archive", action="store_true", help="do not delete the archive once it is unpacked")
    options = parser.parse_args(arguments)
    dataset, folder = DATASETS[options.dataset], options.root / DATASETS[options.dataset].base_folder
    if is_complete(dataset, options.root):
        print(f"{folder} is complete already.")
        return 0
    try:
        url = address(dataset.url, options.mirror)
        check = partial(require_md5, md5=dataset.tgz_md5)
        archive = fetch(url, options.root / dataset.filename, check=check, progress=True)
        extract_tar(archive, options.root)
    except KeyboardInterrupt:
        print("\nStopped. What has come so far is kept; run the same command again to go on.", file=sys.stderr)
        return 130
    except (DownloadError, ValueError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    if not is_complete(dataset, options.root):
        print(f"The archive is the official one, but {folder} is not complete. Is the disk full?", file=sys.stderr)
        return 1
    if not options.keep_archive:
        archive.unlink()
    print(f"{folder} is complete; every file has its official checksum.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
