"""The correction phase: what each setting of it does to labels and prototypes."""

from __future__ import annotations

import pytest
import torch

from dsl_teach.metrics import correction_report
from dsl_teach.prototypes import best_class, class_scores, correct_labels, select_prototypes
from dsl_teach.prototypes.correction import keep_unless_beaten, soft_labels
from dsl_teach.prototypes.variants import class_means, neighbour_scores, random_prototypes, whitened
from dsl_teach.seeds import stream
from dsl_teach.training.correction import agreeing, correct, running_mean
from dsl_teach.training.evaluation import embed
from tests.test_loop import QUICK, K, blobs, fitted, network_for, pictures


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
        {"whitened": True},
    ],
)  # fmt: skip
def test_it_embeds_chooses_prototypes_and_lets_them_vote(device, changes):
    settings = QUICK.replace(**changes)
    done, embeddings, noisy = corrected(device, epoch=3, **changes)
    if settings.whitened:
        embeddings = whitened(embeddings, noisy, num_classes=K)
    how = {name: getattr(settings, name) for name in ("p", "m", "eta_max", "quantile", "diagonal", "fill_up")}
    how |= {"rho_ties": settings.rho_ties, "cut_ties": settings.cut_ties, "generator": stream(0, "sample", 3)}
    prototypes = select_prototypes(embeddings, noisy, num_classes=K, **how)
    assert_same_prototypes(done.prototypes, prototypes)
    labels = correct_labels(embeddings, prototypes, noisy, score_ties=settings.score_ties)
    assert torch.equal(done.labels, labels)
    assert done.report == correction_report(noisy, labels, blobs(device)[1], num_classes=K)
    assert (done.epoch, done.soft) == (3, None)


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


def test_a_run_trains_on_soft_labels(device):
    done, embeddings, _ = corrected(device, soft_temperature=0.1)
    torch.testing.assert_close(done.soft, soft_labels(class_scores(embeddings, done.prototypes), 0.1))
    index = torch.tensor([5, 3], device=device)
    assert torch.equal(done.of(index), done.soft[index])
    soft, hard = (fitted(device, soft_temperature=temperature)[0].history[-1].loss for temperature in (0.1, 0.0))
    assert soft != hard


def test_with_a_margin_labels_that_are_hardly_beaten_stay(device):
    done, embeddings, noisy = corrected(device, margin=0.2)
    scores = class_scores(embeddings, done.prototypes)
    assert torch.equal(done.labels, keep_unless_beaten(scores, noisy, best_class(scores, noisy), 0.2))
    changed = [corrected(device, margin=margin)[0].report.changed for margin in (0.0, 0.2, 2.0)]
    assert changed[0] > changed[1] > changed[2] == 0


class TestScoreMomentum:
    def test_it_mixes_and_remembers(self):
        memory, first, second = {}, torch.tensor([0.1, 0.7]), torch.tensor([1.0, 0.0])
        assert torch.equal(running_mean(memory, "x", first, 0.9), first)
        torch.testing.assert_close(running_mean(memory, "x", second, 0.9), torch.tensor([0.19, 0.63]))
        torch.testing.assert_close(memory["x"], torch.tensor([0.19, 0.63]))

    def test_without_momentum_nothing_is_remembered(self):
        memory, new = {}, torch.ones(2)
        assert running_mean(memory, "x", new, 0.0) is new
        assert memory == {}

    @pytest.mark.parametrize("nothing", [torch.nan, -torch.inf])
    def test_an_entry_that_says_nothing_leaves_the_other(self, nothing):
        memory = {"x": torch.tensor([2.0, nothing, 4.0, nothing])}
        found = running_mean(memory, "x", torch.tensor([nothing, 3.0, 0.0, nothing]), 0.5)
        torch.testing.assert_close(found, torch.tensor([2.0, 3.0, 2.0, nothing]), equal_nan=True)

    def test_labels_come_from_the_mean_of_the_scores_of_two_corrections(self, device):
        batches, _ = blobs(device)
        memory, scores = {}, []
        for seed in (0, 1):
            network = network_for(batches, QUICK.replace(seed=seed))
            done = correct(network, batches, QUICK.replace(score_momentum=0.75), seed, memory=memory)
            scores.append(class_scores(embed(network, batches), done.prototypes))
        mixed = 0.75 * scores[0] + 0.25 * scores[1]
        assert torch.equal(done.labels, best_class(mixed, batches.noisy_labels))
        assert not torch.equal(done.labels, best_class(scores[1], batches.noisy_labels))


class TestAgreeingOnly:
    settings = QUICK.replace(agreeing_only=True)

    def test_prototypes_come_from_where_the_last_labels_agree(self, device):
        first, embeddings, noisy = corrected(device)
        batches, _ = blobs(device)
        second = correct(network_for(batches), batches, self.settings, 1, before=first)
        rows = (first.labels == noisy).nonzero().flatten()
        assert 0 < len(rows) < len(noisy)
        how = {"p": 3, "m": 20, "generator": stream(0, "sample", 1)}
        expected = select_prototypes(embeddings[rows], noisy[rows], num_classes=K, **how)
        assert torch.equal(second.prototypes.index, rows[expected.index])
        torch.testing.assert_close(second.prototypes.embeddings, embeddings[second.prototypes.index])

    def test_a_class_without_agreement_keeps_all_its_samples(self, device):
        first, _, noisy = corrected(device)
        first.labels[noisy == 1] = 2
        among = torch.zeros_like(noisy, dtype=torch.bool)
        among[agreeing(first, noisy, self.settings, num_classes=K)] = True
        assert torch.equal(among, (first.labels == noisy) | (noisy == 1))

    def test_the_first_correction_and_those_that_nobody_asked_for_take_all(self, device):
        first, _, noisy = corrected(device)
        assert agreeing(None, noisy, self.settings, num_classes=K) is None
        assert agreeing(first, noisy, QUICK, num_classes=K) is None
