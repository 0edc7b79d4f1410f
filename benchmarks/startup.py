"""What it costs to begin: the command's help, and the import of what a script needs beside that of PyTorch."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import figure

HELP = ["-m", "dsl_teach.cli", "--help"]
OURS, TORCH = ["-c", "from dsl_teach import fit, Settings"], ["-c", "import torch"]


def figures(n: int = 7) -> list[dict[str, Any]]:
    """The figures of this module."""
    for arguments in (HELP, OURS, TORCH):
        cpu_seconds(arguments)  # files come from the disk once
    help_takes = statistics.median(cpu_seconds(HELP) for _ in range(n))
    pairs = [(cpu_seconds(OURS), cpu_seconds(TORCH)) for _ in range(n)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        figure("CPU seconds of dsl-teach --help", help_takes, 1.0, n=n, note="a process of its own, user and system"),
        figure(
            "from dsl_teach import fit, Settings / import torch", ratio, 1.25, n=n,
            note=f"CPU seconds, {ours:.2f} against {theirs:.2f}, in turn",
        ),
    ]  # fmt: skip


def cpu_seconds(arguments: Sequence[str]) -> float:
    """User and system time of a Python process with these arguments."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with exit code {process.returncode}.")
    return used.ru_utime + used.ru_stime
