"""``make demo``: run lesson 00 in batch and print its table. ``python tools/demo.py -h`` tells the rest."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import papermill
from dsl_lessons.methods import BASELINE
from dsl_lessons.paths import NOTEBOOKS, output_folder
from dsl_lessons.tables import summarise
from traitlets.config import Config

from dsl_teach.config import Settings, require_use
from dsl_teach.data.digits import TEST_SHARE
from dsl_teach.errors import boundary
from dsl_teach.files import read_yaml


def main() -> int:
    """Execute the notebook, showing its progress; then print the table and where everything lies."""
    parser = argparse.ArgumentParser(description="Cross-entropy against SMP on mislabelled digits (lesson 00).")
    parser.add_argument("--parameters", type=Path, help="a YAML file with other values for the parameters cell")
    parser.add_argument("--output", default="start_here", help="folder of the results; a bare name lies in runs/")
    options = parser.parse_args()
    said = read_yaml(options.parameters) if options.parameters else {}
    require_use(Settings(**{name: value for name, value in said.items() if name in Settings.model_fields}))
    parameters: dict[str, Any] = {"output_folder": options.output, **said}
    output = output_folder(parameters["output_folder"])
    parameters["output_folder"] = str(output.resolve())
    executed, start = output / "start_here.ipynb", time.perf_counter()
    try:
        papermill.execute_notebook(
            NOTEBOOKS / "00_start_here.ipynb", executed, parameters, kernel_name="python3", stderr_file=sys.stderr,
            config=Config(KernelManager={"transport": "ipc"}),  # no port is opened
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        print(f"\nThe notebook stopped in a cell: {error.ename}: {error.evalue}", file=sys.stderr)
        print(f"What ran so far is in {executed}", file=sys.stderr)
        return 1
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    rows = pd.DataFrame(results["rows"])
    print(f"\n{summarise(rows, ['case', 'method'], baseline=BASELINE, test_share=TEST_SHARE).to_string()}\n")
    print("Made from:", "; ".join(results["made_from"]))
    print("Mean over seeds ± half of the 95 % interval; each seed splits the same digits anew, and it allows for it.")
    print(f"It took {time.perf_counter() - start:.0f} s.\n")
    for path in (executed, output / "results.json", *sorted(output.glob("*.png"))):
        print(path)
    return 0


if __name__ == "__main__":
    with boundary("demo"):
        sys.exit(main())
