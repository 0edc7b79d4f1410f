"""Random streams that follow from one seed, the same on every machine."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator of its own for one purpose, ``stream(seed, "shuffle", epoch)`` say.

    Streams of different names do not disturb each other: drawing more in one changes nothing in the others, and a
    stream named by its epoch can be had again without the epochs before it.
    """
    text = "/".join(str(part) for part in (seed, *names))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextlib.contextmanager
def lent(generator: torch.Generator) -> Iterator[None]:
    """Inside, torch's global generator, from which layers draw their weights, follows from this one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield
