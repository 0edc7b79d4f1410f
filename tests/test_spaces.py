"""Centred and whitened embeddings against plain numpy, and what must leave their cosines alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl_teach.prototypes.density import unit_rows
from dsl_teach.prototypes.spaces import ClassSums, centred, class_sums, whitened

K, D = 4, 5
SEEDS, DTYPES = st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64])
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}


def sample(seed, dtype=torch.float64, n=60):
    """Classes 0, 1 and 3 around points of their own, far from the origin; class 2 has no sample."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 1, 3])[torch.randint(3, (n,), generator=generator)]
    labels[:3] = torch.tensor([0, 1, 3])
    centres = 2 * torch.randn(K, D, generator=generator, dtype=torch.float64) + 5
    rows = centres[labels] + torch.randn(n, D, generator=generator, dtype=torch.float64)
    return rows.to(dtype), labels


def sums_of(rows, labels, **how):
    return class_sums(rows, labels, num_classes=K, **how)


def cosines(rows):
    rows = unit_rows(rows)
    return rows @ rows.T


def middle_in_loops(rows, labels):
    means = [np.mean([x for x, y in zip(rows, labels, strict=True) if y == c], axis=0) for c in set(labels.tolist())]
    return sum(means) / len(means)


def within_in_loops(rows, labels):
    total = np.zeros((D, D))
    for x, y in zip(rows, labels, strict=True):
        away = x - rows[labels == y].mean(axis=0)
        total += np.outer(away, away)
    return total / len(rows)


@settings(max_examples=25)
@given(SEEDS, DTYPES)
def test_centred_equals_the_loop_reference(seed, dtype):
    rows, labels = sample(seed, dtype)
    expected = rows.double().numpy() - middle_in_loops(rows.double().numpy(), labels.numpy())
    found = centred(rows, sums_of(rows, labels))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), expected, atol=TOLERANCE[dtype])


@settings(max_examples=25)
@given(SEEDS, DTYPES, st.floats(0.01, 1))
def test_whitened_equals_the_loop_reference(seed, dtype, shrinkage):
    rows, labels = sample(seed, dtype)
    exact, numbers = rows.double().numpy(), labels.numpy()
    within = within_in_loops(exact, numbers)
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / D * np.eye(D)
    values, vectors = np.linalg.eigh(shrunk)
    expected = (exact - middle_in_loops(exact, numbers)) @ (vectors / np.sqrt(values)) @ vectors.T
    found = whitened(rows, sums_of(rows, labels), shrinkage=shrinkage)
    np.testing.assert_allclose(found.numpy(), expected, atol=10 * TOLERANCE[dtype])


@settings(max_examples=25)
@given(SEEDS)
def test_the_spread_within_classes_becomes_a_sphere(seed):
    rows, labels = sample(seed)
    moved = whitened(rows, sums_of(rows, labels), shrinkage=1e-9)
    torch.testing.assert_close(sums_of(moved, labels).within, torch.eye(D, dtype=torch.float64), atol=1e-5, rtol=0)


@settings(max_examples=25)
@given(SEEDS)
def test_whitened_cosines_do_not_change_under_an_invertible_linear_map(seed):
    rows, labels = sample(seed)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64)).Q
    other = rows @ (turn * torch.tensor([0.3, 0.5, 1, 2, 3], dtype=torch.float64)) + 7
    before, after = (cosines(whitened(x, sums_of(x, labels), shrinkage=1e-9)) for x in (rows, other))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


@settings(max_examples=25)
@given(SEEDS, st.integers(0, 60), st.integers(1, 70))
def test_sums_of_two_groups_add_up_to_those_of_all(seed, cut, chunk_size):
    rows, labels = sample(seed)
    whole = sums_of(rows, labels)
    one, other = (sums_of(rows[part], labels[part], chunk_size=chunk_size) for part in (slice(cut), slice(cut, None)))
    for found, expected in zip(ClassSums(*map(torch.add, one, other)), whole, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_large_class_does_not_pull_the_middle_towards_itself():
    rows = torch.tensor([[0.0, 0.0]] * 99 + [[2.0, 4.0]])
    sums = class_sums(rows, (torch.arange(100) == 99).long(), num_classes=3)
    assert sums.middle.tolist() == [1, 2]
    assert sums.means[2].tolist() == [0, 0]  # nobody is there


def test_what_varies_inside_a_class_counts_less():
    """Two classes differ in the first direction; the second only varies."""
    rows = torch.tensor([[x, y] for x in (-1.0, 1.0) for y in (-9.0, -3.0, 3.0, 9.0)])
    rows[:, 0] += 0.1 * torch.tensor([1.0, -1, -1, 1] * 2)
    labels = torch.arange(2).repeat_interleave(4)
    before, after = (cosines(x(rows, class_sums(rows, labels, num_classes=2))) for x in (centred, whitened))
    same = labels[:, None] == labels
    assert before[same].min() < -0.9
    assert (after[same].mean() - after[~same].mean()) > 2 * (before[same].mean() - before[~same].mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "case", ["fewer samples than features", "a feature that is always 0", "one point a class", "one point"]
)
def test_embeddings_without_spread_in_some_directions_do_not_explode(dtype, case):
    rows, labels = sample(0)
    if case == "fewer samples than features":
        rows, labels = rows[:3], labels[:3]
    elif case == "a feature that is always 0":
        rows[:, 2] = 0
    elif case == "one point a class":
        rows = 1000 * torch.randn(K, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[labels]
    else:
        rows = rows[:1].expand(len(labels), D)
    rows = rows.to(dtype)
    moved = whitened(rows, sums_of(rows, labels))
    assert moved.isfinite().all()
    found = cosines(moved)
    assert found.isfinite().all()
    if case == "one point a class":  # nothing to learn of the spread: as if only centred
        torch.testing.assert_close(found, cosines(centred(rows, sums_of(rows, labels))), atol=1e-3, rtol=0)


def test_half_precision_is_raised_to_float32():
    rows, labels = sample(0)
    rows = rows.bfloat16()
    assert {x(rows, sums_of(rows, labels)).dtype for x in (centred, whitened)} == {torch.float32}


@pytest.mark.parametrize("shrinkage", [0.0, -0.1, 1.1, float("nan")])
def test_shrinkage_out_of_range_is_refused(shrinkage):
    rows, labels = sample(0)
    with pytest.raises(ValueError, match="shrinkage must be above 0 and at most 1"):
        whitened(rows, sums_of(rows, labels), shrinkage=shrinkage)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="noisy_labels must have one entry for each of the 3 samples"):
        class_sums(torch.eye(3), torch.arange(2), num_classes=2)
    with pytest.raises(ValueError, match="noisy_labels must lie in"):
        class_sums(torch.eye(3), torch.arange(3), num_classes=2)
    with pytest.raises(ValueError, match="embeddings"):
        class_sums(torch.ones(3), torch.arange(3), num_classes=3)
