"""Download CIFAR-10, CIFAR-100, labels that people gave to their images (CIFAR-10N, CIFAR-100N), or clothes.

    python data_scripts/download.py cifar10 --output data
    python data_scripts/download.py cifar100 --output data --mirror https://example.org/datasets
    python data_scripts/download.py cifar10n --output data
    python data_scripts/download.py clothes --output data

The archives must have their official checksums, whatever the source. Label files (licence: CC BY-NC 4.0) are read,
without running any code that they could hold, before they count as downloaded. Clothes (3,781 photographs, CC0) come
file by file, each against its checksum in clothes.sha256.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import time
from collections import Counter
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pooch
import requests
import torch
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity
from tqdm import tqdm

from dsl_teach.data.cifar import official_files, published_labels
from dsl_teach.errors import boundary, sentence
from dsl_teach.files import read_text
from dsl_teach.storage import locked

IMAGES = {"cifar10": CIFAR10, "cifar100": CIFAR100}
LABELS = {
    "cifar10n": ("CIFAR-10_human.pt", ("aggre_label", *(f"random_label{i}" for i in (1, 2, 3)), "worse_label")),
    "cifar100n": ("CIFAR-100_human.pt", ("noisy_label",)),
}
LABELS_SOURCE = "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/main/data"
CLOTHES = "https://raw.githubusercontent.com/alexeygrigorev/clothing-dataset-small/master"
SENDERS = "https://raw.githubusercontent.com/alexeygrigorev/clothing-dataset/master"
SENDERS_SUM = "35f08c1442351037b262cc7398368c9cacfb6d8e6a013780f7f2211ab856cb34"
SUMS = Path(__file__).with_name("clothes.sha256")
TRAINING_IMAGES = 50_000
TRIES, CONNECTIONS = 5, 8
LARGEST, SECONDS = 200_000_000, 3600
"""Bytes and seconds of a download: the largest file has 170 million bytes."""


def main(arguments: list[str] | None = None) -> int:
    """Download and check; 0 if the data set is there in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*IMAGES, *LABELS, "clothes"])
    parser.add_argument("--output", type=Path, default=Path("data"), help="folder for the data set (default: data)")
    parser.add_argument("--mirror", help="address of a folder that holds the file under its official name")
    options = parser.parse_args(arguments)
    fetch_all = clothes if options.name == "clothes" else images if options.name in IMAGES else labels
    with boundary("download.py"), locked(options.output):
        try:
            fetch_all(options.name, options.output, options.mirror)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise ValueError(f"{sentence(error)} If it happens again, name another source by --mirror.") from error
    return 0


def images(name: str, folder: Path, mirror: str | None) -> None:
    """Fetch and unpack the images, unless every file is there and is the official one."""
    kind, inside = IMAGES[name], folder / IMAGES[name].base_folder
    if not is_complete(kind, folder):
        archive = fetch(mirror or kind.url.rpartition("/")[0], kind.filename, folder, f"md5:{kind.tgz_md5}")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")  # refuses paths and links that lead out of the folder
        if not is_complete(kind, folder):
            raise ValueError(f"The archive is the official one, but {inside} is not complete. Is the disk full?")
        archive.unlink()
    print(f"{inside} is complete; every file has its official checksum.")


def labels(name: str, folder: Path, mirror: str | None) -> None:
    """Fetch the labels; a file that does not hold them all is not kept."""
    file, kinds = LABELS[name]
    path = fetch(mirror or LABELS_SOURCE, file, folder, None)
    try:
        found = {kind: published_labels(path, kind) for kind in kinds}
        if wrong := [kind for kind, x in found.items() if len(x.noisy_labels) != TRAINING_IMAGES]:
            raise ValueError(f"{path} holds other than {TRAINING_IMAGES:,} labels {wrong[0]}.")
    except ValueError:
        path.unlink()
        raise
    print(f"{path}: labels that differ from the official ones")
    for kind, (noisy_labels, clean_labels, _) in found.items():
        differ = torch.zeros(()) if clean_labels is None else (noisy_labels != clean_labels).double()
        print(f"  {kind:15s} {differ.mean().item():6.1%}")


def clothes(name: str, folder: Path, mirror: str | None) -> None:
    """Fetch each photograph, and the table of who sent it; say how many there are of each class."""
    wanted = [line.split(maxsplit=1) for line in read_text(SUMS).splitlines()]
    inside = folder / "clothing-dataset-small"
    jobs = [(mirror or CLOTHES, path, inside, f"sha256:{digest}") for digest, path in wanted]
    jobs.append((mirror or SENDERS, "images.csv", inside, f"sha256:{SENDERS_SUM}"))
    for parent in {(inside / path).parent for _, path, _, _ in jobs}:
        parent.mkdir(parents=True, exist_ok=True)  # pooch would make them in several threads at once, and stumble
    pooch.get_logger().setLevel("WARNING")
    with ThreadPool(CONNECTIONS) as pool:
        made = pool.imap_unordered(lambda job: fetch(*job), jobs)
        list(tqdm(made, "clothes", len(jobs), disable=None, unit=" files"))
    print(f"{inside} is complete; every file has its published checksum.")
    for kind, count in sorted(Counter(path.split("/")[1] for _, path in wanted).items()):
        print(f"  {kind:12s} {count:5d} {count / len(wanted):6.1%}")


def fetch(source: str, file: str, folder: Path, checksum: str | None) -> Path:
    """Download a file, with its checksum if one is known; one that is there already is fetched only if it differs."""
    if not source.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ValueError(f"{source} is no safe address: begin it with https:// (http:// only for this machine).")
    source = f"{source.rstrip('/')}/"
    server = pooch.create(folder, base_url=source, registry={file: checksum}, retry_if_failed=TRIES - 1)
    return Path(server.fetch(file, downloader=download))


def download(url: str, target: str, server: pooch.Pooch) -> None:
    """One try to fetch a file; an OSError, after which there is no other, if it brings too much or lasts too long."""
    began = time.monotonic()
    with requests.get(url, stream=True, timeout=60) as answer, open(target, "wb") as file:
        answer.raise_for_status()
        total = int(answer.headers.get("content-length", 0))
        with tqdm(total=total, unit="B", unit_scale=True, disable=None if total > 2**20 else True) as progress:
            for part in answer.iter_content(2**12):  # small: the time is looked at between two parts
                progress.update(file.write(part))
                if file.tell() > LARGEST or time.monotonic() - began > SECONDS:
                    raise OSError(f"{url} is ended: more than {LARGEST:,} bytes or {SECONDS // 60} minutes.")


def is_complete(kind: type[CIFAR10], folder: Path) -> bool:
    """Whether every file of the data set is there and is the official one."""
    return all(check_integrity(folder / kind.base_folder / name, md5) for name, md5 in official_files(kind))


if __name__ == "__main__":
    sys.exit(main())
