"""Download CIFAR-10N or CIFAR-100N: labels that people gave to the training images of CIFAR. Licence: CC BY-NC 4.0.

    python data_scripts/download_cifar_n.py cifar10n --root data

Only the labels: the images come by download_cifar.py. The file is read (safely: no code in it is ever run) before it
counts as downloaded, and the share of labels that differ from the official ones is shown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dsl_teach.data.cifar import cifar_n_labels
from dsl_teach.data.download import DownloadError, fetch

SOURCE = "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/main/data"
FILES = {"cifar10n": "CIFAR-10_human.pt", "cifar100n": "CIFAR-100_human.pt"}
LABELS = {
    "cifar10n": ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label"),
    "cifar100n": ("noisy_label",),
}
IMAGES = 50_000


def wrong_shares(path: Path, names: tuple[str, ...]) -> dict[str, float]:
    """For each kind of label, the share that differs from the official label.

    Raises:
        ValueError: if a kind is missing, or there is not one label for each training image.
    """
    shares = {}
    for name in names:
        labels = cifar_n_labels(path, name)
        if labels.clean_labels is None or not len(labels.noisy_labels) == len(labels.clean_labels) == IMAGES:
            raise ValueError(f"{path} must hold {IMAGES} labels {name!r}, but has {len(labels.noisy_labels)}.")
        shares[name] = (labels.noisy_labels != labels.clean_labels).double().mean().item()
    return shares


def main(arguments: list[str] | None = None) -> int:
    """Download and check; 0 if the labels are there in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=FILES)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder for the file (default: data)")
    parser.add_argument("--url", help="another address of the file (https)")
    options = parser.parse_args(arguments)
    name, kinds = FILES[options.dataset], LABELS[options.dataset]
    try:
        url = options.url or f"{SOURCE}/{name}"
        path = fetch(url, options.root / name, check=lambda part: _check(part, kinds), progress=True)
    except KeyboardInterrupt:
        print("\nStopped. What has come so far is kept; run the same command again to go on.", file=sys.stderr)
        return 130
    except (DownloadError, ValueError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    print(f"{path}: labels that differ from the official ones")
    for kind, share in wrong_shares(path, kinds).items():
        print(f"  {kind:15s} {share:6.1%}")
    return 0


def _check(path: Path, kinds: tuple[str, ...]) -> None:
    wrong_shares(path, kinds)


if __name__ == "__main__":
    sys.exit(main())
