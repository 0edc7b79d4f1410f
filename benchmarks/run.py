"""Measure every figure, print one line each, write them as JSON, and fail if one is over its limit."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.measure import within

HERE = Path(__file__).parent
MODULES = ["startup", "prototypes", "loaders", "training", "detection", "explorer"]


def main() -> int:
    """Run the named modules of this folder, or all; the exit code says whether all limits were kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help=f"which of {', '.join(MODULES)}; all if none")
    failed = 0
    for name in parser.parse_args().modules:
        figures = importlib.import_module(f"benchmarks.{name}").figures()
        for entry in figures:
            kept = within(entry)
            failed += not kept
            sign = "<=" if entry["better"] == "lower" else ">="
            limit = "" if entry["limit"] is None else f" {sign} {entry['limit']}"
            print(
                f"{'ok  ' if kept else 'OVER'} {entry['name']}: {entry['ratio']}{limit}  "
                f"({entry['note']}; n = {entry['n']}, {entry['threads']} threads, {entry['hardware']})",
                flush=True,
            )
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
