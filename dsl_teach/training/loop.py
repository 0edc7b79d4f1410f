"""The two phases of self-learning, one after the other, every epoch: correct the labels, train on them.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, algorithm 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.metrics import CorrectionReport, accuracy, correction_report
from dsl_teach.prototypes import Prototypes, correct_labels, select_prototypes
from dsl_teach.seeds import stream
from dsl_teach.training.losses import self_learning_loss
from dsl_teach.training.models import EmbeddingNetwork


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did. Shares from 0 to 1; None where there is nothing to say."""

    epoch: int
    """Counted from 0."""
    alpha: float
    """The weight that corrected labels had: 0 before the first correction."""
    learning_rate: float
    loss: float
    """Mean self-learning loss of the training pass."""
    loss_noisy: float
    """Its part against the noisy labels, unweighted."""
    loss_corrected: float | None
    """Its part against the corrected labels, unweighted."""
    train_accuracy: float
    """Share of training samples for which the network gave the noisy label, during the training pass."""
    memorised: float | None
    """The same among wrongly labelled samples: how much noise the network has learned by heart."""
    test_accuracy: float
    changed: float | None = None
    """Share of labels that the correction before this epoch changed."""
    chance_changed: float | None = None
    """What that share would be by chance."""
    label_accuracy: float | None = None
    """Share of corrected labels that are right."""
    wrong_to_right: float | None = None
    right_to_wrong: float | None = None
    passed: int | None = None
    """Samples that passed the gate, all classes together."""
    filled: int | None = None
    """Prototypes that did not pass the gate and filled a place."""
    zeros: int | None = None
    """Samples with a zero embedding among those prototypes were chosen from."""
    seconds_training: float = 0.0
    seconds_correction: float = 0.0


@dataclass(frozen=True)
class Correction:
    """One correction: the labels by sample index, the prototypes they came from, and what changed."""

    labels: Tensor
    prototypes: Prototypes
    report: CorrectionReport
    seconds: float


@dataclass(frozen=True)
class Result:
    """A finished run. The network that was passed in holds its weights."""

    history: list[EpochRecord]
    correction: Correction | None
    """The correction by the finished network; None for plain cross-entropy."""


def fit(
    network: EmbeddingNetwork,
    train: Batches,
    test: Batches,
    settings: Settings,
    *,
    clean_labels: Tensor | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> Result:
    """Train a network on noisy labels, correcting them as it goes.

    Args:
        network: returns logits and embeddings; trained in place, on the device it is on.
        train: the training samples, on the same device.
        test: the test samples with right labels; looked at, never learned from.
        settings: every knob; ``alpha = 0`` is plain cross-entropy.
        clean_labels: (N,) int64, true labels of the training samples where known: for the records only.
        on_epoch: called with each epoch's record as soon as it is there.

    Returns:
        One record an epoch, and the correction by the finished network.

    Raises:
        FloatingPointError: if the loss is no longer finite.
    """
    optimizer, schedule = make_optimizer(network, settings)
    correction, history = None, []
    for epoch in range(settings.epochs):
        if correction_is_due(settings, epoch):
            correction = correct(network, train, settings, epoch, clean_labels=clean_labels)
        training = train_epoch(network, train, correction, optimizer, settings, epoch, clean_labels=clean_labels)
        schedule.step()
        history.append(make_record(epoch, training, correction, test_accuracy=evaluate(network, test)))
        if on_epoch is not None:
            on_epoch(history[-1])
    if correction_is_due(settings, settings.epochs):
        correction = correct(network, train, settings, settings.epochs, clean_labels=clean_labels)
    return Result(history, correction)


def correction_is_due(settings: Settings, epoch: int) -> bool:
    """Whether labels are corrected before this epoch. With alpha = 0 nothing would come of it."""
    return settings.alpha > 0 and epoch >= settings.correction_start


def correct(
    network: EmbeddingNetwork,
    train: Batches,
    settings: Settings,
    epoch: int,
    *,
    clean_labels: Tensor | None = None,
) -> Correction:
    """The correction phase: embed every sample with frozen weights, choose prototypes, let them vote.

    Args:
        network: G is taken from it, in eval mode and without gradients.
        train: seen in the fixed view, in the order of the index.
        settings: p, m and how the paper's open points are read.
        epoch: names the random draw of the m samples a class.
        clean_labels: (N,) int64, for the report only.

    Returns:
        Corrected labels in the order of the index, with their prototypes and report.
    """
    start, s = time.perf_counter(), settings
    embeddings = embed(network, train)
    prototypes = select_prototypes(
        embeddings, train.noisy_labels, num_classes=network.num_classes, p=s.p, m=s.m, eta_max=s.eta_max,
        quantile=s.quantile, generator=stream(s.seed, "sample", epoch), diagonal=s.diagonal, rho_ties=s.rho_ties,
        fill_up=s.fill_up, cut_ties=s.cut_ties, small_class=s.small_class,
    )  # fmt: skip
    labels = correct_labels(embeddings, prototypes, train.noisy_labels, score_ties=s.score_ties)
    seconds = time.perf_counter() - start
    report = correction_report(train.noisy_labels, labels, clean_labels, num_classes=network.num_classes)
    return Correction(labels, prototypes, report, seconds)


def embed(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """G(x) of every sample, by frozen weights.

    Returns:
        (N, D), row i belonging to the sample with index i.
    """
    embeddings = None
    with frozen(network):
        for batch in batches.in_order():
            rows = network(batch.images)[1]
            if embeddings is None:
                embeddings = rows.new_empty(len(batches.noisy_labels), rows.shape[1])
            embeddings[batch.index] = rows
    if embeddings is None:
        raise ValueError("There is no sample to embed: the training set is empty.")
    return embeddings


def train_epoch(
    network: EmbeddingNetwork,
    train: Batches,
    correction: Correction | None,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    epoch: int,
    *,
    clean_labels: Tensor | None = None,
) -> dict[str, float | None]:
    """The training phase: one pass over the samples with the self-learning loss.

    Returns:
        Losses and accuracies of the pass, by the names of :class:`EpochRecord`.
    """
    start = time.perf_counter()
    network.train()
    predicted = torch.full_like(train.noisy_labels, -1)
    sums = torch.zeros(3, dtype=torch.float64, device=predicted.device)
    for images, noisy_labels, index in train.shuffled(stream(settings.seed, "shuffle", epoch)):
        logits, _ = network(images)
        corrected_labels = None if correction is None else correction.labels[index]
        loss = self_learning_loss(logits, noisy_labels, corrected_labels, settings.alpha)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        predicted[index] = logits.detach().argmax(dim=1)
        sums += _loss_parts(loss, logits, noisy_labels, corrected_labels) * len(index)
    return training_figures(sums, predicted, train.noisy_labels, clean_labels, correction, settings) | {
        "seconds_training": time.perf_counter() - start,
        "learning_rate": optimizer.param_groups[0]["lr"],
    }


def training_figures(
    sums: Tensor,
    predicted: Tensor,
    noisy_labels: Tensor,
    clean_labels: Tensor | None,
    correction: Correction | None,
    settings: Settings,
) -> dict[str, float | None]:
    """Losses and accuracies of a training pass, from its sums and its predictions by index.

    Raises:
        FloatingPointError: if the loss is no longer finite.
    """
    loss, loss_noisy, loss_corrected = (sums / len(predicted)).tolist()
    if not math.isfinite(loss):
        raise FloatingPointError("The training loss is no longer finite: training has diverged. Lower learning_rate.")
    wrong = None if clean_labels is None else (noisy_labels != clean_labels) & (clean_labels >= 0)
    return {
        "alpha": 0.0 if correction is None else settings.alpha,
        "loss": loss,
        "loss_noisy": loss_noisy,
        "loss_corrected": None if correction is None else loss_corrected,
        "train_accuracy": accuracy(predicted, noisy_labels),
        "memorised": None if wrong is None or not wrong.any() else accuracy(predicted[wrong], noisy_labels[wrong]),
    }


def evaluate(network: EmbeddingNetwork, test: Batches) -> float:
    """Share of test samples that the network gives the right label."""
    predicted = torch.full_like(test.noisy_labels, -1)
    with frozen(network):
        for images, _, index in test.in_order():
            predicted[index] = network(images)[0].argmax(dim=1)
    return accuracy(predicted, test.noisy_labels)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; the mode it had afterwards."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def make_optimizer(
    network: nn.Module, settings: Settings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD with momentum, and a learning rate divided by 10 every ``learning_rate_drop`` epochs."""
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    every = settings.learning_rate_drop or settings.epochs
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=every, gamma=0.1)


def make_record(
    epoch: int, training: dict[str, float | None], correction: Correction | None, *, test_accuracy: float
) -> EpochRecord:
    """Put one epoch's figures together."""
    figures: dict[str, Any] = dict(training)
    if correction is not None:
        figures |= {name: value for name, value in asdict(correction.report).items() if name != "noisy_accuracy"}
        figures |= {name: int(getattr(correction.prototypes, name).sum()) for name in ("passed", "filled", "zeros")}
        figures["seconds_correction"] = correction.seconds
    return EpochRecord(epoch=epoch, test_accuracy=test_accuracy, **figures)


@torch.no_grad()
def _loss_parts(loss: Tensor, logits: Tensor, noisy_labels: Tensor, corrected_labels: Tensor | None) -> Tensor:
    if corrected_labels is None:
        return torch.stack([loss, loss, loss]).double()
    return torch.stack([loss, cross_entropy(logits, noisy_labels), cross_entropy(logits, corrected_labels)]).double()
