"""Class scores and corrected labels against the loop reference, ties, and what is refused."""

from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.prototypes import class_scores, correct_labels, correction, label_margin
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
