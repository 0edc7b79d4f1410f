"""Algorithm 1: labels follow the index, corrections come when due, callbacks and options act as they say."""

import copy
from dataclasses import asdict
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.batches import Batch, InMemoryBatches, training_order
from dsl_teach.seeds import stream
from dsl_teach.training import losses
from dsl_teach.training.correction import correct
from dsl_teach.training.evaluation import embed, evaluate, predict
from dsl_teach.training.loop import batch_losses, begin, fit, noisy_loss, train_epoch, training_figures
from dsl_teach.training.networks import build_network
from dsl_teach.training.records import STREAMED, TARGETS, Callback, Pass
from dsl_teach.training.runs import make_batches

N, K = 90, 3
QUICK = Settings(epochs=4, correction_start=2, width=4, p=3, m=20, batch_size=16, network="mlp")  # 6 steps an epoch


def blobs(device, *, batch_size=16, balanced=False):
    """Three blobs in the plane; every fifth label is wrong."""
    generator = torch.Generator().manual_seed(0)
    clean_labels = torch.arange(N) % K
    centres = torch.tensor([[3.0, 0], [-2, 2], [-2, -2]])
    points = centres[clean_labels] + torch.randn(N, 2, generator=generator)
    noisy_labels = torch.where(torch.arange(N) % 5 == 0, (clean_labels + 1) % K, clean_labels)
    batches = InMemoryBatches(points, noisy_labels, batch_size=batch_size, device=device, balanced=balanced)
    return batches, clean_labels.to(device)


def pictures(device):
    """Forty images of noise, for networks with batch norm."""
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batches = InMemoryBatches(images, torch.arange(40) % K, batch_size=16, device=device)
    return batches, network_for(batches, QUICK.replace(network="small_cnn"))


def network_for(batches, settings=QUICK):
    how = {"num_classes": K, "width": settings.width, "generator": stream(settings.seed, "weights")}
    return build_network(settings.network, images=batches.images.cpu(), **how).to(batches.images.device)


def fitted(device, *, batch_size=16, callbacks=(), correct=correct, **changes):
    """What a run on the blobs comes to, and its network."""
    settings = QUICK.replace(batch_size=batch_size, **changes)
    batches, clean_labels = blobs(device, batch_size=batch_size, balanced=settings.balanced_sampling)
    network = network_for(batches, settings)
    how = {"clean_labels": clean_labels, "correct": correct, "callbacks": callbacks}
    return fit(network, batches, batches, settings, **how), network


def without_times(record):
    return {name: value for name, value in asdict(record).items() if not name.startswith("seconds")}


def assert_same_weights(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class TestIndex:
    """Labels belong to samples, whatever the order of batches."""

    def in_another_order(self, batches, seed):
        class OtherOrder(InMemoryBatches):
            def in_order(self):
                order = torch.randperm(N, generator=torch.Generator().manual_seed(seed)).to(self.images.device)
                for index in order.split([1, 30, 7, N - 38]):
                    yield Batch(self.images[index], self.noisy_labels[index], index)

        return OtherOrder(batches.images, batches.noisy_labels, batch_size=16, device=batches.images.device)

    def test_corrected_labels_do_not_depend_on_the_order_or_size_of_batches(self, device):
        batches, _ = blobs(device)
        network = network_for(batches)
        expected = correct(network, batches, QUICK, 2).labels
        assert not torch.equal(expected, batches.noisy_labels)
        others = [self.in_another_order(batches, 1), self.in_another_order(batches, 2), blobs(device, batch_size=7)[0]]
        for other in others:
            assert torch.equal(correct(network, other, QUICK, 2).labels, expected)

    @pytest.mark.parametrize("batch_size", [16, 90, 1])
    @pytest.mark.parametrize("alpha", [1.0, 0.5])
    def test_uncorrected_labels_as_corrected_ones_give_cross_entropy_back(self, device, alpha, batch_size):
        """Fails if corrected labels are kept by the place in the batch: training shuffles, the labels must follow."""

        def unchanged(network, train, settings, epoch, **rest):
            done = correct(network, train, settings, epoch)
            done.labels[:] = train.noisy_labels
            return done

        how = {"batch_size": batch_size, "learning_rate": 0.01}
        smp = fitted(device, correct=unchanged, alpha=alpha, **how)[1]
        plain = fitted(device, alpha=0.0, **how)[1]
        for a, b in zip(smp.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0 if alpha == 1 else 1e-3, atol=0 if alpha == 1 else 1e-5)


def test_evaluation_leaves_the_network_as_it_was_and_says_what_it_says(device):
    batches, network = pictures(device)
    before = copy.deepcopy(network.train().state_dict())
    embeddings, predicted = embed(network, batches), predict(network, batches)
    assert network.training
    assert not embeddings.requires_grad
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    expected = network.eval()(batches.images)[0].argmax(dim=1)
    assert torch.equal(predicted, expected)
    assert evaluate(network, batches) == pytest.approx(float((expected == batches.noisy_labels).double().mean()))
    with pytest.raises(ValueError, match="empty"):
        embed(network, InMemoryBatches(batches.images[:0], batches.noisy_labels[:0], batch_size=4, device=device))


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_fit_equals_a_bare_loop(device, alpha):
    settings = QUICK.replace(alpha=alpha, epochs=3, correction_start=1, learning_rate_drop=2)
    batches, _ = blobs(device)
    network, bare = network_for(batches), network_for(batches)
    result = fit(network, batches, batches, settings)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.05 if epoch < 2 else 0.005
        weight = alpha if epoch >= 1 else 0.0
        corrected = correct(bare, batches, settings, epoch).labels if weight else batches.noisy_labels
        for index in torch.randperm(N, generator=stream(0, "shuffle", epoch)).split(16):
            index = index.to(device)
            logits, _ = bare(batches.images[index])
            loss = (1 - weight) * cross_entropy(logits, batches.noisy_labels[index])
            loss = loss + weight * cross_entropy(logits, corrected[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for a, b in zip(network.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert not alpha or torch.equal(result.correction.labels, correct(bare, batches, settings, 3).labels)


def test_a_seed_gives_the_same_run_twice(device):
    (one, weights), (same, same_weights), (other, _) = (fitted(device, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.correction.labels, same.correction.labels)
    assert [without_times(r) for r in one.history] == [without_times(r) for r in same.history]
    assert_same_weights(weights, same_weights)
    assert one.history[-1].loss != other.history[-1].loss


@pytest.mark.parametrize("changes", [{}, {"correction_mode": "streamed"}])
def test_until_the_first_correction_smp_is_cross_entropy(device, changes):
    smp, plain = (fitted(device, **how)[0].history for how in (changes, {"alpha": 0.0}))
    assert [r.alpha for r in smp] == [0, 0, 0.5, 0.5]
    assert [without_times(r) for r in smp[:2]] == [without_times(r) for r in plain[:2]]
    assert smp[2].loss != plain[2].loss
    assert all(r.changed is None for r in plain)


@pytest.mark.parametrize(("start", "due"), [(2, [2, 3, 4]), (0, [0, 1, 2, 3, 4]), (4, [4]), (9, [])])
def test_any_function_may_correct_and_is_called_when_due(device, start, due):
    calls, made = [], []

    def mine(network, train, settings, epoch, *, before, memory, clean_labels):
        assert torch.equal(clean_labels, blobs(device)[1])
        calls.append((epoch, before, memory.get("last")))
        memory["last"] = torch.tensor(epoch)
        made.append(correct(network, train, settings, epoch))
        return made[-1]

    result, _ = fitted(device, correct=mine, correction_start=start)
    assert calls == [*zip(due, [None, *made], [None, *due], strict=False)]
    assert result.correction is (made[-1] if made else None)
    assert [r.changed is not None for r in result.history] == [epoch >= start for epoch in range(4)]


def test_callbacks_are_called_in_order_and_see_how_far_training_is(device):
    events, lengths = [], []

    def note(name, moment, state, *batch):
        events.append((name, moment, state.progress))
        if batch:
            lengths.append(tuple(len(rows) for rows in (batch[0].index, batch[1])))
        else:
            assert len(state.history) == state.epoch == state.progress
            assert moment != "on_train_end" or state.correction.epoch == 2

    recorders = {"one": Callback(), "other": Callback()}
    for name, recorder in recorders.items():
        for moment in ("on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end"):
            setattr(recorder, moment, partial(note, name, moment))
    fitted(device, epochs=2, callbacks=[*recorders.values()])
    moments = [("on_train_begin", 0)]
    for epoch in range(2):
        moments += [("on_batch_end", epoch + step / 6) for step in range(1, 7)] + [("on_epoch_end", epoch + 1)]
    moments.append(("on_train_end", 2))
    assert events == [(name, *moment) for moment in moments for name in ("one", "other")]
    assert lengths == ([(16, 16)] * 10 + [(10, 10)] * 2) * 2


def test_records_add_up(device):
    history = fitted(device)[0].history
    for r in history[2:]:
        assert r.loss == pytest.approx(0.5 * r.loss_noisy + 0.5 * r.loss_corrected, rel=1e-5)
        assert r.label_accuracy == pytest.approx(0.8 + r.wrong_to_right - r.right_to_wrong)
        assert 0 < r.chance_changed < 1
    assert history[0].loss_corrected is None
    assert [r.seconds_correction > 0 for r in history] == [False, False, True, True]


def test_training_that_diverges_says_what_to_lower(device):
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        fitted(device, learning_rate=1e30)


@pytest.mark.parametrize("empty", [False, True])
def test_a_class_too_small_for_the_settings_is_refused_before_any_step(device, empty):
    batches, _ = blobs(device)
    if empty:
        batches.noisy_labels[batches.noisy_labels == K - 1] = 0
    batches.shuffled = lambda *a, **k: pytest.fail("it trained all the same")
    with pytest.raises(ValueError, match=r"^small_class .*Lower m"):
        fit(network_for(batches), batches, batches, QUICK.replace(small_class="error", m=20 if empty else 40))


class TestStreamed:
    """Embeddings gathered in training, by index, and nothing run twice."""

    def test_gathered_embeddings_are_those_of_their_samples(self, device):
        """With a learning rate of next to nothing the weights stand still, so both ways must agree."""
        settings = QUICK.replace(correction_mode="streamed", correction_start=1, learning_rate=1e-12)
        batches, _ = blobs(device)
        state = begin(network_for(batches), batches, settings)
        train_epoch(state, batches, settings)
        torch.testing.assert_close(state.memory[STREAMED], embed(state.network, batches))
        streamed, exact = (correct(state.network, batches, settings, 1, memory=memory) for memory in (state.memory, {}))
        assert torch.equal(streamed.labels, exact.labels)
        assert STREAMED not in state.memory

    @pytest.mark.parametrize(("changes", "passes"), [
        ({}, 3), ({"correction_mode": "streamed"}, 0), ({"correction_mode": "streamed", "correction_start": 0}, 1),
    ])  # fmt: skip
    def test_a_correction_needs_a_pass_only_where_nothing_is_gathered(self, device, changes, passes):
        train, _ = blobs(device)
        seen, in_order = [], train.in_order
        train.in_order = lambda: seen.append(None) or in_order()
        fit(network_for(train), train, blobs(device)[0], QUICK.replace(**changes))
        assert len(seen) == passes


INDEX, LABELS = torch.tensor([4, 0, 7]), torch.tensor([0, 2, 1])
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.3, 0.2], [-1.0, 3.0, 0.0]])
MEMORY = {TARGETS: torch.rand(9, K, generator=torch.Generator().manual_seed(0)) / 3}


class TestNoisyLoss:
    @pytest.mark.parametrize(
        ("changes", "memory", "expected"),
        [
            ({}, {}, cross_entropy),
            ({"loss": "smoothed", "smoothing": 0.2}, {}, partial(losses.smoothed_cross_entropy, smoothing=0.2)),
            ({"loss": "gce", "gce_q": 0.4}, {}, partial(losses.generalized_cross_entropy, q=0.4)),
            (
                {"loss": "elr", "elr_weight": 2.0}, MEMORY,
                lambda logits, y: cross_entropy(logits, y)
                + 2 * losses.early_learning_regularization(logits, MEMORY[TARGETS][INDEX]),
            ),
        ],
    )  # fmt: skip
    def test_it_is_the_one_that_the_settings_name(self, changes, memory, expected):
        found = noisy_loss(Settings(**changes), memory, INDEX)(LOGITS, LABELS)
        torch.testing.assert_close(found, expected(LOGITS, LABELS))

    @pytest.mark.parametrize("mixup", [0.0, 0.4])
    @pytest.mark.parametrize("alpha", [0.5, 1.0])
    def test_targets_of_early_learning_move_once_a_step_whatever_the_loss_is_mixed_of(self, device, mixup, alpha):
        batches, _ = blobs(device)
        settings = QUICK.replace(loss="elr", elr_momentum=0.5, mixup=mixup, alpha=alpha)
        state, batch = begin(network_for(batches), batches, settings), next(batches.in_order())
        state.correction = correct(state.network, batches, settings, 0)
        _, logits, _, _ = batch_losses(state, batch, settings)
        expected = torch.zeros(N, K, device=device)
        expected[batch.index] = losses.early_learning_targets(torch.zeros_like(logits), logits, 0.5)
        torch.testing.assert_close(state.memory[TARGETS], expected)


class TestMixup:
    def test_the_loss_is_mixed_as_the_images_are(self, device, monkeypatch):
        settings = QUICK.replace(mixup=1.0)
        drawn, given, draw = [], [], losses.mixup
        monkeypatch.setattr(losses, "mixup", lambda *a: drawn.append(draw(*a)) or drawn[-1])
        batches, _ = blobs(device)
        state, batch = begin(network_for(batches), batches, settings), next(batches.in_order())
        state.correction = correct(state.network, batches, settings, 0)
        state.network.register_forward_pre_hook(lambda module, args: given.append(args[0]))
        loss, logits, _, parts = batch_losses(state, batch, settings)
        [(images, partner, share)], expected = drawn, 0.0
        corrected = state.correction.labels[batch.index]
        for i in range(16):
            for j, weight in ((i, share), (int(partner[i]), 1 - share)):
                one = cross_entropy(logits[i], batch.noisy_labels[j])
                expected += weight * (0.5 * one + 0.5 * cross_entropy(logits[i], corrected[j])) / 16
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(parts[1], cross_entropy(logits, batch.noisy_labels).double())
        assert torch.equal(given[0], images)

    def test_each_step_of_a_run_sees_its_own_mixture_which_hangs_on_seed_epoch_and_step(self, device, monkeypatch):
        seen, draw = [], losses.mixup
        monkeypatch.setattr(losses, "mixup", lambda *a: seen.append(draw(*a)) or seen[-1])
        for seed in (0, 0, 1):
            torch.manual_seed(len(seen))
            fitted(device, epochs=2, mixup=0.5, seed=seed)
        shares = [share for _, _, share in seen]
        assert len(shares) == 36
        assert shares[:12] == shares[12:24]
        assert len(set(shares)) == 24


class TestAveragedWeights:
    settings = QUICK.replace(network="small_cnn", averaged_weights=0.8)

    def test_they_are_the_moving_average_of_every_step_statistics_included(self, device):
        batches, network = pictures(device)
        kept = []

        class Spy(Callback):
            def on_train_begin(self, state):
                state.optimizer.register_step_post_hook(lambda *a: kept.append(copy.deepcopy(network.state_dict())))

        result = fit(network, batches, batches, self.settings.replace(alpha=0.0, epochs=2), callbacks=[Spy()])
        assert len(kept) == 6
        for name, found in network.state_dict().items():  # what is left behind
            if found.is_floating_point():
                expected = kept[0][name].double()  # the first step has nothing before it
                for weights in kept[1:]:
                    expected = 0.8 * expected + 0.2 * weights[name].double()
                torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(network.head.weight, kept[-1]["head.weight"])
        assert result.history[-1].test_accuracy == evaluate(network, batches)

    def test_they_do_not_disturb_the_training(self, device):
        plain, averaged = (fitted(device, averaged_weights=decay, alpha=0.0)[0].history for decay in (0.0, 0.8))
        assert [record.loss for record in plain] == [record.loss for record in averaged]

    def test_labels_are_corrected_by_them(self, device):
        batches, network = pictures(device)
        looked = []
        fit(network, batches, batches, self.settings, correct=lambda *a, **k: looked.append(a[0]) or correct(*a, **k))
        assert [which is network for which in looked] == [False] * 3


class TestBalanced:
    def test_every_class_and_every_sample_of_a_class_is_drawn_equally_often(self):
        """Within 5 standard deviations of what the binomial distribution expects."""
        sizes = torch.tensor([700, 250, 0, 45, 5])
        labels = torch.arange(5).repeat_interleave(sizes)[torch.randperm(1000, generator=stream(0))]
        drawn = torch.cat([training_order(labels, stream(seed), balanced=True) for seed in range(20)])
        assert torch.equal(drawn[:1000], training_order(labels, stream(0), balanced=True))
        by_class, by_sample = torch.bincount(labels[drawn], minlength=5), torch.bincount(drawn, minlength=1000).double()
        for c in (0, 1, 3, 4):
            each, expected = by_sample[labels == c], 5000 / float(sizes[c])
            assert abs(float(by_class[c]) - 5000) < 5 * (20_000 * 0.25 * 0.75) ** 0.5
            assert (each - expected).abs().max() < 5 * expected**0.5 + 1
        assert by_class[2] == 0

    def test_batches_that_are_not_balanced_are_refused(self, device):
        batches, _ = blobs(device)
        with pytest.raises(ValueError, match="balanced_sampling is on"):
            fit(network_for(batches), batches, batches, QUICK.replace(balanced_sampling=True))

    @pytest.mark.parametrize("balanced", [False, True])
    def test_a_run_draws_as_its_settings_say(self, balanced):
        settings = Settings(dataset="toy_clusters", network="mlp", balanced_sampling=balanced)
        train, test = make_batches(load_dataset(settings), settings, "cpu")
        assert (train.balanced, test.balanced) == (balanced, False)

    def test_figures_leave_out_what_was_not_drawn(self, device):
        predicted = torch.tensor([0, 1, -1, 2, -1, 0])
        noisy, clean = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 2, 0, 0, 0, -1])
        figures = training_figures(Pass(predicted, torch.tensor([6.0, 6.0, 6.0])), noisy, clean, None, QUICK)
        assert figures["train_accuracy"] == 2 / 4  # right: samples 0 and 1 of 0, 1, 3 and 5
        assert figures["memorised"] == 1.0  # of the wrong ones, 1, 2 and 4, only 1 was drawn
        assert figures["loss"] == 1.0
        assert all(0 <= r.train_accuracy <= 1 for r in fitted(device, balanced_sampling=True)[0].history)

    def test_of_a_sample_seen_twice_the_last_answer_counts(self):
        seen = Pass.begin(torch.zeros(4, dtype=torch.int64))
        for index, answers in (([0, 2], [2, 1]), ([2, 1], [0, 1])):
            seen.note(torch.tensor(index), torch.eye(3)[answers], torch.zeros(3, dtype=torch.float64))
        assert seen.answers().tolist() == [2, 1, 0, -1]
