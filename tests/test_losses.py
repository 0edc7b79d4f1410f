"""The self-learning loss against its formula in loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.training.losses import self_learning_loss


def cross_entropy_in_loops(logits, labels):
    losses = []
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        losses.append(top + math.log(sum(math.exp(x - top) for x in row)) - row[label])
    return math.fsum(losses) / len(losses)


@given(st.integers(0, 2**31), st.floats(0, 1), st.sampled_from([torch.float32, torch.float64]))
def test_the_loss_equals_the_loop_reference(seed, alpha, dtype):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(7, 4, generator=generator, dtype=dtype)
    noisy, corrected = torch.randint(4, (2, 7), generator=generator)
    expected = (1 - alpha) * cross_entropy_in_loops(logits.tolist(), noisy.tolist()) + alpha * cross_entropy_in_loops(
        logits.tolist(), corrected.tolist()
    )
    assert self_learning_loss(logits, noisy, corrected, alpha).item() == pytest.approx(expected, rel=1e-5)


def test_before_the_first_correction_alpha_counts_as_zero():
    logits, noisy = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    plain = torch.nn.functional.cross_entropy(logits, noisy)
    assert torch.equal(self_learning_loss(logits, noisy, None, 0.5), plain)
    assert torch.equal(self_learning_loss(logits, noisy, noisy.flip(0), 0.0), plain)


def test_hard_labels_and_their_one_hot_probabilities_agree():
    logits, noisy, corrected = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 0, 2])
    soft = torch.nn.functional.one_hot(corrected, 3).float()
    torch.testing.assert_close(
        self_learning_loss(logits, noisy, corrected, 0.3), self_learning_loss(logits, noisy, soft, 0.3)
    )
