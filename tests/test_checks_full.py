"""The checks of lessons 05 and 06: the right function passes, each usual mistake is named."""

from __future__ import annotations

import pytest
import torch

from dsl_teach.lab import checks
from dsl_teach.lab.mistakes import full_runs as mistakes_full

RIGHT = {
    "shares": lambda y, k: torch.stack([(y == c).sum() / (y >= 0).sum() for c in range(k)]),
    "direction": lambda clean, y, k: (
        sum(
            float((clean == b).sum() > (clean == a).sum())
            for a, b in zip(clean.tolist(), y.tolist(), strict=True)
            if a != b
        )
        / int((clean != y).sum())
    ),
    "soft": lambda s, t: (s / t).exp() / (s / t).exp().sum(dim=1, keepdim=True),
    "hours": lambda images, epochs, rate, gpus: images * epochs / rate / gpus / 60 / 60,
}
CASES = [(name, mistake) for name in RIGHT for mistake in getattr(mistakes_full, name.upper())]


@pytest.mark.parametrize("name", RIGHT)
def test_a_second_right_version_passes(name):
    verdict = getattr(checks, f"check_{name}")(RIGHT[name])
    assert verdict.right, str(verdict)


@pytest.mark.parametrize(("name", "mistake"), CASES, ids=lambda x: getattr(x, "sentence", x)[:30])
def test_each_mistake_is_named(name, mistake):
    verdict = getattr(checks, f"check_{name}")(mistake.wrong)
    assert (verdict.right, verdict.sentence) == (False, mistake.sentence)
