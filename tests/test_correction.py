"""Class scores and corrected labels against the loop reference and ties; what each setting does to a correction."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.metrics import correction_report
from dsl_teach.prototypes import best_class, class_scores, correct_labels, correction, label_margin, select_prototypes
from dsl_teach.prototypes.variants import class_means, neighbour_scores, random_prototypes
from dsl_teach.seeds import stream
from dsl_teach.training.correction import correct
from dsl_teach.training.evaluation import embed
from tests import reference
from tests.strategies import DTYPES, LABELLED_ROWS, SEEDS, select, signs_of
from tests.test_loop import QUICK, K, blobs, fitted, network_for, pictures


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


@given(SEEDS, st.integers(1, 5))
def test_the_label_margin_equals_the_loop_reference(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([-torch.inf, -0.5, 0.0, 0.25, 1.0])
    scores = values[torch.randint(5, (12, classes), generator=generator)]
    labels = torch.randint(classes, (12,), generator=generator)
    assert label_margin(scores, labels).tolist() == reference.label_margin(scores.tolist(), labels.tolist())


def corrected(device, epoch=0, **changes):
    """A correction by the first weights, the embeddings it came from, and the noisy labels."""
    batches, clean_labels = blobs(device)
    network = network_for(batches)
    done = correct(network, batches, QUICK.replace(**changes), epoch, clean_labels=clean_labels)
    return done, embed(network, batches), batches.noisy_labels


def assert_same_prototypes(found, expected):
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, equal_nan=True)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"p": 5, "m": 9}, {"eta_max": 0.5}, {"quantile": 0.3}, {"diagonal": False}, {"rho_ties": "order"},
        {"fill_up": False, "eta_max": -0.5, "p": 20}, {"cut_ties": "index"}, {"score_ties": "lowest"},
    ],
)  # fmt: skip
def test_it_embeds_chooses_prototypes_and_lets_them_vote(device, changes):
    settings = QUICK.replace(**changes)
    done, embeddings, noisy = corrected(device, epoch=3, **changes)
    how = {name: getattr(settings, name) for name in ("p", "m", "eta_max", "quantile", "diagonal", "fill_up")}
    how |= {"rho_ties": settings.rho_ties, "cut_ties": settings.cut_ties, "generator": stream(0, "sample", 3)}
    prototypes = select_prototypes(embeddings, noisy, num_classes=K, **how)
    assert_same_prototypes(done.prototypes, prototypes)
    labels = correct_labels(embeddings, prototypes, noisy, score_ties=settings.score_ties)
    assert torch.equal(done.labels, labels)
    assert done.report == correction_report(noisy, labels, blobs(device)[1], num_classes=K)
    assert done.epoch == 3


class TestWhoCorrects:
    def test_random_prototypes_and_class_means(self, device):
        for who, choose, how in (("random", random_prototypes, {"p": 3}), ("class_means", class_means, {"m": 20})):
            done, embeddings, noisy = corrected(device, correct_by=who)
            found = choose(embeddings, noisy, num_classes=K, generator=stream(0, "sample", 0), **how)
            assert_same_prototypes(done.prototypes, found)
            assert torch.equal(done.labels, best_class(class_scores(embeddings, found), noisy))

    def test_neighbours(self, device):
        done, embeddings, noisy = corrected(device, correct_by="neighbours", neighbours=7, m=90)
        scores = neighbour_scores(embeddings, noisy, noisy.argsort(stable=True), num_classes=K, neighbours=7)
        assert torch.equal(done.labels, best_class(scores, noisy))

    def test_the_head(self, device):
        batches, network = pictures(device)
        with torch.no_grad():
            expected = network.eval()(batches.images)[0].argmax(dim=1)
        found = correct(network, batches, QUICK.replace(correct_by="head"), 0)
        assert torch.equal(found.labels, expected)
        assert found.prototypes.count.tolist() == [0] * K

    @pytest.mark.parametrize("who", ["density_peaks", "random", "class_means", "neighbours", "head"])
    def test_on_separable_blobs_more_labels_are_fixed_than_broken(self, device, who):
        how = {"epochs": 8, "correction_start": 4, "width": 16, "p": 3, "neighbours": 15}
        report = fitted(device, correct_by=who, **how)[0].correction.report
        assert report.noisy_accuracy == pytest.approx(0.8)
        assert report.label_accuracy > 0.9
