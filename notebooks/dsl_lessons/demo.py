"""``make demo``: run lesson 00 in batch and print its table. ``python -m dsl_lessons.demo -h`` tells the rest."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import pandas as pd
import papermill
import yaml

from dsl_lessons.tables import comparison

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def main() -> int:
    """Execute the notebook, showing its progress; then print the table and where everything lies."""
    parser = argparse.ArgumentParser(description="Cross-entropy against SMP on mislabelled digits (lesson 00).")
    parser.add_argument("--parameters", type=Path, help="a YAML file with other values for the parameters cell")
    parser.add_argument("--output", default="../runs/start_here", help="folder of the results, seen from notebooks/")
    arguments = parser.parse_args()
    parameters = {"output_folder": arguments.output}
    if arguments.parameters:
        parameters |= yaml.safe_load(arguments.parameters.read_text(encoding="utf-8")) or {}
    output = (NOTEBOOKS / parameters["output_folder"]).resolve()
    start = time.perf_counter()
    try:
        executed = execute(parameters, output)
    except papermill.PapermillExecutionError as error:
        print(f"\nThe notebook stopped in a cell: {error.ename}: {error.evalue}", file=sys.stderr)
        print(f"What ran so far is in {output / 'start_here.ipynb'}", file=sys.stderr)
        return 1
    report(executed, output, time.perf_counter() - start)
    return 0


def execute(parameters: dict[str, object], output: Path) -> Path:
    """Run the notebook through papermill, in its own folder."""
    output.mkdir(parents=True, exist_ok=True)
    executed = output / "start_here.ipynb"
    papermill.execute_notebook(
        NOTEBOOKS / "00_start_here.ipynb", executed, parameters, cwd=str(NOTEBOOKS), kernel_name="python3",
        log_output=False, stderr_file=sys.stderr,
    )  # fmt: skip
    return executed


def report(executed: Path, output: Path, seconds: float) -> None:
    """Print the result table and where notebook, figures and results lie."""
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    with pd.option_context("display.width", 160, "display.max_columns", None):
        print(f"\n{comparison(pd.DataFrame(results['rows'])).to_string()}\n")
    print("Made from:", "; ".join(results["made_from"]))
    print(f"Mean over seeds ± half of the 95 % interval. It took {seconds:.0f} s.\n")
    print(f"executed notebook  {executed}")
    print(f"results            {output / 'results.json'}")
    for figure in sorted(output.glob("*.png")):
        print(f"figure             {figure}")


if __name__ == "__main__":
    sys.exit(main())
