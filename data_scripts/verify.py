"""Verify a data set: read every list, decode every image, compare every count with the published one.

    python data_scripts/verify.py clothing1m /data/clothing1m
    python data_scripts/verify.py food101n /data/Food-101N_release --food101 /data/food-101
    python data_scripts/verify.py food101 /data/food-101

What is missing, unreadable, double or stands on both sides of a test is listed in verify_report.tsv in the data folder.
verified.json beside it tells the loaders, which then need not look at the images again. A million images take one core
about half an hour. Stop with Ctrl-C whenever you like: the same command goes on where it stopped.

Exit code: 0 if the data set is in order, 1 if it is not, 2 if the command is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dsl_teach.data.verify_sets import verify_clothing1m, verify_food101, verify_food101n
from dsl_teach.data.verifying import Report


def main(arguments: list[str] | None = None) -> int:
    """Verify, print the report; 0 if the data set is in order."""
    options = _parser().parse_args(arguments)
    try:
        report = _verify(options)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
        return 130
    print(report.text())
    return 0 if report.good else 1


def _verify(options: argparse.Namespace) -> Report:
    how = {"workers": options.processes, "max_unreadable": options.max_unreadable}
    if options.dataset == "clothing1m":
        return verify_clothing1m(options.root, **how)
    if options.dataset == "food101":
        return verify_food101(options.root, **how)
    return verify_food101n(options.root, options.food101 or options.root, **how)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("clothing1m", "food101n", "food101"))
    parser.add_argument("root", type=Path, help="the data folder")
    parser.add_argument("--food101", type=Path, help="Food-101's folder, if it does not lie in the data folder")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a core")
    parser.add_argument(
        "--max-unreadable",
        type=float,
        default=0.001,
        metavar="SHARE",
        help="share of a list's images that may be missing or unreadable (default: 0.001)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
