"""Where commands end: a user's mistake or a signal becomes a sentence and an exit code. Quick to import."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

FAILED, MISUSED, PIPE_CLOSED = 1, 2, 128 + 13
"""Exit codes, MISUSED if nothing was begun; a signal gives 128 and its number: 130 for Ctrl-C, 143 for SIGTERM."""
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
READING = (EOFError, pickle.UnpicklingError, tarfile.TarError, zipfile.BadZipFile)
USERS = (OSError, ValueError, FloatingPointError, MemoryError, *READING)
MEMORY = ("out of memory", "allocate memory", "(shm)", "not enough memory", "multiplication overflow", "overflowed")
DEVICE = ("CUDA", "cuda", "NVIDIA", "device string", "device type")
UNSAFE = ("weights_only", "allow_pickle", "weights only load")
"""Words of torch's and NumPy's errors about memory, about devices, and of advice to load what may run programs."""


def is_users(error: BaseException) -> bool:
    """Whether an error comes from what the user named, or from the machine; any other is a mistake of ours."""
    return isinstance(error, USERS) or (isinstance(error, RuntimeError | AssertionError) and bool(_known(error)))


def sentence(error: BaseException) -> str:
    """What went wrong, what it is about, and what to do where that is known."""
    if isinstance(error, UnicodeDecodeError):
        return f"A file is not text in UTF-8: {error.reason} at byte {error.start}. Save it as UTF-8."
    if isinstance(error, OSError) and error.strerror is not None and not _known(error):
        hints = {errno.ENOSPC: " Make room on the disk and run it again.", errno.EACCES: " Name one that you may use."}
        about = f"{error.filename}: " if error.filename is not None else ""
        return f"{about}{error.strerror}.{hints.get(error.errno or 0, '')}"
    return _known(error) or str(error).strip() or type(error).__name__


@contextmanager
def boundary(who: str, failed: int = FAILED) -> Iterator[None]:
    """Inside, a user's mistake and a signal end the process with a sentence on stderr, and that code or the signal's.

    A reader of the output who leaves, as head does, ends it without a word. A mistake of ours keeps its traceback.
    """
    try:
        yield
        sys.stdout.flush()  # here a full disk and a closed pipe can still be told
        return
    except KeyboardInterrupt as error:  # Interrupted, which is one, knows its signal
        code = 128 + getattr(error, "number", signal.SIGINT)
        complain(who, str(error) or "Stopped by SIGINT.")
    except BrokenPipeError:
        code = PIPE_CLOSED
    except Exception as error:
        if not is_users(error):
            raise
        code = failed
        complain(who, sentence(error))
    try:  # what cannot be printed is dropped, or Python would try again at its end and say so
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise SystemExit(code)


@contextmanager
def listening(answer: Callable[[int, Any], object], *, ignored_afterwards: bool = False) -> Iterator[None]:
    """Inside, signals that ask to stop are for ``answer``; not those that are ignored, as under nohup."""
    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
        former = {number: signal.signal(number, answer) for number in heard}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_IGN if ignored_afterwards else handler)


def complain(who: str, words: str) -> None:
    """Say on stderr what went wrong, and in which of several processes."""
    rank = os.environ.get("RANK", "0")
    print(f"{who}{'' if rank == '0' else f' (process {rank})'}: {words}", file=sys.stderr, flush=True)


def _known(error: BaseException) -> str:
    """A sentence for what torch and NumPy say in ways that help nobody, or mislead; "" for anything else."""
    text = str(error)
    if any(words in text.lower() for words in UNSAFE):
        return "A file holds Python objects, which could run programs, so it is not loaded. Name one of plain numbers."
    first = text.strip().split("\n")[0].rstrip(".") or type(error).__name__
    if isinstance(error, MemoryError) or any(words in text for words in MEMORY):
        return f"The memory does not suffice: {first}. Lower batch_size, width or the number of workers."
    if isinstance(error, RuntimeError | AssertionError) and any(words in text for words in DEVICE):
        return f"device cannot be used: {first}. Name another one, cpu say."
    return ""
