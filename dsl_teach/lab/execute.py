"""Run notebooks and save their outputs: ``python -m dsl_teach.lab.execute notebooks/01_*.ipynb``.

Besides the outputs, each notebook keeps how long it took, so that a test can hold its cost card to it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    """Execute each notebook named, in its own folder, and write it back."""
    parser = argparse.ArgumentParser(description="Run notebooks and save their outputs in place.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        minutes = execute(path)
        print(f"{path.name}: {minutes:.1f} minutes")


def execute(path: Path) -> float:
    """Run a notebook from top to bottom and save it; nothing is written if a cell fails.

    Returns:
        The minutes it took, start of the kernel included. They are kept in the notebook's metadata as
        ``dsl_teach.measured_minutes``.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=1200, record_timing=False, coalesce_streams=True, kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )  # fmt: skip
    start = time.perf_counter()
    client.execute()
    minutes = (time.perf_counter() - start) / 60
    notebook.metadata = nbformat.from_dict(
        {
            "dsl_teach": {"measured_minutes": round(minutes, 2)},
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    nbformat.write(notebook, path)
    return minutes


if __name__ == "__main__":
    main()
