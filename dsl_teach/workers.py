"""Several commands at a time, each a process of its own whose death costs only itself; and how they are stopped."""

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

import psutil

from dsl_teach.errors import listening
from dsl_teach.storage import open_folder

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
class _Job:
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
    waiting, left, running = deque(commands), list(free), dict[Path, _Job]()
    heard: list[int] = []
    with listening(lambda number, _: heard.append(number)):  # only noted: so none is lost while others start
        try:
            while (waiting or running) and not heard:
                while waiting and left and not heard:
                    folder = waiting.popleft()
                    try:
                        running[folder] = _Job(start(commands[folder], folder, left[-1]), left.pop())
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


def _end_if_quiet(job: _Job, folder: Path, longest: float) -> None:
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
