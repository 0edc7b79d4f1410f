"""Corrected labels beyond the paper: soft ones, a margin, votes over epochs, and who may be a prototype."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.prototypes import best_class, class_scores, select_prototypes
from dsl_teach.prototypes.correction import class_votes, keep_unless_beaten, soft_labels, vote_scores
from dsl_teach.training.correction import agreeing, correct, look, running_mean
from dsl_teach.training.distributed import ALONE, sampled_rows
from dsl_teach.training.loop import embed, fit
from dsl_teach.training.networks import build_network
from tests.strategies import random_embeddings
from tests.test_loop import QUICK, K, blobs, network_for, without_times

SEEDS, DTYPES = st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64])


def random_scores(seed, dtype=torch.float64, n=9):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, K, generator=generator, dtype=dtype), torch.randint(K, (n,), generator=generator)


class TestSoftLabels:
    @given(SEEDS, st.floats(0.01, 5), DTYPES)
    def test_they_equal_the_loop_reference(self, seed, temperature, dtype):
        scores, _ = random_scores(seed, dtype)
        for row, found in zip(scores.tolist(), soft_labels(scores, temperature).tolist(), strict=True):
            parts = [math.exp((x - max(row)) / temperature) for x in row]
            assert found == pytest.approx([part / sum(parts) for part in parts], rel=1e-3, abs=1e-6)

    def test_near_0_they_are_hard(self):
        scores, _ = random_scores(0, torch.float32)
        for temperature in (1e-3, 1e-30, 1e-37):
            soft = soft_labels(scores, temperature)
            torch.testing.assert_close(soft, torch.nn.functional.one_hot(best_class(scores), K).float())

    def test_a_class_that_cannot_be_assigned_gets_nothing(self):
        soft = soft_labels(torch.tensor([[0.5, -torch.inf, 0.5]]), 0.1)
        assert soft.tolist() == [[0.5, 0, 0.5]]

    @pytest.mark.parametrize("temperature", [0.0, -1.0])
    def test_a_temperature_out_of_range_is_refused(self, temperature):
        with pytest.raises(ValueError, match="temperature must be above 0"):
            soft_labels(torch.eye(3), temperature)

    def test_a_run_trains_on_them(self, device):
        settings = QUICK.replace(soft_temperature=0.1)
        batches, _ = blobs(device)
        correction = fit(network_for(batches), batches, batches, settings).correction
        assert correction.soft.shape == (len(batches.noisy_labels), K)
        likeliest = correction.soft.gather(1, correction.labels[:, None]).squeeze(1)
        assert torch.equal(likeliest, correction.soft.amax(dim=1))  # of equally likely ones the noisy label
        assert torch.equal(correction.of(torch.tensor([5, 3])), correction.soft[[5, 3]])


class TestMargin:
    @given(SEEDS, st.floats(0, 1), DTYPES)
    def test_it_equals_the_loop_reference(self, seed, margin, dtype):
        scores, noisy = random_scores(seed, dtype)
        found = keep_unless_beaten(scores, noisy, best_class(scores), margin)
        for row, y, label in zip(scores, noisy.tolist(), found.tolist(), strict=True):
            beaten = float(row.max() - row[y]) > margin
            assert label == (int(row.argmax()) if beaten else y)

    def test_a_label_that_cannot_be_assigned_is_given_up_however_wide_the_margin(self):
        scores = torch.tensor([[-torch.inf, 0.1, 0.2], [-torch.inf] * 3])
        noisy = torch.tensor([0, 0])
        assert keep_unless_beaten(scores, noisy, torch.tensor([2, 0]), 9.0).tolist() == [2, 0]

    def test_in_a_run_it_keeps_labels(self, device):
        batches, _ = blobs(device)
        network = network_for(batches)
        changed = [correct(network, batches, QUICK.replace(margin=m), 2).report.changed for m in (0.0, 2.0)]
        assert changed[0] > changed[1] == 0


@pytest.mark.filterwarnings("ignore:No sample carries")
@given(random_embeddings(), st.integers(1, 5))
def test_votes_give_the_class_scores(embeddings, p):
    labels = torch.arange(len(embeddings)) % 2 * 2  # class 1 is empty
    found = select_prototypes(embeddings, labels, num_classes=3, p=p, m=10)
    scores = vote_scores(embeddings, class_votes(found), chunk_size=7)
    torch.testing.assert_close(scores, class_scores(embeddings, found), atol=1e-5, rtol=0)
    assert (scores[:, 1] == -torch.inf).all()


class TestRunningMean:
    def test_it_mixes_and_remembers(self):
        memory = {}
        first, second = torch.tensor([0.1, 0.7]), torch.tensor([1.0, 0.0])
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


class TestAgreeingOnly:
    settings = QUICK.replace(agreeing_only=True)

    def corrections(self, device, monkeypatch, spoil=None):
        """Two corrections, and the samples that the second one chose from."""
        batches, _ = blobs(device)
        network = network_for(batches)
        first = correct(network, batches, self.settings, 0)
        if spoil is not None:
            first.labels[batches.noisy_labels == spoil] = (spoil + 1) % K
        pools = []

        def spy(labels, among, **how):
            pools.append((labels, among))
            return sampled_rows(labels, among, **how)

        monkeypatch.setattr("dsl_teach.training.distributed.sampled_rows", spy)
        return batches.noisy_labels, first, correct(network, batches, self.settings, 1, before=first), pools

    def test_prototypes_come_from_where_the_last_labels_agree(self, device, monkeypatch):
        noisy, first, second, [(_, among)] = self.corrections(device, monkeypatch)
        assert torch.equal(among, first.labels == noisy)
        assert not among.all()
        index = second.prototypes.index[second.prototypes.index >= 0]
        assert among[index].all()

    def test_a_class_without_agreement_keeps_all_its_samples(self, device, monkeypatch):
        noisy, first, second, [(_, among)] = self.corrections(device, monkeypatch, spoil=1)
        assert among[noisy == 1].all()
        assert torch.equal(among[noisy != 1], (first.labels == noisy)[noisy != 1])
        assert second.prototypes.count.tolist() == [QUICK.p] * K

    def test_the_first_correction_takes_all(self, device):
        batches, _ = blobs(device)
        seen = look(network_for(batches), batches, self.settings, None, ALONE)
        assert agreeing(seen, None, self.settings) is None

    def test_rows_drawn_are_of_their_class_and_allowed(self):
        labels, among = torch.arange(40) % K, torch.arange(40) < 20
        rows = sampled_rows(labels, among, num_classes=K, m=4, generator=torch.Generator().manual_seed(0))
        assert labels[rows].tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert rows.max() < 20


@pytest.mark.parametrize("option", ["score_momentum", "prototype_momentum"])
class TestMomentum:
    def history(self, device, **changes):
        batches, clean_labels = blobs(device)
        settings = QUICK.replace(correction_start=1, **changes)
        return fit(network_for(batches), batches, batches, settings, clean_labels=clean_labels).history

    def test_it_acts_from_the_second_correction_on(self, device, option):
        plain, slow = self.history(device), self.history(device, **{option: 0.9})
        assert without_times(plain[0]) == without_times(slow[0])
        assert plain[1].changed == slow[1].changed  # the first correction has nothing to remember
        assert [r.loss for r in plain[2:]] != [r.loss for r in slow[2:]]

    def test_the_mean_is_that_of_all_corrections(self, device, option):
        """Two corrections by different weights, mixed by hand."""
        batches, _ = blobs(device)
        settings, memory, plain = QUICK.replace(**{option: 0.75}), {}, []
        for seed in (1, 2):
            network = network_for(batches, settings.replace(seed=seed))
            correct(network, batches, settings, 0, memory=memory)
            once = correct(network, batches, QUICK, 0)
            rows = embed(network, batches)
            plain.append(class_votes(once.prototypes) if option[0] == "p" else class_scores(rows, once.prototypes))
        (found,) = memory.values()
        torch.testing.assert_close(found, 0.75 * plain[0] + 0.25 * plain[1])


def test_the_head_says_what_the_network_says(device):
    settings = QUICK.replace(correct_by="head", network="small_cnn")
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batches = InMemoryBatches(images, torch.arange(40) % K, batch_size=16, device=device)
    network = build_network("small_cnn", images=images, num_classes=K, width=4, generator=torch.Generator()).to(device)
    with torch.no_grad():
        expected = network.eval()(batches.images)[0].argmax(dim=1)
    found = correct(network, batches, settings, 0)
    assert torch.equal(found.labels, expected)
    assert found.prototypes.count.tolist() == [0] * K


@pytest.mark.parametrize("who", ["random", "class_means", "neighbours", "head"])
def test_whoever_corrects_mends_more_than_it_spoils_on_separable_blobs(device, who):
    batches, clean_labels = blobs(device)
    settings = QUICK.replace(epochs=8, correction_start=4, width=16, correct_by=who, neighbours=15, p=8)
    report = fit(
        network_for(batches, settings), batches, batches, settings, clean_labels=clean_labels
    ).correction.report
    assert report.label_accuracy > 0.9


@pytest.mark.parametrize("option", ["centred", "whitened"])
def test_cosines_are_taken_in_the_space_that_is_asked_for(device, option, monkeypatch):
    batches, _ = blobs(device)
    network, seen = network_for(batches), []
    monkeypatch.setattr(
        correction, "class_scores", lambda rows, prototypes: seen.append(rows) or class_scores(rows, prototypes)
    )
    done = correct(network, batches, QUICK.replace(**{option: True}), 0)
    raw = embed(network, batches)
    sums = correction.class_sums(raw, batches.noisy_labels, num_classes=K)
    expected = getattr(correction, option)(raw, sums)
    torch.testing.assert_close(seen[0], expected)
    torch.testing.assert_close(done.prototypes.embeddings, expected[done.prototypes.index])
