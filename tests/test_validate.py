"""What comes in: arrays and lists count as tensors, and numbers that mean nothing are refused by name."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from dsl_teach import metrics, noise
from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.prototypes import (
    class_scores,
    correct_labels,
    cosine_similarity,
    density,
    eta,
    label_margin,
    sample_by_class,
    select_prototypes,
    similarity_threshold,
)
from dsl_teach.prototypes.variants import neighbour_scores, ridge_head
from dsl_teach.training import losses
from dsl_teach.training.distributed import process_group
from dsl_teach.training.loop import fit
from dsl_teach.training.networks import build_network
from dsl_teach.training.runs import run
from tests.run_driver import SETTINGS, samples

ROWS, LABELS = torch.eye(6, dtype=torch.float64), torch.arange(6) % 3
NAN, INF = math.nan, math.inf
FOUND = select_prototypes(ROWS, LABELS, num_classes=3, p=1, m=2)
CALLS = {
    "cosine_similarity": (cosine_similarity, ROWS),
    "similarity_threshold": (similarity_threshold, ROWS),
    "density": (lambda x: density(x, 0.5), ROWS),
    "eta": (eta, ROWS, LABELS),
    "sample_by_class": (lambda y: sample_by_class(y, num_classes=3, m=1)[2], LABELS),
    "select_prototypes": (lambda x, y: select_prototypes(x, y, num_classes=3, p=1, m=2).index, ROWS, LABELS),
    "class_scores": (lambda x: class_scores(x, FOUND), ROWS),
    "correct_labels": (lambda x, y: correct_labels(x, FOUND, y), ROWS, LABELS),
    "label_margin": (label_margin, ROWS[:, :3], LABELS),
    "accuracy": (metrics.accuracy, LABELS, LABELS),
    "correction_report": (lambda *y: vars(metrics.correction_report(*y, num_classes=3)), LABELS, LABELS, LABELS),
    "noise_report": (lambda x, y: noise.noise_report(x, y, 3).counts, LABELS, LABELS),
    "symmetric_noise": (lambda y: noise.symmetric_noise(y, 0.3, num_classes=3).noisy_labels, LABELS),
    "instance_dependent_noise": (
        lambda x, y: noise.instance_dependent_noise(x, y, 0.3).noisy_labels, torch.full((6, 3), 1 / 3).double(), LABELS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_arrays_of_any_kind_and_lists_give_what_tensors_give(name):
    function, *tensors = CALLS[name]
    expected = function(*tensors)
    reversed_bytes = [x.numpy().astype(x.numpy().dtype.newbyteorder()) for x in tensors]
    read_only = [np.broadcast_to(x.numpy(), x.shape) for x in tensors]
    small = [x.numpy() if x.is_floating_point() else x.numpy().astype(np.int16) for x in tensors]
    for other in (reversed_bytes, read_only, small, [x.tolist() for x in tensors]):
        found = function(*other)
        assert torch.equal(found, expected) if isinstance(expected, torch.Tensor) else found == expected


def select(labels=LABELS, **settings):
    return select_prototypes(ROWS, labels, num_classes=3, **{"p": 1, **settings})


def confused(probabilities, **settings):
    return noise.instance_dependent_noise(probabilities, LABELS, 0.2, **settings)


BAD = ROWS.clone().index_fill_(0, torch.tensor([1]), NAN)
LOGITS = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        *((lambda x=x: losses.self_learning_loss(LOGITS, LABELS[:2], LABELS[:2], x), "alpha must") for x in (5, NAN)),
        (lambda: losses.self_learning_loss(LOGITS, torch.tensor([0, 1, -100])), r"noisy_labels must lie in 0 \.\. 1"),
        (lambda: losses.self_learning_loss(LOGITS, LABELS[:3] % 2, LABELS[:3] - 100, 0.5), "corrected_labels must"),
        (lambda: losses.self_learning_loss(LOGITS, LABELS[:3] % 2, LOGITS[:, :1], 0.5), "corrected_labels must"),
        (lambda: losses.smoothed_cross_entropy(LOGITS, LABELS[:3] - 100), "noisy_labels must lie"),
        (lambda: losses.smoothed_cross_entropy(LOGITS, LABELS[:3] % 2, NAN), "smoothing must"),
        (lambda: losses.generalized_cross_entropy(LOGITS, LABELS[:3] % 2, 0), "q must"),
        (lambda: losses.early_learning_targets(LOGITS, LOGITS, NAN), "momentum must"),
        (lambda: losses.mixup(ROWS, NAN, torch.Generator()), "mixup's a must"),
        (lambda: cosine_similarity(BAD), r"NaN or infinite values in 1 row\(s\), the first is row 1"),
        *((lambda x=x: cosine_similarity(x), "be a floating-point matrix") for x in (ROWS[0], ROWS.long())),
        (lambda: similarity_threshold(BAD), "similarity holds NaN"),
        (lambda: density(BAD, 0.5), "NaN"),
        (lambda: density(ROWS, NAN), "NaN"),
        (lambda: eta(ROWS, LABELS[:2]), "rho must have 6 entries"),
        (lambda: density(ROWS[:, :2], 0.5), "compare every sample with every other"),
        *((lambda p=p: select(p=p, m=8), "p must be at least 1 and at most m") for p in (0, 9)),
        *((lambda x=x: select(**{x: NAN}), f"{x} must be") for x in ("eta_max", "quantile")),
        *((lambda x=x: select(**{x: "drop"}), f"{x} must be") for x in ("cut_ties", "small_class", "rho_ties")),
        (lambda: select(small_class="error", m=3), "Class 0 has 2 samples, fewer than m = 3"),
        (lambda: select(LABELS.int()), "noisy_labels must be one int64 number a sample"),
        (lambda: select(LABELS[:5]), "noisy_labels must have one entry for each of the 6 samples, not 5"),
        *((lambda x=x: select(LABELS + x), r"noisy_labels must lie in 0 \.\. 2") for x in (1, -1)),
        (lambda: select_prototypes(ROWS[:0], LABELS[:0], num_classes=3), "No class has a sample"),
        (lambda: class_scores(ROWS[:, :4], FOUND), "embeddings have 4 features, but the prototypes have 6"),
        (lambda: correct_labels(ROWS, FOUND, LABELS[:2]), "noisy_labels must have one entry for each of the 6"),
        (lambda: correct_labels(ROWS, FOUND, LABELS, score_ties="first"), "score_ties must be"),
        (lambda: correct_labels(ROWS, FOUND, LABELS, scores=ROWS[:, :2]), r"scores must hold .*of shape \(6, 2\)"),
        (lambda: correct_labels(ROWS, FOUND, LABELS, scores=ROWS[:, :3] / 0), "NaN or infinity in 18 entries"),
        (lambda: neighbour_scores(ROWS, LABELS, LABELS[:1], num_classes=3), "at least two candidates, but there are 1"),
        (lambda: ridge_head(BAD, LABELS, num_classes=3), "finite"),
        (lambda: ridge_head(ROWS, LABELS[:-1], num_classes=3), "noisy_labels"),
        (lambda: confused(BAD[:, :1]), "at least 2 classes, but have 1"),
        (lambda: confused(BAD), r"1 row\(s\) do not, the first is row 1"),
        (lambda: confused(ROWS[1:]), "one entry for each of the 5"),
        (lambda: confused(ROWS, temperature=-1.0), "temperature must be"),
        (lambda: noise.symmetric_noise(LABELS * 0, 0.2, num_classes=1), "num_classes must be at least 2"),
        (lambda: noise.noise_report(LABELS * 0 - 1, LABELS, 3), "nothing to report"),
        (lambda: noise.noise_report(LABELS, LABELS[1:], 3), "noisy_labels must have one entry"),
        (lambda: label_margin(BAD, LABELS), "NaN or infinity in 6 entries"),
        (lambda: class_scores([["a"]], FOUND), "embeddings must be numbers"),
        (lambda: correct_labels(ROWS, FOUND, [0.5] * 6), "noisy_labels must be one int64 number"),
        (lambda: metrics.accuracy(LABELS, LABELS[:1]), "one prediction a label"),
        (lambda: metrics.chance_changed(LABELS, LABELS + 5, 3), "labels must lie"),
        (lambda: metrics.correction_report(LABELS, LABELS[:2], None, num_classes=3), "one label of each kind"),
        (lambda: metrics.interval([1.0, NAN]), "An interval needs numbers"),
        (lambda: metrics.interval([]), "at least one value"),
        (lambda: metrics.paired_difference([1, 2], [1]), "the same seeds: there are 2 and 1 values"),
    ],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def points(bad, n=20):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return InMemoryBatches(
        x.index_fill_(0, torch.tensor([3][: n - 1]), bad) if bad else x, torch.arange(n) % 2, batch_size=8
    )


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (points(NAN), points(None), "training data hold NaN"),
        (points(None), points(INF), "test data hold NaN or infinite"),
        (points(None, n=1), points(None), "at least two samples, but there are 1"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_learned_from_are_not_blamed_on_the_learning_rate(train, test, sentence):
    settings = Settings(dataset="toy_moons", network="mlp", width=4, epochs=1)
    network = build_network("mlp", images=points(None).images, num_classes=2, width=4, generator=torch.Generator())
    with pytest.raises(ValueError, match=sentence):
        fit(network, train, test, settings)


@pytest.mark.parametrize("device", ["cdua", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=f"device is {device}, which cannot be used here"), process_group(device):
        pass


@pytest.mark.parametrize(
    ("changes", "view", "sentence"),
    [
        ({"network": "mlp"}, None, "network mlp takes points"),
        ({"width": 10**6}, None, r"width 1000000 makes network small_cnn larger than memory \(.*\)\. Lower width"),
        ({"augment": False}, lambda images: images[..., :2, :2], r"shape \(1, 2, 2\)"),
        ({"augment": False}, lambda images: torch.randn(len(images), 2), "takes images, and the data are points"),
        ({"augment": True, "network": "mlp"}, lambda images: torch.randn(len(images), 2), "augment shifts"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_training(changes, view, sentence):
    data = samples()
    if view:
        data = dataclasses.replace(data, images=view(data.images), test_images=view(data.test_images))
    with pytest.raises(ValueError, match=sentence):
        run(SETTINGS.replace(**changes), data)
