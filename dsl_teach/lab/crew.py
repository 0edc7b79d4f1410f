"""Several cells of a grid at once, each in a process of its own, with its log; what is finished is left alone.

New processes are forked from a server that has done nothing but the imports, which cost seconds each time otherwise.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch

from dsl_teach.lab.cell import CELL, FAILED, ROWS, start
from dsl_teach.lab.grid import Cell
from dsl_teach.training.folder import open_folder, write_atomically

MEMORY_OF_A_CELL = 2 * 2**30
"""What to leave for each cell, in bytes, when nothing is known of it."""
STOPPED = 130


@dataclass(frozen=True)
class Report:
    """How a cell ended."""

    cell: Cell
    problem: str = ""
    """Why it failed; empty if it did not."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class Crew:
    """Runs cells.

    Args:
        folder: each cell gets a folder of its own in it.
        workers: cells at a time.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        processes: that train one cell together.
        readers: processes that read images from disk for one cell.

    Raises:
        RunFolderError: if the folder cannot be written to.
        ValueError: if a number is below 1.
    """

    def __init__(self, folder: Path, *, workers: int, device: str = "auto", processes: int = 1, readers: int = 0):
        for name, value in (("workers", workers), ("processes", processes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, but it is {value}.")
        self.folder, self.workers, self.processes, self.readers = open_folder(folder), workers, processes, readers
        gpus = torch.cuda.device_count() if device != "cpu" else 0
        self.device = "cuda" if device == "cuda" or gpus else "cpu"
        self._places: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        for place in places(workers, processes, gpus):
            self._places.put(place)
        os.environ["OMP_NUM_THREADS"] = "1"  # the server of processes reads it once
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["dsl_teach.lab.cell", "sklearn.datasets"])
        self._jobs: list[BaseProcess] = []
        self._starting, self._stopped = threading.Lock(), False

    def is_finished(self, cell: Cell) -> bool:
        """Whether its rows are there; they are written last, and whole."""
        return (self.folder / cell.name / ROWS).is_file()

    def rows(self, cell: Cell) -> list[dict[str, Any]]:
        """What a cell came to; nothing if it is not finished."""
        path = self.folder / cell.name / ROWS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def run(self, cells: Sequence[Cell]) -> Iterator[Report]:
        """Run cells, each report as it comes. If the caller is interrupted, the cells save their state and stop."""
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for done in as_completed([pool.submit(self._run_one, cell) for cell in cells]):
                    yield done.result()
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise

    def _run_one(self, cell: Cell) -> Report:
        begun, place = time.perf_counter(), self._places.get()
        try:
            folder = self._prepare(cell)
            code = self._wait_for(self._context.Process(target=start, args=(folder, place), name=cell.name))
            problem = reason(code, folder / "log.txt") if code else ""
            problem = problem or ("" if self.is_finished(cell) else "It ended without its rows.")
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
        finally:
            self._places.put(place)
        return Report(cell, problem, self.rows(cell), time.perf_counter() - begun)

    def _wait_for(self, job: BaseProcess) -> int:
        with self._starting:
            if self._stopped:
                return STOPPED
            job.start()
            self._jobs.append(job)
        job.join()
        return job.exitcode or 0

    def _prepare(self, cell: Cell) -> Path:
        folder = open_folder(self.folder / cell.name)
        extra = {"processes": self.processes} if cell.notebook and self.processes > 1 else {}
        job = {
            "labels": cell.labels,
            "parameters": cell.parameters | extra,
            "notebook": str(cell.notebook) if cell.notebook else None,
            "processes": self.processes,
            "device": self.device,
            "readers": self.readers,
        }
        write_atomically(folder / CELL, json.dumps(job, indent=1) + "\n")
        return folder

    def _stop(self) -> None:
        with self._starting:
            self._stopped = True
        for job in self._jobs:
            job.terminate()


def places(workers: int, processes: int, gpus: int) -> list[dict[str, str]]:
    """The environment of each worker: one thread a process, and its share of the GPUs.

    Args:
        workers: cells at a time.
        processes: of each cell.
        gpus: on this machine; with fewer than are wanted, workers share them in turn.
    """
    common = {"OMP_NUM_THREADS": "1"}
    if not gpus:
        return [common] * workers
    mine = [[str((worker * processes + k) % gpus) for k in range(min(processes, gpus))] for worker in range(workers)]
    return [common | {"CUDA_VISIBLE_DEVICES": ",".join(numbers)} for numbers in mine]


def machine_allows(processes: int = 1) -> int:
    """How many cells at a time: by cores or GPUs, and by the memory that is free."""
    gpus, cores = torch.cuda.device_count(), os.cpu_count() or 1
    by_memory = psutil.virtual_memory().available // (MEMORY_OF_A_CELL * processes)
    return max(1, min((gpus or cores) // processes, int(by_memory)))


def reason(code: int, log: Path) -> str:
    """Why a cell failed: its own last words, or what its exit code says."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    own = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
    if own:
        return own[-1]
    if code < 0:
        return f"ended by signal {-code}" + (", as when memory is short" if code == -9 else "")
    return lines[-1].strip() if lines else f"exit code {code}"
