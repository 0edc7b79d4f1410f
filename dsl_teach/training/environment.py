"""What a run runs on: versions, device, threads and memory."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("dsl-teach", "torch", "torchvision", "torchcodec", "numpy", "scikit-learn", "pillow")


def environment(device: torch.device | str = "cpu", *, ranks: int = 1) -> dict[str, Any]:
    """Versions and hardware, for the run folder and the tables; no names of machines, users or folders."""
    device = torch.device(device)
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "system": platform.system(),
        "device": device.type,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "processes": ranks,
    }


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def hardware(device: torch.device | str) -> str:
    """The device in a few words, for tables."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    name = able.get("cpu_name", platform.machine())
    return f"{name}, {os.cpu_count()} cores"


def best_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def memory_bytes() -> int | None:
    """Memory of this machine in bytes, or what its container allows; None where that is not told."""
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        allowed = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return pages
    return min(pages, int(allowed)) if allowed.isdigit() else pages


def allocator() -> str:
    """The allocator that is preloaded, as far as the environment tells."""
    preloaded = os.environ.get("LD_PRELOAD", "") + os.environ.get("DYLD_INSERT_LIBRARIES", "")
    for name in ("tcmalloc", "jemalloc", "mimalloc"):
        if name in preloaded:
            return name
    return "the system's" if sys.platform != "win32" else "Windows'"
