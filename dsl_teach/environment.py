"""What a run stands on: versions, threads, accelerator, memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import psutil
import torch

PACKAGES = ("torch", "torchvision", "torchcodec", "numpy", "scikit-learn", "papermill", "jupyterlab")


def environment(folder: str | Path = ".") -> dict[str, str]:
    """Versions and resources, as short lines by name.

    Args:
        folder: whose disk is looked at.
    """
    free = shutil.disk_usage(folder).free
    return {
        "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "accelerator": accelerator(),
        "memory": f"{psutil.virtual_memory().available / 2**30:.0f} GiB free",
        "free disk": f"{free / 2**30:.0f} GiB",
    }


def accelerator() -> str:
    """The accelerator that PyTorch sees, or that it sees none."""
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        return f"{torch.cuda.get_device_name(0)}, {memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        return "Apple GPU"
    return "none: the CPU does all the work"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"
