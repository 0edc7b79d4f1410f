"""Several cells of a grid at once, each in a process of its own, with its log; what is finished is left alone.

Where there is no GPU to upset, processes are forked from this one, which has imported everything and computed nothing:
imports would cost seconds in each.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch

from dsl_lessons.cell import CELL, FAILED, ROWS, start
from dsl_lessons.grid import Cell
from dsl_teach.training.checkpoint import open_folder, write_atomically

MEMORY_OF_A_CELL = 2 * 2**30
"""What to leave for each cell, in bytes, when nothing is known of it."""


@dataclass(frozen=True)
class Job:
    """A cell under way."""

    cell: Cell
    process: BaseProcess
    place: dict[str, str]
    begun: float


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
        self._places = places(workers, processes, gpus)
        forks = sys.platform == "linux" and not gpus
        self._context: Any = multiprocessing.get_context("fork" if forks else "forkserver")

    def is_finished(self, cell: Cell) -> bool:
        """Whether its rows are there; they are written last, and whole."""
        return (self.folder / cell.name / ROWS).is_file()

    def rows(self, cell: Cell) -> list[dict[str, Any]]:
        """What a cell came to; nothing if it is not finished."""
        path = self.folder / cell.name / ROWS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def run(self, cells: Sequence[Cell]) -> Iterator[Report]:
        """Run cells, each report as it comes. If the caller is interrupted, the cells save their state and stop."""
        waiting, jobs = list(reversed(cells)), list[Job]()
        try:
            while waiting or jobs:
                while waiting and self._places:
                    cell = waiting.pop()
                    try:
                        jobs.append(self._start(cell))
                    except OSError as error:
                        yield Report(cell, f"{type(error).__name__}: {error}")
                ended = set(wait([job.process.sentinel for job in jobs])) if jobs else set()
                for job in [job for job in jobs if job.process.sentinel in ended]:
                    jobs.remove(job)
                    yield self._finish(job)
        finally:
            for job in jobs:
                job.process.terminate()
            for job in jobs:
                job.process.join()

    def _start(self, cell: Cell) -> Job:
        folder = self._prepare(cell)
        place = self._places.pop(0)
        process = self._context.Process(target=start, args=(folder, place), name=cell.name)
        begun = time.perf_counter()
        process.start()
        return Job(cell, process, place, begun)

    def _finish(self, job: Job) -> Report:
        job.process.join()
        self._places.append(job.place)
        code, log = job.process.exitcode or 0, self.folder / job.cell.name / "log.txt"
        problem = reason(code, log) if code else "" if self.is_finished(job.cell) else "It ended without its rows."
        return Report(job.cell, problem, self.rows(job.cell), time.perf_counter() - job.begun)

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
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    own = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
    if own:
        return own[-1]
    if code < 0:
        return f"ended by signal {-code}" + (", as when memory is short" if code == -9 else "")
    return lines[-1].strip() if lines else f"exit code {code}"
