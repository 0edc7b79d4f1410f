"""Trials as jobs of a scheduler, by submitit: Slurm, or this machine to try it; a job that is requeued continues."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl_teach.errors import listening
from dsl_teach.storage import locked
from dsl_teach.workers import LOG, PAUSE, reason_of, start

if TYPE_CHECKING:
    import subprocess

DAY = 24 * 60
"""Minutes that a job may take, if nobody says otherwise; submitit alone would end it after a few."""
JOBS = "jobs"
"""The folder for what submitit writes: scripts, results, logs of the scheduler."""


class Job:
    """One trial on whatever machine it is sent to; says why it failed, "" if it did not."""

    def __init__(self, command: Callable[[Path], Sequence[str]], heard: Sequence[int] = ()):
        self.command, self.heard = command, heard
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, folder: Path) -> str:
        """Train, or go on with what the folder holds."""
        self.process = start(self.command(folder), folder, {})
        while not self.heard and self.process.poll() is None:  # not wait(): a signal may call checkpoint, which waits
            time.sleep(PAUSE)
        return reason_of(self._end() if self.heard else self.process.returncode, folder / LOG)

    def _end(self) -> int:
        assert self.process is not None
        self.process.terminate()
        while (code := self.process.poll()) is None:
            time.sleep(PAUSE)
        return code

    def checkpoint(self, folder: Path) -> Any:
        """Time is up, or others need the machine: save, and be queued again with the same call."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self._end()
        return DelayedSubmission(Job(self.command), folder)

    __submitit_checkpoint__ = checkpoint  # its name from submitit 1.6 on


def submit(
    folders: Sequence[Path],
    command: Callable[[Path], Sequence[str]],
    on_end: Callable[[Path, str], object],
    output: Path,
    executor: str,
    *,
    at_once: int,
    asked: Mapping[str, Any],
) -> signal.Signals | None:
    """Run a command for each folder as jobs, at most so many at once, until all have ended or a signal asks to stop.

    On Slurm all are one job array. ``asked`` is what submitit is to ask of the scheduler: ``timeout_min``, ``mem_gb``,
    ``slurm_partition`` and the like. ``on_end`` is called as in :func:`dsl_teach.workers.work`.

    Returns:
        The signal that asked to stop; None if there was none. All jobs have ended or are cancelled then.

    Raises:
        ValueError: if submitit is missing, there is no Slurm, or it does not know what is asked.
    """
    jobs = _executor(output / JOBS, executor, {"slurm_array_parallelism": at_once, "timeout_min": DAY} | dict(asked))
    waiting, running, heard = deque(folders), dict[Path, Any](), list[int]()
    most = len(folders) if executor == "slurm" else at_once
    with listening(lambda number, _: heard.append(number)):
        while (waiting or running) and not heard:
            if new := [waiting.popleft() for _ in range(min(most - len(running), len(waiting)))]:
                running |= zip(new, jobs.map_array(Job(command, heard), new), strict=True)
            for folder in [folder for folder, job in running.items() if job.done()]:
                on_end(folder, _problem(running.pop(folder)))
            time.sleep(PAUSE)
        for job in running.values():
            job.cancel()
        for folder in running if executor == "local" else ():
            with locked(folder, wait=True):  # until its process has saved
                pass
    return signal.Signals(heard[0]) if heard else None


def _executor(folder: Path, executor: str, asked: Mapping[str, Any]) -> Any:
    try:
        import submitit

        jobs = submitit.AutoExecutor(folder, cluster=executor)
        jobs.update_parameters(**{"name": "dsl-teach", **asked})
    except ImportError:
        raise ValueError("--executor needs submitit: pip install 'dsl-teach[slurm]'.") from None
    except (NameError, RuntimeError, TypeError, ValueError) as error:
        told = f"--executor {executor} cannot be used so: {' '.join(str(error).split())[:300]}"
        raise ValueError(f"{told}. It takes slurm, local or debug.") from error
    return jobs


def _problem(job: Any) -> str:
    try:
        return str(job.result())
    except Exception as error:  # the scheduler's own: memory, time, a node that died
        return " ".join(str(error).split())[-300:]
