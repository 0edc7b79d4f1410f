"""A usual mistake: a small wrong function with the sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """A wrong function, and what to tell whoever wrote it."""

    sentence: str
    wrong: Callable[..., Any]
