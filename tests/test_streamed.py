"""Streamed correction: embeddings gathered in training, by index, and nothing run twice."""

from __future__ import annotations

import pytest
import torch

from dsl_teach.config import Settings
from dsl_teach.training.loop import correct, correction_is_due, embed, fit, make_optimizer, train_epoch
from dsl_teach.training.state import Pass
from tests.test_loop import QUICK, blobs, network_for, without_times


@pytest.mark.parametrize(
    ("every", "expected"), [(1, [2, 3, 4, 5, 6, 7]), (2, [2, 4, 6, 7]), (3, [2, 5, 7]), (9, [2, 7])]
)
def test_corrections_come_every_k_epochs_and_at_the_end(every, expected):
    settings = Settings(epochs=7, correction_start=2, correct_every=every)
    assert [epoch for epoch in range(8) if correction_is_due(settings, epoch)] == expected
    assert not any(correction_is_due(settings.replace(alpha=0.0), epoch) for epoch in range(8))


def test_gathered_embeddings_are_those_of_their_samples(device):
    """With a learning rate of next to nothing the weights stand still, so both ways must agree sample by sample."""
    settings = QUICK.replace(correction_mode="streamed", correction_start=1, learning_rate=1e-12)
    batches, _ = blobs(device)
    network = network_for(batches)
    seen = Pass.begin(batches.noisy_labels)
    train_epoch(network, batches, None, make_optimizer(network, settings)[0], settings, 0, so_far=seen)
    torch.testing.assert_close(seen.embeddings, embed(network, batches))
    streamed, exact = (correct(network, batches, settings, 1, seen=s) for s in (seen, None))
    assert torch.equal(streamed.labels, exact.labels)
    assert (seen.predicted >= 0).all()


def test_streamed_correction_needs_no_pass_of_its_own(device, monkeypatch):
    batches, clean_labels = blobs(device)
    monkeypatch.setattr(correction, "embed", lambda *a: pytest.fail("it went through the samples again"))
    settings = QUICK.replace(correction_mode="streamed")
    result = fit(network_for(batches), batches, batches, settings, clean_labels=clean_labels)
    assert [record.changed is None for record in result.history] == [True, True, False, False]
    assert result.correction.epoch == 4


def test_from_the_start_there_is_nothing_gathered_so_the_first_correction_is_exact(device, monkeypatch):
    batches, _ = blobs(device)
    passes = []
    monkeypatch.setattr(correction, "embed", lambda *a: passes.append(None) or embed(*a))
    fit(network_for(batches), batches, batches, QUICK.replace(correction_mode="streamed", correction_start=0))
    assert len(passes) == 1


def test_gathering_changes_nothing_in_the_training_before_the_first_correction(device):
    def history(**changes):
        batches, _ = blobs(device)
        return fit(network_for(batches), batches, batches, QUICK.replace(**changes)).history

    exact, streamed = history(), history(correction_mode="streamed")
    assert [without_times(r) for r in exact[:2]] == [without_times(r) for r in streamed[:2]]


def test_the_time_of_a_correction_counts_once(device):
    batches, _ = blobs(device)
    history = fit(network_for(batches), batches, batches, QUICK.replace(epochs=7, correct_every=2)).history
    assert [record.seconds_correction > 0 for record in history] == [False, False, True, False, True, False, True]
    assert all(record.changed == history[2].changed for record in history[2:4])
