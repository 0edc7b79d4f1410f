"""The two phases: labels follow the index, networks stay frozen while embedded, seeds repeat."""

from __future__ import annotations

import copy
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, InMemoryBatches, OnDiskBatches
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.seeds import stream
from dsl_teach.training import loop
from dsl_teach.training.loop import Correction, correct, embed, evaluate, fit, make_optimizer, train_epoch
from dsl_teach.training.networks import build_network

N, K = 90, 3
QUICK = Settings(epochs=4, correction_start=2, width=4, p=3, m=20, batch_size=16, network="mlp")


def blobs(device, *, batch_size=16, n=N):
    """Three blobs in the plane; every fifth label is wrong."""
    generator = torch.Generator().manual_seed(0)
    clean_labels = torch.arange(n) % K
    centres = torch.tensor([[3.0, 0], [-2, 2], [-2, -2]])
    points = centres[clean_labels] + torch.randn(n, 2, generator=generator)
    noisy_labels = torch.where(torch.arange(n) % 5 == 0, (clean_labels + 1) % K, clean_labels)
    return InMemoryBatches(points, noisy_labels, batch_size=batch_size, device=device), clean_labels.to(device)


def network_for(batches, settings=QUICK):
    return build_network(
        settings.network,
        images=batches.images.cpu(),
        num_classes=K,
        width=settings.width,
        generator=stream(settings.seed, "weights"),
    ).to(batches.images.device)


class OtherOrder:
    """The same samples, handed out for correction in a shuffled order and in ragged batches."""

    def __init__(self, batches, seed):
        self.batches, self.noisy_labels, self.seed = batches, batches.noisy_labels, seed

    def in_order(self):
        order = torch.randperm(len(self.noisy_labels), generator=torch.Generator().manual_seed(self.seed))
        for index in order.split([1, 30, 7, len(order) - 38]):
            index = index.to(self.noisy_labels.device)
            yield Batch(self.batches.images[index], self.noisy_labels[index], index)


def test_corrected_labels_do_not_depend_on_the_order_or_size_of_batches(device):
    batches, _ = blobs(device)
    network = network_for(batches)
    expected = correct(network, batches, QUICK, epoch=2).labels
    assert not torch.equal(expected, batches.noisy_labels)
    for other in (OtherOrder(batches, 1), OtherOrder(batches, 2), blobs(device, batch_size=7)[0]):
        assert torch.equal(correct(network, other, QUICK, epoch=2).labels, expected)


@pytest.mark.parametrize("batch_size", [16, 90, 1])
def test_each_sample_is_trained_on_its_own_corrected_label(device, monkeypatch, batch_size):
    """Fails if corrected labels are kept by the place in the batch: training shuffles, the labels must follow."""
    batches, _ = blobs(device, batch_size=batch_size)
    network = network_for(batches)
    correction = correct(network, batches, QUICK, epoch=0)
    marked = torch.arange(N, device=device) % 2  # a pattern no shuffled batch repeats
    correction = Correction(marked, correction.prototypes, correction.report, 0.0)
    batches.noisy_labels = marked.clone()
    pairs = []

    def spy(logits, noisy_labels, corrected_labels, alpha, **kwargs):
        pairs.append((noisy_labels, corrected_labels))
        return cross_entropy(logits, noisy_labels)

    monkeypatch.setattr(loop, "self_learning_loss", spy)
    train_epoch(network, batches, correction, make_optimizer(network, QUICK)[0], QUICK, 0)
    assert sum(len(noisy) for noisy, _ in pairs) == N
    assert all(torch.equal(noisy, corrected) for noisy, corrected in pairs)


def test_shuffling_of_training_differs_from_epoch_to_epoch(device):
    batches, _ = blobs(device)
    orders = [torch.cat([batch.index for batch in batches.shuffled(stream(0, "shuffle", e))]) for e in (0, 1, 0)]
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0].sort().values, torch.arange(N, device=device))


def test_the_network_is_frozen_while_it_embeds(device):
    settings = QUICK.replace(network="small_cnn")
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batches = InMemoryBatches(images, torch.arange(40) % K, batch_size=16, device=device)
    network = network_for(batches, settings).train()
    before = copy.deepcopy(network.state_dict())
    embeddings = embed(network, batches)
    assert network.training
    assert not embeddings.requires_grad
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(embeddings, embed(network, batches))  # batch statistics would change between two passes


def test_a_seed_gives_the_same_run_twice(device):
    def run(seed):
        batches, clean_labels = blobs(device)
        settings = QUICK.replace(seed=seed)
        network = network_for(batches, settings)
        result = fit(network, batches, batches, settings, clean_labels=clean_labels)
        return result, network

    (one, weights), (same, same_weights), (other, _) = run(1), run(1), run(2)
    assert torch.equal(one.correction.labels, same.correction.labels)
    assert [without_times(r) for r in one.history] == [without_times(r) for r in same.history]
    assert all(torch.equal(a, b) for a, b in zip(weights.parameters(), same_weights.parameters(), strict=True))
    assert one.history[-1].loss != other.history[-1].loss


def without_times(record):
    return {name: value for name, value in asdict(record).items() if not name.startswith("seconds")}


def test_until_the_first_correction_smp_is_cross_entropy(device):
    def history(settings):
        batches, clean_labels = blobs(device)
        return fit(network_for(batches), batches, batches, settings, clean_labels=clean_labels).history

    smp, plain = history(QUICK), history(QUICK.replace(alpha=0.0))
    assert [r.alpha for r in smp] == [0, 0, 0.5, 0.5]
    assert [without_times(r) for r in smp[:2]] == [without_times(r) for r in plain[:2]]
    assert smp[2].loss != plain[2].loss
    assert all(r.changed is None for r in plain)


def test_uncorrected_labels_in_place_of_corrected_ones_give_cross_entropy_back(device, monkeypatch):
    def weights(settings):
        batches, _ = blobs(device)
        network = network_for(batches)
        fit(network, batches, batches, settings)
        return list(network.parameters())

    plain = weights(QUICK.replace(alpha=0.0))
    monkeypatch.setattr(correction, "labels_from", lambda scores, noisy_labels, settings: (noisy_labels, None))
    for a, b in zip(weights(QUICK), plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_fit_without_correction_equals_a_bare_loop(device):
    settings = QUICK.replace(alpha=0.0, epochs=3, learning_rate_drop=2)
    batches, _ = blobs(device)
    network, bare = network_for(batches), network_for(batches)
    fit(network, batches, batches, settings)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.05 if epoch < 2 else 0.005
        for index in torch.randperm(N, generator=stream(0, "shuffle", epoch)).split(16):
            index = index.to(device)
            loss = cross_entropy(bare(batches.images[index])[0], batches.noisy_labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for a, b in zip(network.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_correction_from_the_start_comes_before_the_first_epoch(device):
    batches, clean_labels = blobs(device)
    result = fit(network_for(batches), batches, batches, QUICK.replace(correction_start=0), clean_labels=clean_labels)
    assert all(r.changed is not None for r in result.history)


def test_records_add_up(device):
    batches, clean_labels = blobs(device)
    seen = []
    result = fit(network_for(batches), batches, batches, QUICK, clean_labels=clean_labels, on_epoch=seen.append)
    assert seen == result.history
    for r in result.history[2:]:
        assert r.loss == pytest.approx(0.5 * r.loss_noisy + 0.5 * r.loss_corrected, rel=1e-5)
        assert r.label_accuracy == pytest.approx(0.8 + r.wrong_to_right - r.right_to_wrong)
        assert 0 < r.chance_changed < 1
    assert result.history[0].loss_corrected is None


def test_correction_mends_more_than_it_spoils_on_separable_blobs(device):
    batches, clean_labels = blobs(device)
    settings = QUICK.replace(epochs=8, correction_start=4, width=16)
    report = fit(
        network_for(batches, settings), batches, batches, settings, clean_labels=clean_labels
    ).correction.report
    assert report.noisy_accuracy == pytest.approx(0.8)
    assert report.label_accuracy > 0.9


def test_evaluation_by_hand(device):
    batches, _ = blobs(device)
    network = network_for(batches)
    predicted = network(batches.images)[0].argmax(dim=1)
    assert evaluate(network, batches) == pytest.approx(float((predicted == batches.noisy_labels).double().mean()))


def test_training_that_diverges_says_what_to_lower(device):
    batches, _ = blobs(device)
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        fit(network_for(batches), batches, batches, QUICK.replace(learning_rate=1e30))


def test_weights_follow_from_the_generator_alone():
    images = torch.randn(10, 2)
    torch.manual_seed(0)
    one = build_network("mlp", images=images, num_classes=3, width=4, generator=stream(5, "weights"))
    before = torch.random.get_rng_state()
    torch.manual_seed(1)
    same = build_network("mlp", images=images, num_classes=3, width=4, generator=stream(5, "weights"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    torch.manual_seed(0)
    assert torch.equal(torch.random.get_rng_state(), before)  # nobody drew from the global generator


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="network must be one of small_cnn, strided_cnn, mlp"):
        build_network("vgg", images=torch.randn(4, 2), num_classes=2, width=4, generator=stream(0))


@pytest.fixture(scope="module")
def image_files(tmp_path_factory):
    """Sixty small pictures on disk: a bright corner says the class, the rest is noise."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(60):
        pixels = random.integers(0, 120, (40, 40, 3), dtype=np.uint8)
        pixels[20 * (i % 3 == 1) :, 20 * (i % 3 == 2) :][:20, :20] = 230
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return ImageFiles(folder, tuple(f"{i:02d}.png" for i in range(60)))


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 60), (1, 16), (2, 16), (2, 7)])
def test_corrected_labels_do_not_depend_on_the_number_of_workers(image_files, workers, batch_size):
    def corrected(workers, batch_size):
        def batches(size):
            noisy_labels = torch.arange(60) // 2 % 3
            return OnDiskBatches(image_files, noisy_labels, batch_size=size, workers=workers, short_side=32, crop=28)

        settings = QUICK.replace(epochs=2, correction_start=1)
        images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
        images[0] = 255
        network = build_network("small_cnn", images=images, num_classes=3, width=4, generator=stream(0))
        # training depends on the size of its batches, correction must not
        train_epoch(network, batches(16), None, make_optimizer(network, settings)[0], settings, 0)
        return correct(network, batches(batch_size), settings, epoch=1).labels

    labels = corrected(workers, batch_size)
    assert torch.equal(labels, corrected(0, 16))
    assert len(labels.unique()) > 1
