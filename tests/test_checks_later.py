"""The checks of lessons 04 to 06: a right function passes, each usual mistake is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dsl_lessons import checks
from dsl_lessons.mistakes import comparison, full_runs


def gce(logits, labels, q):
    chosen = [torch.softmax(row, 0)[label] for row, label in zip(logits, labels.tolist(), strict=True)]
    return sum((1 - p**q) / q for p in chosen) / len(chosen)


def forward(logits, labels, matrix):
    losses = []
    for row, label in zip(torch.softmax(logits, 1).tolist(), labels.tolist(), strict=True):
        losses.append(-np.log(sum(p * float(matrix[i, label]) for i, p in enumerate(row))))
    return sum(losses) / len(losses)


def doubt(scores, labels):
    rows = zip(scores.tolist(), labels.tolist(), strict=True)
    return [max(x for c, x in enumerate(row) if c != label) - row[label] for row, label in rows]


def paired(ours, theirs):
    difference = np.subtract(ours.tolist(), theirs.tolist())
    return [difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))]


RIGHT = {
    "gce": gce,
    "forward": forward,
    "suspicion": doubt,
    "paired": paired,
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
NAMED = vars(comparison) | vars(full_runs)
CASES = [(name, mistake) for name in RIGHT for mistake in NAMED[name.upper()]]


@pytest.mark.parametrize("name", RIGHT)
def test_a_second_right_version_passes(name):
    verdict = getattr(checks, f"check_{name}")(RIGHT[name])
    assert verdict.right, str(verdict)


@pytest.mark.parametrize(("name", "mistake"), CASES, ids=lambda x: getattr(x, "sentence", x)[:30])
def test_each_mistake_is_named(name, mistake):
    verdict = getattr(checks, f"check_{name}")(mistake.wrong)
    assert (verdict.right, verdict.sentence) == (False, mistake.sentence)
