"""What a batch is trained on: the loss that the settings name, mixed pairs, and weights that are averaged."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, InMemoryBatches
from dsl_teach.training import loop
from dsl_teach.training.hardware import averaged_weights
from dsl_teach.training.keeper import Keeper
from dsl_teach.training.loop import batch_losses, correct, evaluate, fit, make_optimizer, train_epoch
from dsl_teach.training.losses import (
    early_learning_regularization,
    early_learning_targets,
    estimated_transition_matrix,
    forward_cross_entropy,
    generalized_cross_entropy,
    smoothed_cross_entropy,
    symmetric_cross_entropy,
)
from dsl_teach.training.networks import build_network
from dsl_teach.training.objective import Mixture, first_memory, mix_batch, noisy_loss, remember
from dsl_teach.training.state import TARGETS
from tests.test_loop import QUICK, K, blobs, network_for, without_times

INDEX = torch.tensor([4, 0, 7])
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.3, 0.2], [-1.0, 3.0, 0.0]])
LABELS = torch.tensor([0, 2, 1])


class TestNoisyLoss:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, cross_entropy(LOGITS, LABELS)),
            ({"loss": "smoothed", "smoothing": 0.2}, smoothed_cross_entropy(LOGITS, LABELS, 0.2)),
            ({"loss": "gce", "gce_q": 0.4}, generalized_cross_entropy(LOGITS, LABELS, 0.4)),
            ({"loss": "sce", "sce_a": 0.5, "sce_b": 2.0}, symmetric_cross_entropy(LOGITS, LABELS, 0.5, 2.0)),
            ({"loss": "forward"}, cross_entropy(LOGITS, LABELS)),  # nothing is known of the labels yet
        ],
    )
    def test_it_is_the_one_that_the_settings_name(self, changes, expected):
        assert torch.equal(noisy_loss(Settings(**changes), {}, INDEX)(LOGITS, LABELS), expected)

    def test_forward_correction_uses_the_matrix_that_is_remembered(self):
        matrix = torch.full((3, 3), 0.2) + 0.4 * torch.eye(3)
        found = noisy_loss(Settings(loss="forward"), {"transition_matrix": matrix}, INDEX)(LOGITS, LABELS)
        assert torch.equal(found, forward_cross_entropy(LOGITS, LABELS, matrix))

    def test_early_learning_adds_its_term_with_the_targets_of_these_samples(self):
        memory = {TARGETS: torch.rand(9, K, generator=torch.Generator().manual_seed(0)) / 3}
        settings = Settings(loss="elr", elr_weight=2.0, elr_momentum=0.6)
        before = memory[TARGETS].clone()
        remember(settings, memory, INDEX, LOGITS)
        targets = early_learning_targets(before[INDEX], LOGITS, 0.6)
        others = torch.ones(9, dtype=torch.bool).index_fill(0, INDEX, False)
        assert torch.equal(memory[TARGETS][INDEX], targets)
        assert torch.equal(memory[TARGETS][others], before[others])
        expected = cross_entropy(LOGITS, LABELS) + 2 * early_learning_regularization(LOGITS, targets)
        torch.testing.assert_close(noisy_loss(settings, memory, INDEX)(LOGITS, LABELS), expected)

    def test_only_early_learning_remembers_samples(self, device):
        batches, _ = blobs(device)
        assert [name for name in ("cross_entropy", "smoothed", "forward", "gce", "sce", "elr")
                if first_memory(Settings(loss=name), batches, K)] == ["elr"]  # fmt: skip


@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_targets_move_once_a_step_whatever_the_loss_is_mixed_of(device, mixup, alpha):
    batches, _ = blobs(device)
    settings = QUICK.replace(loss="elr", elr_momentum=0.5, mixup=mixup, alpha=alpha)
    network, memory = network_for(batches), first_memory(settings, batches, K)
    correction = correct(network, batches, settings, 0)
    batch = next(batches.in_order())
    answer = batch_losses(network, batch, mix_batch(batch, settings, 0, 0), correction, settings, memory)
    expected = early_learning_targets(torch.zeros_like(answer.logits), answer.logits, 0.5)
    torch.testing.assert_close(memory[TARGETS][batch.index], expected)


def test_forward_correction_begins_when_correction_does(device):
    """From there on with the matrix estimated by the network as it was then, with alpha = 0 too."""
    seen = []

    class Spy(Keeper):
        def keep(self, state):
            seen.append(state.memory.get("transition_matrix"))
            if len(seen) == 2:
                network = copy.deepcopy(state.network).eval()
                with torch.no_grad():
                    probabilities = network(batches.images)[0].softmax(dim=1)
                torch.testing.assert_close(seen[-1], estimated_transition_matrix(probabilities))

    def history(**changes):
        return fit(network_for(batches), batches, batches, QUICK.replace(alpha=0.0, **changes), keeper=Spy()).history

    batches, _ = blobs(device)
    forward, plain = history(loss="forward"), history()
    assert seen[0] is None
    assert all(found is seen[1] for found in seen[1:4])
    assert [without_times(r) for r in forward[:2]] == [without_times(r) for r in plain[:2]]
    assert forward[2].loss != plain[2].loss


class TestMixup:
    settings = Settings(mixup=0.3, seed=5)

    def batch(self, images):
        return Batch(images, torch.arange(len(images)) % K, torch.arange(len(images)) + 100)

    @pytest.mark.parametrize("kind", ["uint8 images", "points"])
    def test_images_are_the_mixture(self, kind):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(6, 2, generator=generator)
        if kind == "uint8 images":
            images = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=generator)
        before = images.clone()
        mixed, partner, share = mix_batch(self.batch(images), self.settings, 2, 3)
        assert 0.5 <= share <= 1
        assert sorted(partner.tolist()) == [*range(6)]
        assert mixed.dtype == torch.float32
        for i in range(6):
            expected = share * images[i].double() + (1 - share) * images[partner[i]].double()
            torch.testing.assert_close(mixed[i].double(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(images, before)

    def test_the_draw_hangs_on_epoch_and_step_alone(self):
        def draw(epoch, step, settings=self.settings):
            _, partner, share = mix_batch(self.batch(torch.randn(40, 2)), settings, epoch, step)
            return share, partner.tolist()

        expected = draw(2, 3)
        torch.manual_seed(1)
        assert draw(0, 0) != expected
        assert draw(2, 3) == expected
        assert len({draw(*which)[0] for which in ((2, 3), (2, 4), (3, 3))}) == 3
        assert draw(2, 3, self.settings.replace(seed=6)) != expected

    def test_shares_spread_as_the_beta_distribution_says(self):
        """max(b, 1 - b) of a uniform b has the mean 3/4; of b near 0 or 1 it is near 1."""

        def mean(a):
            settings = Settings(mixup=a)
            return sum(mix_batch(self.batch(torch.zeros(2, 1)), settings, 0, i).share for i in range(300)) / 300

        assert mean(1.0) == pytest.approx(0.75, abs=0.05)
        assert mean(0.01) > 0.97
        assert mean(100.0) < 0.6

    def test_off_leaves_the_batch_as_it_is(self):
        batch = self.batch(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
        seen = mix_batch(batch, Settings(), 0, 0)
        assert seen.images is batch.images
        assert (seen.partner, seen.share) == (None, 1.0)

    @pytest.mark.parametrize("soft", [False, True])
    def test_the_loss_is_mixed_likewise(self, device, soft):
        batches, _ = blobs(device)
        network, settings = network_for(batches), QUICK.replace(mixup=1.0, soft_temperature=0.1 * soft)
        correction, batch = correct(network, batches, settings, 0), next(batches.in_order())
        seen = mix_batch(batch, settings, 1, 1)
        found = batch_losses(network, batch, seen, correction, settings, {})
        logits, corrected, expected = network(seen.images)[0], correction.of(batch.index), 0.0
        for i in range(16):
            for j, weight in ((i, seen.share), (int(seen.partner[i]), 1 - seen.share)):
                one = cross_entropy(logits[i], batch.noisy_labels[j])
                expected += weight * (0.5 * one + 0.5 * cross_entropy(logits[i], corrected[j])) / 16
        torch.testing.assert_close(found.loss, expected)
        torch.testing.assert_close(found.parts[1], cross_entropy(logits, batch.noisy_labels).double())

    def test_each_step_of_a_run_sees_its_own_mixture(self, device, monkeypatch):
        batches, _ = blobs(device)
        seen = []
        monkeypatch.setattr(loop, "mix_batch", lambda *a: seen.append((a[2:], mix_batch(*a))) or seen[-1][1])
        fit(network_for(batches), batches, batches, QUICK.replace(epochs=2, mixup=0.5))
        assert [which for which, _ in seen] == [(epoch, step) for epoch in (0, 1) for step in range(6)]
        assert len({mixture.share for _, mixture in seen}) == 12

    def test_the_network_is_given_the_mixture(self, device):
        batches, _ = blobs(device)
        network, given = network_for(batches), []
        network.register_forward_pre_hook(lambda module, args: given.append(args[0]))
        seen = Mixture(torch.full((16, 2), 7.0, device=device), torch.arange(16), 0.9)
        batch_losses(network, next(batches.in_order()), seen, None, QUICK, {})
        assert torch.equal(given[0], seen.images)


class TestAveragedWeights:
    settings = QUICK.replace(network="small_cnn", averaged_weights=0.8)

    def images(self, device):
        images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        batches = InMemoryBatches(images, torch.arange(40) % K, batch_size=16, device=device)
        network = build_network(
            "small_cnn", images=images, num_classes=K, width=4, generator=torch.Generator().manual_seed(1)
        )
        return batches, network.to(device)

    def test_they_are_the_moving_average_of_every_step_statistics_included(self, device, monkeypatch):
        batches, network = self.images(device)
        averaged = averaged_weights(network, self.settings)
        kept, optimizer = [], make_optimizer(network, self.settings)[0]
        optimizer.register_step_post_hook(lambda *a: kept.append(copy.deepcopy(network.state_dict())))
        for epoch in range(2):
            train_epoch(network, batches, None, optimizer, self.settings, epoch, averaged=averaged)
        assert len(kept) == 6
        for name, found in averaged.module.state_dict().items():
            if found.is_floating_point():
                expected = kept[0][name].double()  # the first step has nothing before it
                for state in kept[1:]:
                    expected = 0.8 * expected + 0.2 * state[name].double()
                torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(averaged.module.head.weight, network.head.weight)

    def test_they_do_not_disturb_the_training(self, device):
        losses = []
        for decay in (0.0, 0.8):
            batches, network = self.images(device)
            settings = self.settings.replace(averaged_weights=decay, alpha=0.0)
            losses.append([record.loss for record in fit(network, batches, batches, settings).history])
        assert losses[0] == losses[1]

    def test_the_network_left_behind_holds_them_and_scored_the_last_record(self, device):
        class Spy(Keeper):
            def keep(self, state):
                self.state = state

        (batches, network), spy = self.images(device), Spy()
        result = fit(network, batches, batches, self.settings, keeper=spy)
        averaged = spy.state.averaged.module.state_dict()
        assert all(torch.equal(found, averaged[name]) for name, found in network.state_dict().items())
        assert result.history[-1].test_accuracy == evaluate(network, batches)

    def test_labels_are_corrected_by_them(self, device, monkeypatch):
        batches, network = self.images(device)
        looked = []
        monkeypatch.setattr(loop, "correct", lambda which, *a, **k: looked.append(which) or correct(which, *a, **k))
        fit(network, batches, batches, self.settings)
        assert len(looked) == 3
        assert all(which is not network for which in looked)

    def test_nobody_asked_nobody_has_them(self, device):
        assert averaged_weights(self.images(device)[1], QUICK) is None
