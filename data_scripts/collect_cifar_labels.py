"""Put published labels of CIFAR from several files into one .npz, for grids that compare kinds of noise.

    python data_scripts/collect_cifar_labels.py data/labels.npz clean.npz:clean CIFAR-10_human.pt:random_label1 \\
        pmd.npz:pmd1_35_first45000=pmd1_35

Each source is FILE:NAME, and =OTHER if the array is to have another name. The first one names the true labels. Where a
file labels only the first images, the others keep their true labels; a line says so.

Exit code: 0 if the file is written, 1 if it is not, 2 if the command is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from dsl_teach.data.cifar import cifar_n_labels
from dsl_teach.data.label_files import labels_from_file


def main(arguments: list[str] | None = None) -> int:
    """Collect the labels; 0 if they are written."""
    parser = argparse.ArgumentParser(description="Collect published CIFAR labels in one .npz file.")
    parser.add_argument("output", type=Path)
    parser.add_argument("sources", nargs="+", metavar="FILE:NAME[=OTHER]")
    options = parser.parse_args(arguments)
    try:
        collected = collect(options.sources)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_suffix(".part.npz")
    np.savez(partial, **collected)
    partial.replace(options.output)
    print(f"{options.output}: {', '.join(collected)}")
    return 0


def collect(sources: list[str]) -> dict[str, np.ndarray]:
    """The arrays by name, all as long as the first one, which holds the true labels."""
    collected: dict[str, np.ndarray] = {}
    for source in sources:
        file, _, names = source.rpartition(":")
        name, _, other = names.partition("=")
        if not file or not name:
            raise ValueError(f"{source} must be of the form FILE:NAME or FILE:NAME=OTHER.")
        read = cifar_n_labels if file.endswith(".pt") else labels_from_file
        labels = read(file, name).noisy_labels.numpy()
        collected[other or name] = filled(labels, next(iter(collected.values()), labels), source)
    return collected


def filled(labels: np.ndarray, clean_labels: np.ndarray, source: str) -> np.ndarray:
    """The labels, with true ones for the images at the end that a file leaves out."""
    if len(labels) > len(clean_labels):
        raise ValueError(f"{source} labels {len(labels)} images, the first source only {len(clean_labels)}.")
    left = len(clean_labels) - len(labels)
    if left:
        print(f"{source} labels the first {len(labels)} images; the other {left} keep their true labels.")
    return np.concatenate([labels, clean_labels[len(labels) :]])


if __name__ == "__main__":
    sys.exit(main())
