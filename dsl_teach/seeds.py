"""Random streams that follow from one seed, the same on every machine."""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator of its own for one purpose, ``stream(seed, "shuffle", epoch)`` say.

    Streams of different names do not disturb each other: drawing more in one changes nothing in the others, and a
    stream named by its epoch can be had again without the epochs before it.
    """
    text = "/".join(str(part) for part in (seed, *names))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
