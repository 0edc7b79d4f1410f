"""Several commands at a time, each a process of its own, or a job of a scheduler, whose death costs only itself.

Jobs go by submitit: Slurm, or this machine to try it; a job that is requeued continues.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dsl_teach.errors import listening
from dsl_teach.storage import locked, open_folder

LOG = "log.txt"
FAILED = "failed: "  # so begins the line of a log in which a command says why it failed
PAUSE, GRACE = 0.1, 90.0
"""Seconds from one look at the processes to the next; and that they have to save and end once they are asked to."""

Place = dict[str, str]
"""Environment variables of a command: its GPUs."""


def places(workers: int, processes: int, gpus: Sequence[str]) -> list[Place]:
    """What each of several workers, commands of so many processes, may use: its share of the GPUs.

    If there are too few, workers share them in turn. Their names are those of CUDA_VISIBLE_DEVICES.
    """
    if workers < 1 or processes < 1:
        raise ValueError(f"workers and processes must be at least 1, but they are {workers} and {processes}.")
    size = min(processes, len(gpus))
    mine = [[gpus[(k * processes + i) % len(gpus)] for i in range(size)] for k in range(workers)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(names)} if names else {} for names in mine]


@dataclass
class _Running:
    """A command at work: its place, the latest change in its folder, when that was seen, and when it was ended."""

    process: subprocess.Popen[bytes]
    place: Place
    changed: float = 0.0
    seen: float = field(default_factory=time.monotonic)
    ended: float | None = None


def work(
    commands: Mapping[Path, Sequence[str]],
    free: Sequence[Place],
    on_end: Callable[[Path, str], object],
    minutes: float = 0.0,
) -> signal.Signals | None:
    """Run commands, as many at a time as there are free places, until all have ended or a signal asks to stop.

    Commands go by the folder that gets their log. ``on_end`` is called with the folder of each that has ended, and
    why it failed, "" if it did not. One in whose folder no file changes for so many ``minutes`` is ended, 0: never.

    Returns:
        The signal that asked to stop; None if there was none. All processes have ended then.
    """
    waiting, left, running = deque(commands), list(free), dict[Path, _Running]()
    heard: list[int] = []
    with listening(lambda number, _: heard.append(number)):  # only noted: so none is lost while others start
        try:
            while (waiting or running) and not heard:
                while waiting and left and not heard:
                    folder = waiting.popleft()
                    try:
                        running[folder] = _Running(start(commands[folder], folder, left[-1]), left.pop())
                    except OSError as error:
                        on_end(folder, str(error))
                time.sleep(PAUSE)
                for folder, job in list(running.items()):
                    if minutes and job.process.poll() is None:
                        _end_if_quiet(job, folder, 60 * minutes)
                    elif job.process.poll() is not None:
                        left.append(running.pop(folder).place)
                        quiet = f"no sign of life for {minutes:g} minutes; " if job.ended else ""
                        on_end(folder, quiet + reason_of(job.process.returncode, folder / LOG))
        finally:
            _stop([job.process for job in running.values()], heard)
    return signal.Signals(heard[0]) if heard else None


def start(command: Sequence[str], folder: Path, place: Place) -> subprocess.Popen[bytes]:
    """Start a command that writes its log into a folder."""
    with (open_folder(folder) / LOG).open("wb") as log:
        return subprocess.Popen(  # in a session of its own: Ctrl-C is for this process, which passes it on
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | place,
        )  # fmt: skip


def _end_if_quiet(job: _Running, folder: Path, longest: float) -> None:
    """Ask a process to end if no file in its folder has changed for too long; kill it if it does not."""
    now = time.monotonic()
    if job.ended is None:
        changed = max((path.lstat().st_mtime for path in folder.rglob("*") if path.exists()), default=0.0)
        if changed != job.changed:
            job.changed, job.seen = changed, now
        elif now - job.seen > longest:
            job.ended = now
            job.process.terminate()
    elif now - job.ended > GRACE:
        _kill(job.process)


def reason_of(code: int, log: Path) -> str:
    """Why a command failed: its own first words about it, or what its exit code says; "" if it did not."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    own = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
    if code == 0:
        return ""
    if code > 0:
        return [*own, *lines[-1:], f"exit code {code}"][0].strip()
    killed = ", as when memory is short" if code == -signal.SIGKILL else ""
    return [*own, f"ended by signal {-code}{killed}"][0]


def _stop(processes: Sequence[subprocess.Popen[bytes]], heard: list[int]) -> None:
    """Ask processes to save and end, and wait; those that take too long are killed, on a second Ctrl-C all."""
    asked, late = len(heard), time.monotonic() + GRACE
    for process in processes:
        process.terminate()  # not its whole group: the readers of images are still needed while it saves
    while alive := [process for process in processes if process.poll() is None]:
        if signal.SIGINT in heard[asked:] or time.monotonic() > late:
            for process in alive:
                _kill(process)
        time.sleep(PAUSE)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """A process and all below it, also those with a session of their own."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        for one in [*top.children(recursive=True), top]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def end_with(parent: int) -> None:
    """From here on this process ends in good order once the one that started it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


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
        self._end()
        return reason_of(self.process.returncode, folder / LOG)

    def _end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            while self.process.poll() is None:
                time.sleep(PAUSE)

    def checkpoint(self, folder: Path) -> Any:
        """Time is up, or others need the machine: save, and be queued again with the same call."""
        from submitit.helpers import DelayedSubmission

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
    ``slurm_partition`` and the like. ``on_end`` is called as in :func:`work`.

    Returns:
        The signal that asked to stop; None if there was none. All jobs have ended or are cancelled then.

    Raises:
        ValueError: if submitit is missing, there is no Slurm, or it does not know what is asked.
    """
    usual = {"slurm_array_parallelism": at_once, "timeout_min": 24 * 60}  # submitit alone would end it after a few
    jobs = _executor(output / "jobs", executor, usual | dict(asked))
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
    """Of submitit, which writes scripts, results and logs into the folder."""
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
