"""Several jobs at a time, each in a process of its own whose death costs only itself; and how they are stopped.

They are forked from a process that has imported everything and computed nothing: :func:`work` starts it and listens,
:func:`serve` is what it does. Imports would cost seconds in each job; a process that has computed cannot be forked.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

from dsl_teach.training.checkpoint import STOPPING, open_folder

LOG = "log.txt"
FAILED = "failed: "
"""What the line of a log begins with in which a job says why it failed."""
PAUSE, GRACE = 0.1, 90.0
"""Seconds from one look at the jobs to the next; and that they have to save and end once they are asked to."""
CLEAN = {"OMP_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Environment of a process that can be forked: it starts no threads, and looking for GPUs does not touch them."""

Place = dict[str, str]
"""Environment variables of a job: its GPUs."""


def places(workers: int, processes: int, gpus: Sequence[str]) -> list[Place]:
    """What each of several workers may use: its share of the GPUs.

    Args:
        workers: jobs at a time.
        processes: of each job.
        gpus: by the names that CUDA_VISIBLE_DEVICES has for them; if there are too few, workers share them in turn.

    Raises:
        ValueError: if a number is below 1.
    """
    if workers < 1 or processes < 1:
        raise ValueError(f"workers and processes must be at least 1, but they are {workers} and {processes}.")
    size = min(processes, len(gpus))
    mine = [[gpus[(k * processes + i) % len(gpus)] for i in range(size)] for k in range(workers)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(names)} if names else {} for names in mine]


def work(
    server: Sequence[str], jobs: Mapping[Path, Any], free: Sequence[Place], on_end: Callable[[Path, str], object]
) -> signal.Signals | None:
    """Do jobs, as many at a time as there are places, until all have ended or a signal asks to stop.

    Args:
        server: arguments for Python that make a process call :func:`serve`.
        jobs: the folder of each, which gets its log, and what to do, as JSON can say it.
        free: places, one for each job under way.
        on_end: called with the folder of each job that has ended, and what would be the reason if it failed.

    Returns:
        The signal that asked to stop; None if there was none. All processes have ended then.

    Raises:
        RuntimeError: if the process that starts the others ends too early.
    """
    request = {"jobs": [[str(folder), job] for folder, job in jobs.items()], "places": list(free)}
    with _listening() as heard, subprocess.Popen(
        [sys.executable, *server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | CLEAN,
        start_new_session=True,  # Ctrl-C is for this process, which passes it on
    ) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            for folder, reason in _lines(process, heard):
                on_end(Path(folder), reason)
        finally:
            process.stdin.close()  # asks it to stop, if it is not done
    if not heard and process.returncode:
        raise RuntimeError(f"The process that starts the others ended with exit code {process.returncode}.")
    return signal.Signals(heard[0]) if heard else None


def _lines(process: subprocess.Popen[bytes], heard: list[int]) -> Iterator[list[str]]:
    """What a process says, a line of JSON each, until it ends; signals are passed on to it."""
    assert process.stdout is not None
    passed, rest = 0, b""
    while True:
        for number in heard[passed:]:
            process.send_signal(number if passed else signal.SIGTERM)
            passed += 1
        if select.select([process.stdout], [], [], PAUSE)[0]:
            part = os.read(process.stdout.fileno(), 2**16)
            if not part:
                return
            *lines, rest = (rest + part).split(b"\n")
            yield from map(json.loads, lines)


@contextmanager
def _listening() -> Iterator[list[int]]:
    """Signals that ask to stop are noted in the list, and nothing else happens: so none is lost while others start."""
    heard: list[int] = []
    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        asked = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]  # as nohup leaves it
        former = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in asked}
    try:
        yield heard
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def serve(do: Callable[[Path, Any], int]) -> int:
    """Do what :func:`work` asks for on stdin; stop in good order if a signal asks to, or the one that asked is gone.

    Args:
        do: does the job of a folder, in its own process; returns the exit code.

    Returns:
        The exit code.
    """
    request = json.loads(sys.stdin.readline())
    waiting, free, jobs = deque(request["jobs"]), request["places"], list[tuple[Path, BaseProcess, Place]]()
    with _listening() as heard:
        try:
            while (waiting or jobs) and not heard:
                while waiting and free and not heard:
                    folder, job = Path(waiting[0][0]), waiting.popleft()[1]
                    try:
                        jobs.append((folder, _start(partial(do, folder, job), folder, free[-1]), free.pop()))
                    except OSError as error:
                        _tell(folder, str(error))
                if select.select([sys.stdin], [], [], PAUSE)[0]:
                    break
                for ended in [job for job in jobs if not job[1].is_alive()]:
                    jobs.remove(ended)
                    free.append(ended[2])
                    _tell(ended[0], _reason(ended[1].exitcode or 0, ended[0] / LOG))
        finally:
            _stop([process for _, process, _ in jobs], heard)
    return 128 + heard[0] if heard else 0


def _tell(folder: Path, reason: str) -> None:
    os.write(1, json.dumps([str(folder), reason]).encode() + b"\n")


def _start(job: Callable[[], int], folder: Path, place: Place) -> BaseProcess:
    (open_folder(folder) / LOG).write_bytes(b"")
    with (folder / LOG).open("ab") as log:
        process = multiprocessing.get_context("fork").Process(target=_be, args=(job, place, log, os.getpid()))
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until the new process minds them by itself
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    return process


def _be(job: Callable[[], int], place: Place, log: IO[bytes], parent: int) -> None:
    """What a new process is for."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    end_with(parent)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    os.environ.update(place)
    sys.exit(job())


def _reason(code: int, log: Path) -> str:
    """Why a job failed: its own first words about it, or what its exit code says."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    own = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
    if own or code >= 0:
        return own[0] if own else lines[-1].strip() if lines else f"exit code {code}"
    return f"ended by signal {-code}" + (", as when memory is short" if code == -signal.SIGKILL else "")


def _stop(processes: Sequence[BaseProcess], heard: list[int]) -> None:
    """Ask processes to save and end, and wait; those that take too long are killed, on a second Ctrl-C all."""
    asked, late = len(heard), time.monotonic() + GRACE
    for process in processes:
        process.terminate()  # not its whole group: the readers of images are still needed while it saves
    while alive := [process.pid for process in processes if process.is_alive()]:
        if signal.SIGINT in heard[asked:] or time.monotonic() > late:
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.killpg(pid or 0, signal.SIGKILL)
        time.sleep(PAUSE)


def end_with(parent: int) -> None:
    """From here on this process ends in good order once the one that started it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
