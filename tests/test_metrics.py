"""Accuracies, what correction did, and intervals over seeds."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.metrics import accuracy, chance_changed, correction_report, interval, paired_difference

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(torch.tensor)


def test_accuracy_leaves_unknown_labels_out():
    assert accuracy(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 2, -1])) == 2 / 3
    assert math.isnan(accuracy(torch.tensor([0]), torch.tensor([-1])))


def test_a_correction_by_hand():
    clean, noisy, corrected = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 0, 2], [0, 0, 2, 0, 2]])
    report = correction_report(noisy, corrected, clean, num_classes=3)
    chance = pytest.approx(1 - (2 * 3 + 2 * 0 + 1 * 2) / 25)
    assert dataclasses.astuple(report) == (2 / 5, chance, 3 / 5, 3 / 5, 1 / 5, 1 / 5)


@given(LABELS, st.integers(0, 2**31))
def test_label_accuracy_moves_by_what_was_fixed_and_broken(clean, seed):
    generator = torch.Generator().manual_seed(seed)
    noisy, corrected = torch.randint(4, (2, len(clean)), generator=generator)
    report = correction_report(noisy, corrected, clean, num_classes=4)
    moved = report.noisy_accuracy + report.wrong_to_right - report.right_to_wrong
    assert report.label_accuracy == pytest.approx(moved)


def test_chance_level_is_what_shuffled_labels_show():
    generator = torch.Generator().manual_seed(0)
    noisy = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 3000, replacement=True, generator=generator)
    changed = [float((noisy[torch.randperm(3000, generator=generator)] != noisy).double().mean()) for _ in range(200)]
    shown = interval(changed)
    assert abs(shown.mean - chance_changed(noisy, noisy, 3)) < 2 * shown.half + 1e-3


def test_without_clean_labels_only_the_change_is_known():
    labels = torch.tensor([0, 1])
    for clean in (None, torch.tensor([-1, -1])):
        report = correction_report(labels, labels, clean, num_classes=2)
        assert (report.changed, report.label_accuracy) == (0, None)


def test_an_interval_by_hand():
    # 1, 2, 3: mean 2, deviation 1, t(0.975, 2 degrees) = 4.3027, half width 4.3027 / sqrt(3).
    found = interval([1, 2, 3])
    assert (found.mean, found.n) == (2, 3)
    assert found.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert str(found) == "2.0 ± 2.5"
    assert math.isnan(interval([3.0]).half)


def test_paired_differences_hold_the_true_mean_as_often_as_they_say_whatever_the_seeds_share():
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(4000):
        shared, ours, theirs = generator.normal(0, [[10], [1], [2]], size=(3, 5))
        found = paired_difference((shared + ours + 3).tolist(), (shared + theirs).tolist())
        hits += abs(found.mean - 3) <= found.half
    assert abs(hits / 4000 - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 4000)
