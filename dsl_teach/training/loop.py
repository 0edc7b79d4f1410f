"""The two phases of self-learning, one after the other, every epoch: correct the labels, train on them.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, algorithm 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.metrics import accuracy, correction_report
from dsl_teach.prototypes import Prototypes, correct_labels, select_prototypes
from dsl_teach.seeds import stream
from dsl_teach.training.distributed import ALONE, Team, select_together
from dsl_teach.training.keeper import Keeper
from dsl_teach.training.losses import self_learning_loss
from dsl_teach.training.memory import halve_on_out_of_memory
from dsl_teach.training.models import EmbeddingNetwork
from dsl_teach.training.records import Correction, EpochRecord, Result, make_record
from dsl_teach.training.speed import make_optimizer, prepare
from dsl_teach.training.state import Pass, State

__all__ = [
    "Correction",
    "EpochRecord",
    "Result",
    "correct",
    "embed",
    "evaluate",
    "fit",
    "make_optimizer",
    "train_epoch",
]


def fit(
    network: EmbeddingNetwork,
    train: Batches,
    test: Batches,
    settings: Settings,
    *,
    clean_labels: Tensor | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    keeper: Keeper | None = None,
    team: Team = ALONE,
) -> Result:
    """Train a network on noisy labels, correcting them as it goes.

    Args:
        network: returns logits and embeddings; trained in place, on the device it is on.
        train: the training samples, on the same device.
        test: the test samples with right labels; looked at, never learned from.
        settings: every knob; ``alpha = 0`` is plain cross-entropy.
        clean_labels: (N,) int64, true labels of the training samples where known: for the records only.
        on_epoch: called with each epoch's record as soon as it is there.
        keeper: saves the state as it goes and takes a broken run up again; None: nothing is saved.
        team: the processes that train together; ``train`` and ``test`` then hand out this process's share.

    Returns:
        One record an epoch, and the correction by the finished network.

    Raises:
        FloatingPointError: if the loss is no longer finite.
        OutOfMemory: naming the setting to halve.
    """
    keeper = keeper or Keeper()
    state = State(prepare(network, settings), *make_optimizer(network, settings))
    keeper.resume(state)
    learner, train, test = team.wrap(network), keeper.watch(train, state), keeper.watch(test, state)
    if state.epoch == 0 and state.correction is None and correction_is_due(settings, 0):
        state.correction = correct(network, train, settings, 0, clean_labels=clean_labels, team=team)
        keeper.keep(state)
    for epoch in range(state.epoch, settings.epochs):
        state.under_way = state.under_way or Pass.begin(train.noisy_labels)
        figures = train_epoch(
            learner, train, state.correction, state.optimizer, settings, epoch, clean_labels=clean_labels,
            so_far=state.under_way, team=team,
        )  # fmt: skip
        record = make_record(epoch, figures, state.correction, test_accuracy=evaluate(network, test, team=team))
        correction = state.correction
        if correction_is_due(settings, epoch + 1):
            correction = correct(
                network, train, settings, epoch + 1, clean_labels=clean_labels, seen=state.under_way, team=team
            )
        state.finish_epoch(record, correction)
        keeper.keep(state)
        if on_epoch is not None:
            on_epoch(record)
    return Result(state.history, state.correction)


def correction_is_due(settings: Settings, epoch: int) -> bool:
    """Whether labels are corrected once so many epochs are trained. With alpha = 0 nothing would come of it."""
    since = epoch - settings.correction_start
    in_turn = since % settings.correct_every == 0 or epoch == settings.epochs
    return settings.alpha > 0 and since >= 0 and in_turn


def correct(
    network: EmbeddingNetwork,
    train: Batches,
    settings: Settings,
    epoch: int,
    *,
    clean_labels: Tensor | None = None,
    seen: Pass | None = None,
    team: Team = ALONE,
) -> Correction:
    """The correction phase: embed every sample with frozen weights, choose prototypes, let them vote.

    Args:
        network: G is taken from it, in eval mode and without gradients.
        train: seen in the fixed view, in the order of the index.
        settings: p, m and how the paper's open points are read.
        epoch: names the random draw of the m samples a class.
        clean_labels: (N,) int64, for the report only.
        seen: the training pass just done. If embeddings were gathered on the way (``correction_mode="streamed"``),
            they stand in for the frozen pass: seen by weights that still moved, in the training view.
        team: the processes that share the work.

    Returns:
        Corrected labels in the order of the index, with their prototypes and report.
    """
    start, mine = time.perf_counter(), None
    if seen is not None and seen.embeddings is not None:
        embeddings, mine = seen.embeddings, seen.predicted >= 0
    else:
        embeddings = embed(network, train)
    if not team.alone and mine is None:
        mine = team.rows(len(train.noisy_labels), train.batch_size, embeddings.device)
    prototypes = choose_prototypes(
        embeddings, train.noisy_labels, mine, team, num_classes=network.num_classes,
        generator=stream(settings.seed, "sample", epoch), **reading(settings),
    )  # fmt: skip
    labels = relabel(embeddings, prototypes, train.noisy_labels, settings, mine, team)
    seconds = time.perf_counter() - start
    report = correction_report(train.noisy_labels, labels, clean_labels, num_classes=network.num_classes)
    return Correction(labels, prototypes, report, seconds, epoch)


def reading(settings: Settings) -> dict[str, Any]:
    """What the settings say of the choice of prototypes, by the argument names of ``select_prototypes``."""
    names = ("p", "m", "eta_max", "quantile", "diagonal", "rho_ties", "fill_up", "cut_ties", "small_class")
    return {name: getattr(settings, name) for name in names}


@halve_on_out_of_memory("m")
def choose_prototypes(
    embeddings: Tensor, noisy_labels: Tensor, mine: Tensor | None, team: Team, **how: Any
) -> Prototypes:
    """Prototypes by all samples, whichever process embedded them."""
    if team.alone or mine is None:
        return select_prototypes(embeddings, noisy_labels, **how)
    return select_together(team, embeddings, mine, noisy_labels, **how)


def relabel(
    embeddings: Tensor,
    prototypes: Prototypes,
    noisy_labels: Tensor,
    settings: Settings,
    mine: Tensor | None,
    team: Team,
) -> Tensor:
    """Corrected labels of all samples, each given by the process that embedded it."""
    if team.alone or mine is None:
        return correct_labels(embeddings, prototypes, noisy_labels, score_ties=settings.score_ties)
    labels = torch.zeros_like(noisy_labels)
    labels[mine] = correct_labels(embeddings[mine], prototypes, noisy_labels[mine], score_ties=settings.score_ties)
    return team.largest(labels)


@halve_on_out_of_memory("batch_size")
def embed(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """G(x) of every sample, by frozen weights.

    Returns:
        (N, D), row i belonging to the sample with index i; where several processes share the work, only the rows of
        this process are filled.
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


@halve_on_out_of_memory("batch_size")
def train_epoch(
    network: nn.Module,
    train: Batches,
    correction: Correction | None,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    epoch: int,
    *,
    clean_labels: Tensor | None = None,
    so_far: Pass | None = None,
    team: Team = ALONE,
) -> dict[str, float | None]:
    """The training phase: one pass over the samples with the self-learning loss.

    Args:
        network: the network to train.
        train: the samples.
        correction: the corrected labels, by index.
        optimizer: takes the steps.
        settings: alpha and the seed.
        epoch: names the random order of the samples.
        clean_labels: (N,) int64, for the figures only.
        so_far: a pass to go on with; it is kept up to date.
        team: the processes that train together.

    Returns:
        Losses and accuracies of the pass, by the names of :class:`EpochRecord`.
    """
    start = time.perf_counter()
    network.train()
    so_far = so_far or Pass.begin(train.noisy_labels)
    before, streamed = so_far.seconds, settings.correction_mode == "streamed" and correction_is_due(settings, epoch + 1)
    for images, noisy_labels, index in train.shuffled(stream(settings.seed, "shuffle", epoch), skip=so_far.step):
        logits, embeddings = network(images)
        corrected_labels = None if correction is None else correction.labels[index]
        loss = self_learning_loss(logits, noisy_labels, corrected_labels, settings.alpha)
        count, weight = team.own(so_far.step, len(index), train)
        optimizer.zero_grad(set_to_none=True)
        (loss if weight == 1 else loss * weight).backward()
        optimizer.step()
        losses = _loss_parts(loss, logits, noisy_labels, corrected_labels)
        so_far.note(index[:count], logits[:count], losses, embeddings[:count] if streamed else None)
        so_far.seconds = before + time.perf_counter() - start
    team.align(network)
    sums, predicted = team.total(so_far.sums.clone()), team.largest(so_far.predicted.clone())
    return training_figures(sums, predicted, train.noisy_labels, clean_labels, correction, settings) | {
        "seconds_training": before + time.perf_counter() - start,
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


@halve_on_out_of_memory("batch_size")
def evaluate(network: EmbeddingNetwork, test: Batches, *, team: Team = ALONE) -> float:
    """Share of test samples that the network gives the right label."""
    predicted = torch.full_like(test.noisy_labels, -1)
    with frozen(network):
        for images, _, index in test.in_order():
            predicted[index] = network(images)[0].argmax(dim=1)
    return accuracy(team.largest(predicted), test.noisy_labels)


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


@torch.no_grad()
def _loss_parts(loss: Tensor, logits: Tensor, noisy_labels: Tensor, corrected_labels: Tensor | None) -> Tensor:
    if corrected_labels is None:
        return torch.stack([loss, loss, loss]).double()
    return torch.stack([loss, cross_entropy(logits, noisy_labels), cross_entropy(logits, corrected_labels)]).double()
