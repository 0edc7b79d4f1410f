"""Balanced draws of training samples: every class equally often, the same draw wherever images live."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from PIL import Image

from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches, OnDiskBatches, training_order
from dsl_teach.data.catalog import load_dataset
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.seeds import stream
from dsl_teach.training.distributed import ALONE
from dsl_teach.training.loop import fit, training_figures
from dsl_teach.training.runs import make_batches
from dsl_teach.training.state import Pass
from tests.test_loop import QUICK, K, blobs, network_for


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@how(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 40))
def test_a_plain_order_takes_every_sample_once(seed, n):
    order = training_order(torch.zeros(n, dtype=torch.int64), generator(seed))
    assert sorted(order.tolist()) == [*range(n)]
    assert torch.equal(order, torch.randperm(n, generator=generator(seed)))


def test_balanced_draws_take_every_class_and_every_sample_of_a_class_equally_often():
    """Within 5 standard deviations of what the binomial distribution expects."""
    sizes = [700, 250, 0, 45, 5]
    labels = torch.arange(5).repeat_interleave(torch.tensor(sizes))[torch.randperm(1000, generator=generator())]
    drawn = torch.cat([training_order(labels, generator(seed), balanced=True) for seed in range(20)])
    assert len(drawn) == 20_000
    by_class = torch.bincount(labels[drawn], minlength=5)
    for c, size in enumerate(sizes):
        if not size:
            assert by_class[c] == 0
            continue
        assert abs(float(by_class[c]) - 5000) < 5 * (20_000 * 0.25 * 0.75) ** 0.5
        each = torch.bincount(drawn, minlength=1000)[labels == c].double()
        assert (each - 5000 / size).abs().max() < 5 * (5000 / size) ** 0.5 + 1


@how(max_examples=25)
@given(st.lists(st.integers(0, 6), max_size=40), st.integers(0, 2**31))
def test_a_seed_says_which_are_drawn_and_all_are_samples(labels, seed):
    labels = torch.tensor(labels, dtype=torch.int64)
    one, same = (training_order(labels, generator(seed), balanced=True) for _ in range(2))
    assert torch.equal(one, same)
    assert len(one) == len(labels)
    assert all(0 <= i < len(labels) for i in one.tolist())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve pictures on disk, ten of them of class 0."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(12):
        pixels = torch.randint(0, 256, (16, 24, 3), dtype=torch.uint8, generator=generator(i))
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    return ImageFiles(folder, tuple(f"{i}.png" for i in range(12))), (torch.arange(12) > 9).long()


def test_images_on_disk_and_in_memory_come_in_the_same_order(pictures):
    files, labels = pictures
    memory = InMemoryBatches(torch.zeros(12, 1, 2, 2, dtype=torch.uint8), labels, batch_size=5, balanced=True)
    disk = OnDiskBatches(files, labels, batch_size=5, short_side=16, crop=8, balanced=True)
    for one, other in zip(memory.shuffled(generator(3)), disk.shuffled(generator(3)), strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.noisy_labels, other.noisy_labels)
        assert torch.equal(labels[one.index], one.noisy_labels)


def test_an_image_drawn_again_is_seen_in_another_view(pictures):
    files, labels = pictures

    def drawn(batch_size, skip=0):
        batches = OnDiskBatches(files, labels, batch_size=batch_size, short_side=16, crop=8, balanced=True)
        parts = list(batches.shuffled(generator(1), skip))
        return torch.cat([part.index for part in parts]), torch.cat([part.images for part in parts])

    index, images = drawn(12)
    views = images[index == index.mode().values]
    assert len(views) >= 3
    assert len(views.flatten(1).unique(dim=0)) > 1
    for batch_size, skip in ((5, 0), (5, 1), (4, 2)):  # whatever the batches, and wherever one goes on
        again, seen = drawn(batch_size, skip)
        assert torch.equal(again, index[skip * batch_size :])
        assert torch.equal(seen, images[skip * batch_size :])


def test_batches_that_are_not_balanced_are_refused(device):
    batches, _ = blobs(device)
    with pytest.raises(ValueError, match="balanced_sampling is on, but the training batches are not balanced"):
        fit(network_for(batches), batches, batches, QUICK.replace(balanced_sampling=True))


@pytest.mark.parametrize("balanced", [False, True])
def test_a_run_draws_as_its_settings_say(balanced):
    settings = Settings(dataset="toy_clusters", network="mlp", balanced_sampling=balanced)
    train, test = make_batches(load_dataset(settings), settings, "cpu")
    assert (train.balanced, test.balanced) == (balanced, False)


def test_training_figures_leave_out_what_was_not_drawn():
    predicted = torch.tensor([0, 1, -1, 2, -1, 0])
    noisy, clean = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 2, 0, 0, 0, -1])
    figures = training_figures(torch.tensor([6.0, 6.0, 6.0]), predicted, noisy, clean, None, QUICK)
    assert figures["train_accuracy"] == 2 / 4  # right: samples 0 and 1 of 0, 1, 3 and 5
    assert figures["memorised"] == 1.0  # of the wrong ones, 1, 2 and 4, only 1 was drawn
    assert figures["loss"] == 1.0
    unseen = training_figures(torch.ones(3), torch.tensor([-1, 0]), noisy[:2], torch.tensor([1, 1]), None, QUICK)
    assert unseen["train_accuracy"] == 0.0


def test_a_balanced_run_sees_rare_classes_as_often_as_common_ones(device):
    plain, clean_labels = blobs(device)
    rare = torch.where(torch.arange(90) % 10 == 0, 2, torch.arange(90) % 2).to(device)  # 9 samples of class 2
    batches = InMemoryBatches(plain.images, rare, batch_size=16, device=device, balanced=True)
    index = torch.cat([batch.index for epoch in range(20) for batch in batches.shuffled(stream(0, "shuffle", epoch))])
    assert torch.bincount(rare[index], minlength=K).min() > 500  # of 1800
    settings = QUICK.replace(balanced_sampling=True)
    history = fit(network_for(batches), batches, batches, settings, clean_labels=clean_labels).history
    assert all(0 <= record.train_accuracy <= 1 for record in history)
    assert history[-1].loss == pytest.approx(0.5 * history[-1].loss_noisy + 0.5 * history[-1].loss_corrected, rel=1e-5)


def test_of_a_sample_seen_twice_the_last_answer_counts():
    seen = Pass.begin(torch.zeros(4, dtype=torch.int64))
    for index, answers in (([0, 2], [2, 1]), ([2, 1], [0, 1])):
        seen.note(torch.tensor(index), torch.eye(3)[answers], torch.zeros(3, dtype=torch.float64))
    assert seen.answers(ALONE).tolist() == [2, 1, 0, -1]
