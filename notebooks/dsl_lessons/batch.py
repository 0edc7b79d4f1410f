"""What is on the screen, as a command that runs without one; and whole grids of runs, several at once.

    python -m dsl_lessons.batch notebooks/configs/class_shares_digits.yaml --workers 2

runs each cell of a grid (:mod:`dsl_lessons.grid`) in a process of its own. Run again, it does what is left. A cell
that fails is told with its reason and the others go on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from dsl_lessons.crew import Crew, Report, machine_allows
from dsl_lessons.grid import Cell, Grid, read_grid
from dsl_lessons.tables import grid_table
from dsl_teach.cli import number_or_word

DONE, FAILED, MISUSED, STOPPED = 0, 1, 2, 130


def batch_command(notebook: str, parameters: Mapping[str, object], *, folder: str = "../runs") -> str:
    """The papermill command that runs a notebook with these parameters, ready for a POSIX shell.

    Args:
        notebook: file name of the notebook; the command is meant for the folder that it lies in.
        parameters: names and values for its parameters cell.
        folder: where the executed notebook goes; the command makes it.

    Returns:
        One line; everything in it is quoted where a shell needs that.
    """
    output = PurePosixPath(folder) / PurePosixPath(notebook).name
    words = ["papermill", notebook, str(output)]
    for name, value in parameters.items():
        words += ["-p", name, _plain(value)]
    return f"{shlex.join(['mkdir', '-p', folder])} && {shlex.join(words)}"


def _plain(value: object) -> str:
    """Numbers without rounding dust: 0.3 and not 0.30000000000000004."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a grid; returns the exit code: 0, 1 if a cell failed, 2 if the grid cannot be run, 130 if stopped."""
    options = _parser().parse_args(arguments)
    try:
        grid = read_grid(options.grid, dict(_setting(text) for text in options.set))
        cells = grid.cells()
        crew = Crew(
            options.output or Path("runs") / grid.path.stem,
            workers=options.workers or machine_allows(options.processes),
            device=options.device, processes=options.processes, readers=options.readers,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        print(f"batch: {error}", file=sys.stderr)
        return MISUSED
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        failed = work(crew, cells)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on with what is left.", file=sys.stderr)
        return STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)
    rows = finish(grid, crew, cells, options.rows or grid.rows or crew.folder / "rows.json", failed)
    print(f"\n{to_text(grid_table(pd.DataFrame(rows), list(grid.grid)))}" if rows else "\nNo cell is finished.")
    return _tell_failures(failed)


def work(crew: Crew, cells: Sequence[Cell]) -> dict[str, str]:
    """Run every cell that is not finished yet.

    Returns:
        For each cell that failed, its name and the reason.
    """
    left = [cell for cell in cells if not crew.is_finished(cell)]
    print(f"{len(cells)} cells, {len(cells) - len(left)} of them finished before; {crew.workers} at a time", flush=True)
    failed: dict[str, str] = {}
    for number, report in enumerate(crew.run(left), start=1):
        if report.problem:
            failed[str(report.cell)] = report.problem
        print(f"{number} of {len(left)}: {_in_words(report)}", flush=True)
    return failed


def finish(
    grid: Grid, crew: Crew, cells: Sequence[Cell], path: Path, failed: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Write the rows of all finished cells into one file, whole or not at all; returns them."""
    from dsl_teach.environment import environment
    from dsl_teach.training.checkpoint import open_folder, write_atomically

    rows = [row for cell in cells for row in crew.rows(cell)]
    content = {
        "made_by": name_of(grid.path),
        "notebook": grid.notebook.name if grid.notebook else None,
        "made_from": sorted({str(row["made_from"]) for row in rows}),
        "plan": grid.plan(),
        "missing": sorted(failed),
        "environment": environment(crew.folder),
    }
    open_folder(path.parent)
    write_atomically(path, to_json(content, rows))
    print(f"\n{len(rows)} rows written to {path}")
    return rows


def to_json(content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Readable in a diff: the rows stand one a line."""
    import json

    head = json.dumps(content, indent=1, ensure_ascii=False).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{head},\n "rows": [\n  {lines}\n ]\n}}\n'


def name_of(path: Path) -> str:
    """A file of the repository by its path in it; any other by its name alone."""
    home = Path(__file__).parents[2]
    path = path.resolve()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name


def to_text(table: pd.DataFrame) -> str:
    """A table for the terminal, as wide as it needs."""
    with pd.option_context("display.width", 200, "display.max_columns", None):
        return table.to_string()


def _tell_failures(failed: Mapping[str, str]) -> int:
    if not failed:
        return DONE
    print(f"\n{len(failed)} failed:", file=sys.stderr)
    for name, problem in failed.items():
        print(f"  {name}: {problem}", file=sys.stderr)
    print("Their log.txt tells more. The same command tries them again.", file=sys.stderr)
    return FAILED


def _in_words(report: Report) -> str:
    if report.problem:
        return f"{report.cell}: FAILED, {report.problem}"
    accuracies = ", ".join(f"{100 * row['test_accuracy']:.1f} %" for row in report.rows)
    return f"{report.cell}: test accuracy {accuracies}, {report.seconds:.0f} s"


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set takes NAME=VALUE, but it got {text!r}.")
    return name, number_or_word(value)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dsl_lessons.batch", description="Run a grid of runs.")
    parser.add_argument(
        "grid", type=Path, help="a YAML file: notebook or none, base, cases, methods, grid, seeds, rows"
    )
    parser.add_argument(
        "--workers", type=int, help="cells at a time (default: as many as cores, GPUs and memory allow)"
    )
    parser.add_argument("--output", type=Path, help="folder of the cells (default: runs/ and the name of the grid)")
    parser.add_argument("--rows", type=Path, help="where the rows go (default: what the grid says)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one value of base")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default: auto")
    parser.add_argument(
        "--processes", type=int, default=1, help="that train one cell together, by torchrun (default: 1)"
    )
    parser.add_argument("--readers", type=int, default=0, help="processes that read images for one cell (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
