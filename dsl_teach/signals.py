"""Signals that ask to stop, and who answers them; imports nothing that takes time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


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
