"""What tells one data set from another."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import Tensor

from dsl_teach.data.dataset import NoisyDataset


def fingerprint(data: NoisyDataset) -> dict[str, Any]:
    """Number of samples, class names, and hashes of images and labels."""
    found: dict[str, Any] = {"samples": len(data), "class_names": list(data.class_names)}
    for name in ("images", "noisy_labels", "test_images", "test_labels"):
        x = getattr(data, name)
        content = x.cpu().numpy().tobytes() if isinstance(x, Tensor) else json.dumps(x.paths).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def digest(print: dict[str, Any]) -> str:
    """A fingerprint in 16 letters."""
    return hashlib.sha256(json.dumps(print, sort_keys=True).encode()).hexdigest()[:16]


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first difference, in a sentence."""
    return next((f"{name} differ" for name, x in now.items() if before.get(name) != x), None)
