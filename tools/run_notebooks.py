"""Run notebooks and save their outputs: ``python tools/run_notebooks.py notebooks/01_*.ipynb``.

Besides the outputs, each notebook keeps the processor time that it took, so that a test can hold its cost card to it.
Processor time, because it hardly depends on what else the machine is doing.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    """Execute each notebook named, in its own folder, and write it back."""
    parser = argparse.ArgumentParser(description="Run notebooks and save their outputs in place.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        minutes = execute(path)
        print(f"{path.name}: {minutes:.1f} processor minutes")


def execute(path: Path) -> float:
    """Run a notebook from top to bottom and save it; nothing is written if a cell fails.

    Returns:
        The processor minutes of its kernel and of the workers that the kernel started. They are kept in the
        notebook's metadata as ``dsl_teach.measured_minutes``.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=1200, record_timing=False, coalesce_streams=True, kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )  # fmt: skip
    before = _minutes_of_children()
    client.execute()
    minutes = _minutes_of_children() - before
    notebook.metadata = nbformat.from_dict(
        {
            "dsl_teach": {"measured_minutes": round(minutes, 2)},
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    _keep_static_pictures_only(notebook)
    nbformat.write(notebook, path)
    return minutes


def _keep_static_pictures_only(notebook: nbformat.NotebookNode) -> None:
    """A saved widget has no kernel behind it: its picture stays, the reference to the widget goes."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def _minutes_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) / 60


if __name__ == "__main__":
    main()
