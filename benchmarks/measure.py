"""Timing two pieces of work in turn, and saying on what machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]


def seconds(work: Work) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired_ratio(work: Work, bare: Work, *, n: int) -> tuple[float, list[float]]:
    """The median of n ratios, each of two calls made one right after the other, after a warm-up of both.

    Returns:
        The median, and all ratios in ascending order.
    """
    work(), bare()
    ratios = sorted(seconds(work) / seconds(bare) for _ in range(n))
    return statistics.median(ratios), ratios


def figure(name: str, ratio: float, limit: float, *, n: int, better: str = "lower", note: str = "") -> dict[str, Any]:
    """One figure: a name, a ratio, its limit, and how it was measured."""
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
    return bool(ratio <= limit if figure["better"] == "lower" else ratio >= limit)


def hardware() -> str:
    """The processor, or the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
