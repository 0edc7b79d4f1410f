"""Timing two pieces of work in turn, and saying on what machine."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]


Clock = Callable[[], float]


def seconds(work: Work, clock: Clock = time.perf_counter) -> float:
    """How long one call takes by a clock."""
    start = clock()
    work()
    return clock() - start


def paired_ratio(work: Work, bare: Work, *, n: int, clock: Clock = time.perf_counter) -> tuple[float, list[float]]:
    """The median of n ratios, each of two calls made one right after the other, after a warm-up of both.

    Args:
        work: what is measured.
        bare: what it is measured against.
        n: ratios.
        clock: wall time, or ``time.process_time``, for which other programs on the machine do not count.

    Returns:
        The median, and all ratios in ascending order.
    """
    work(), bare()
    ratios = sorted(seconds(work, clock) / seconds(bare, clock) for _ in range(n))
    return statistics.median(ratios), ratios


def in_its_own_process(module: str, *arguments: int) -> float:
    """The number that ``python -m module arguments`` prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    # glibc gives freed blocks back at once, so that no block left over from making the input hides what is taken
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    root = Path(__file__).parent.parent
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, env=environment)
    return float(answer.stdout)


def peak_bytes(work: Callable[[], torch.Tensor]) -> float:
    """Peak resident memory of a call above what was there before it and what it gives back. Needs Linux."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    result = work()
    return _status("VmHWM") - before - result.nbytes


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def figure(
    name: str, ratio: float, limit: float | None, *, n: int, better: str = "lower", note: str = ""
) -> dict[str, Any]:
    """One figure: a name, a ratio, its limit (None: it is only told), and how it was measured."""
    return {
        "name": name,
        "ratio": round(ratio, 3),
        "limit": limit,
        "better": better,
        "n": n,
        "threads": torch.get_num_threads(),
        "hardware": hardware(),
        "note": note,
    }


def within(figure: dict[str, Any]) -> bool:
    """Whether a figure keeps its limit."""
    ratio, limit = figure["ratio"], figure["limit"]
    if limit is None:
        return True
    return bool(ratio <= limit if figure["better"] == "lower" else ratio >= limit)


def hardware() -> str:
    """The processor, or the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {os.cpu_count()} cores"


def made_on() -> str:
    """What a row of results is made with: processor, threads, version of torch."""
    return f"{hardware()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
