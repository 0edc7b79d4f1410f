"""Class scores and corrected labels against the loop reference, ties, and what is refused."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.prototypes import best_class, class_scores, correct_labels, correction, label_margin
from dsl_teach.prototypes.correction import keep_unless_beaten, soft_labels
from tests import reference
from tests.strategies import DTYPES, LABELLED_ROWS, SEEDS, select, signs_of


def members(found, rows):
    return [[rows[i] for i in index[:count]] for index, count in zip(found.index.tolist(), found.count, strict=True)]


@given(LABELLED_ROWS, DTYPES, st.integers(1, 4), st.sampled_from(["noisy", "lowest"]), st.integers(1, 30))
def test_scores_and_labels_equal_the_loop_reference(labelled, dtype, p, score_ties, chunk):
    rows, labels = zip(*labelled, strict=True)
    embeddings, noisy_labels = torch.tensor(rows, dtype=dtype), torch.tensor(labels)
    found = select(embeddings, noisy_labels, p=p)
    expected = reference.class_scores(signs_of(rows), members(found, signs_of(rows)))
    with patch.object(correction, "CHUNK", chunk):
        scores = class_scores(embeddings, found)
        corrected = correct_labels(embeddings, found, noisy_labels, score_ties=score_ties)
    assert torch.equal(scores, torch.tensor(expected, dtype=torch.float64).to(dtype))
    assert corrected.tolist() == reference.correct_labels(expected, labels, score_ties=score_ties)
    handed_in = correct_labels(torch.empty(len(rows), 0), found, noisy_labels, score_ties=score_ties, scores=scores)
    assert torch.equal(handed_in, corrected)


def test_labels_on_the_device_equal_the_cpu(device):
    embeddings = torch.randn(300, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(300) % 3
    found = select(embeddings, labels)
    there = correct_labels(embeddings.to(device), found.to(device), labels.to(device))
    assert torch.equal(there.cpu(), correct_labels(embeddings, found, labels))


@given(SEEDS, st.integers(1, 5))
def test_the_label_margin_equals_the_loop_reference(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([-torch.inf, -0.5, 0.0, 0.25, 1.0])
    scores = values[torch.randint(5, (12, classes), generator=generator)]
    labels = torch.randint(classes, (12,), generator=generator)
    assert label_margin(scores, labels).tolist() == reference.label_margin(scores.tolist(), labels.tolist())


def random_scores(seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(9, 3, generator=generator, dtype=dtype), torch.randint(3, (9,), generator=generator)


@given(SEEDS, st.floats(0.01, 5), DTYPES)
def test_soft_labels_equal_the_loop_reference(seed, temperature, dtype):
    scores, _ = random_scores(seed, dtype)
    for row, found in zip(scores.tolist(), soft_labels(scores, temperature).tolist(), strict=True):
        assert found == pytest.approx(reference.softmax([x / temperature for x in row]), rel=1e-3, abs=1e-6)


def test_soft_labels_at_their_limits():
    scores, _ = random_scores(0, torch.float32)
    for temperature in (1e-3, 1e-30, 1e-37):  # near 0 they are hard
        soft = soft_labels(scores, temperature)
        torch.testing.assert_close(soft, torch.nn.functional.one_hot(best_class(scores), 3).float())
    assert soft_labels(torch.tensor([[0.5, -torch.inf, 0.5]]), 0.1).tolist() == [[0.5, 0, 0.5]]
    with pytest.raises(ValueError, match="temperature must be above 0"):
        soft_labels(scores, 0.0)


@given(SEEDS, st.floats(0, 1), DTYPES)
def test_a_label_is_kept_unless_beaten_by_the_margin(seed, margin, dtype):
    scores, noisy = random_scores(seed, dtype)
    found = keep_unless_beaten(scores, noisy, best_class(scores), margin)
    for row, y, label in zip(scores, noisy.tolist(), found.tolist(), strict=True):
        assert label == (int(row.argmax()) if float(row.max() - row[y]) > margin else y)


def test_a_label_that_cannot_be_assigned_is_given_up_however_wide_the_margin():
    scores, noisy = torch.tensor([[-torch.inf, 0.1, 0.2], [-torch.inf] * 3]), torch.tensor([0, 0])
    assert keep_unless_beaten(scores, noisy, torch.tensor([2, 0]), 9.0).tolist() == [2, 0]
