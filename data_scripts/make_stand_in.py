"""Draw a small data set that is laid out exactly as Clothing1M, or as Food-101N with Food-101.

    python data_scripts/make_stand_in.py clothing1m stand_ins/clothing1m
    python data_scripts/make_stand_in.py food101n stand_ins/food --images-per-class 20

For people without access to the data, and for tests. The images are drawn, not photographed; their noisy labels are
wrong where an image looks like another class, and the truth is written beside them. A file STAND_IN.txt marks the
folder, and the loaders say so in every result.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dsl_teach.data.stand_in import make_clothing1m, make_food101n


def main(arguments: list[str] | None = None) -> int:
    """Draw; 0 if all is done."""
    options = _parser().parse_args(arguments)
    sizes = {"classes": options.classes, "images_per_class": options.images_per_class, "seed": options.seed}
    try:
        if options.dataset == "food101n":
            make_food101n(options.folder, noise_rate=options.noise_rate, **sizes)
        else:
            layout = {"annotations": options.annotations, "drop_prefix": options.drop_prefix}
            make_clothing1m(options.folder, noise_rate=options.noise_rate, archives=options.archives, **layout, **sizes)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.folder} holds a stand-in of {options.dataset}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("clothing1m", "food101n"))
    parser.add_argument("folder", type=Path, help="where to; must be empty, or not exist")
    parser.add_argument("--classes", type=int, default=14, help="how many classes (default and at most: 14)")
    parser.add_argument("--images-per-class", type=int, default=40, metavar="N", help="to train on (default: 40)")
    parser.add_argument("--noise-rate", type=float, default=0.38, help="share of wrong labels (default: 0.38)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same images (default: 0)")
    only = parser.add_argument_group("only for clothing1m")
    only.add_argument("--annotations", action="store_true", help="put the lists into annotations/")
    only.add_argument("--drop-prefix", action="store_true", help="leave images/ out of the lists")
    only.add_argument("--archives", action="store_true", help="pack the images into 0.tar to 9.tar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
