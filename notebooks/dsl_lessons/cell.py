"""One cell of a grid in a process of its own. ``python -m dsl_lessons.cell FOLDER`` does one by hand, or in torchrun.

The folder holds ``cell.json`` (what to do) and gets ``rows.json`` (what came of it), written last and whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

from dsl_lessons.finished import peak_memory_mb, row_of
from dsl_teach.config import Settings
from dsl_teach.training.checkpoint import write_atomically
from dsl_teach.training.runs import run

CELL, ROWS = "cell.json", "rows.json"
FAILED = "cell failed: "
"""What the last line of a failed cell begins with."""


def start(folder: Path, place: Mapping[str, str]) -> NoReturn:
    """What a new process is for: note everything in ``log.txt``, do the cell, and end with its exit code.

    Args:
        folder: of the cell.
        place: environment variables: threads, GPUs.
    """
    os.setsid()  # Ctrl-C is for the batch runner, which then asks its cells to stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(place)
    lock = (folder / ".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # a cell of a runner that was killed may still be saving its state
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    job = json.loads((folder / CELL).read_text(encoding="utf-8"))
    if job["processes"] > 1 and not job["notebook"]:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={job['processes']}"]
        os.execv(sys.executable, [sys.executable, *torchrun, "-m", "dsl_lessons.cell", str(folder)])
    sys.exit(do(folder))


def do(folder: Path) -> int:
    """Do what the cell of a folder says; 0 if its rows are written."""
    _stop_with(os.getppid())
    try:
        job = json.loads((folder / CELL).read_text(encoding="utf-8"))
        rows = run_notebook(folder, job) if job["notebook"] else run_settings(folder, job)
    except BaseException as error:  # also what a signal raises: whatever ended it is to be told
        traceback.print_exc()
        told = (str(error).strip() or "no more is said").splitlines()[-1]
        print(f"{FAILED}{type(error).__name__}: {told}", file=sys.stderr, flush=True)
        return 1
    if os.environ.get("RANK", "0") == "0":
        write_atomically(folder / ROWS, json.dumps([row | job["labels"] for row in rows]) + "\n")
    return 0


def run_settings(folder: Path, job: dict[str, Any]) -> list[dict[str, Any]]:
    """A run of settings, in the folder ``run``; a broken one is continued."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    settings = Settings().replace(**job["parameters"])
    finished = run(settings, folder=folder / "run", device=job["device"], workers=job["readers"])
    device = next(finished.network.parameters()).device
    return [row_of(finished, device=device) | {"peak_memory_mb": peak_memory_mb()} | gpu_memory()]


def gpu_memory() -> dict[str, float]:
    """The most GPU memory that this process has held, if it has a GPU."""
    if not torch.cuda.is_initialized():
        return {}
    return {"peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 1e6, 1)}


def run_notebook(folder: Path, job: dict[str, Any]) -> list[dict[str, Any]]:
    """A notebook through papermill; its own ``results.json`` says that it ended well, nothing else does.

    Raises:
        RuntimeError: if a cell failed, or the notebook left no results.
    """
    import papermill  # slow to import, and settings do not need it

    notebook, output = Path(job["notebook"]), (folder / "output").resolve()
    results = output / "results.json"
    results.unlink(missing_ok=True)
    parameters = job["parameters"] | {"output_folder": str(output)}
    try:
        papermill.execute_notebook(
            notebook, folder / notebook.name, parameters, cwd=str(notebook.parent), kernel_name="python3",
            progress_bar=False, log_output=True, stdout_file=sys.stdout, stderr_file=sys.stderr,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        raise RuntimeError(f"{error.ename}: {error.evalue} (in {notebook.name})") from None
    if not results.is_file():
        raise RuntimeError(
            f"{notebook.name} ended without its results.json: something kept its last cells from running."
        )
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"]
    if len(rows) != 1:
        raise RuntimeError(
            f"{notebook.name} gave {len(rows)} rows. In a grid each cell is one run: one seed, one method."
        )
    return [{"peak_memory_mb": peak_memory_mb(of_children=True)} | rows[0]]


def _stop_with(parent: int) -> None:
    """End in good order once the process that started this one is gone; nobody would read the rows."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(do(Path(sys.argv[1])))
