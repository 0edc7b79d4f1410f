"""What the machine offers: precision, memory layout, compilation, fused optimizers; and what a run stood on."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import torch

from dsl_teach._validate import require
from dsl_teach.config import Settings
from dsl_teach.training.networks import EmbeddingNetwork

PACKAGES = ("torch", "torchvision", "torchcodec", "numpy", "scikit-learn", "papermill", "jupyterlab")


def prepare(network: EmbeddingNetwork, settings: Settings) -> EmbeddingNetwork:
    """Ready a network for the precision, memory layout and compilation that the settings ask for, in place."""
    device = next(network.parameters()).device
    network.in_bfloat16 = uses_bfloat16(settings, device)
    network.channels_last = network.in_bfloat16 or settings.network.startswith(("resnet", "timm:"))
    if network.channels_last:
        network.to(memory_format=torch.channels_last)
    if settings.compile:
        network.compile()
    return network


def uses_bfloat16(settings: Settings, device: torch.device | str) -> bool:
    """What ``precision`` comes to on a device; a ValueError where it cannot be had."""
    if settings.precision == "float32":
        return False
    able = has_bfloat16(torch.device(device))
    if settings.precision == "bfloat16" and not able:
        raise ValueError(f"precision is bfloat16, but this {torch.device(device).type} is not made for it; set auto.")
    return able and (settings.precision == "bfloat16" or settings.network.startswith("resnet"))


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself, without emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def best_device() -> torch.device:
    """A GPU if there is one, else the CPU. Apple's GPUs lack the float64 that figures are summed in."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_device(name: str) -> str:
    """``"cpu"`` or ``"cuda"``, for ``"auto"`` the best; a ValueError if the device is not there. It is not touched."""
    best = str(best_device())
    require(name in ("auto", "cpu", best), f"device must be auto, or one that is there, cpu or cuda; {name} is not.")
    return best if name == "auto" else name


def make_optimizer(
    network: torch.nn.Module, settings: Settings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD with momentum, and a learning rate divided by 10 every ``learning_rate_drop`` epochs."""
    s, fused = settings, all(weights.is_cuda for weights in network.parameters())  # on a CPU it gains little
    optimizer = torch.optim.SGD(
        network.parameters(), s.learning_rate, s.momentum, weight_decay=s.weight_decay, fused=fused
    )
    every = settings.learning_rate_drop or settings.epochs
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=every, gamma=0.1)


def environment(folder: str | Path = ".") -> dict[str, str]:
    """Versions and resources, as short lines by name; the disk is that of ``folder``."""
    import psutil

    accelerator = "none: the CPU does all the work"
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        accelerator = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    found = {name: next(iter(metadata.distributions(name=name)), None) for name in PACKAGES}
    return {
        "Python": platform.python_version(),
        **{name: "missing" if package is None else package.version for name, package in found.items()},
        "system": f"{platform.system()} {platform.machine()}",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "accelerator": accelerator,
        "memory": f"{psutil.virtual_memory().available / 2**30:.0f} GiB free",
        "free disk": f"{shutil.disk_usage(folder).free / 2**30:.0f} GiB",
    }
