"""Several processes from a notebook: torchrun as a subprocess, its progress followed line by line.

A notebook's own process cannot be forked safely once it has computed anything, and functions defined in a cell cannot
be sent elsewhere. A command of its own has neither trouble.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from dsl_teach.config import Settings
from dsl_teach.training.checkpoint import open_folder, run_folder, write_atomically

EPOCH = re.compile(r"epoch (\d+) of \d+")


class LaunchError(RuntimeError):
    """A run in other processes that failed; the message ends with its reason."""


def train_in_processes(
    settings: Settings, *, processes: int = 2, folder: str | Path = "runs", device: str = "cpu"
) -> Path:
    """Train a run, or continue it, in several processes on this machine.

    Args:
        settings: every knob.
        processes: how many; on GPUs one for each.
        folder: where run folders are made.
        device: ``"cpu"`` or ``"cuda"``.

    Returns:
        The folder of the finished run.

    Raises:
        LaunchError: if the run fails.
        ValueError: if ``processes`` is below 1.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, but it is {processes}.")
    target = run_folder(folder, settings)
    config = open_folder(folder) / f"{target.name}.yaml"
    write_atomically(config, settings.to_yaml())
    command = torchrun_command(config, processes=processes, folder=folder, device=device)
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | threads
    ) as job:
        said = _follow(job, settings.epochs)
    if job.returncode:
        raise LaunchError(f"The run ended with exit code {job.returncode}. It said:\n{_cause(said)}")
    return target


def torchrun_command(config: Path, *, processes: int, folder: str | Path, device: str) -> list[str]:
    """What to type into a terminal for the same."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    train = ["-m", "dsl_teach.cli", "train", str(config), "--folder", str(folder), "--device", device]
    return torchrun + train


def _cause(said: list[str]) -> str:
    """The command's own sentence where it gave one; torchrun's report stands below it. Else the last lines."""
    own = [line for line in said if line.startswith("dsl-teach: ")]
    return "\n".join(own or said[-30:])


def _follow(job: subprocess.Popen[str], epochs: int) -> list[str]:
    """Move a progress bar with the epochs; the lines that were said. Ctrl-C stops the job in good order."""
    said: list[str] = []
    assert job.stdout is not None
    try:
        with tqdm(total=epochs, desc="epochs", unit="epoch") as bar:
            for line in job.stdout:
                said.append(line.rstrip())
                if found := EPOCH.search(line):
                    bar.update(int(found.group(1)) - bar.n)
    except KeyboardInterrupt:
        job.terminate()
        raise
    return said
