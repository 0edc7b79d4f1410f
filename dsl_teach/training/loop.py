"""The two phases of self-learning, one after the other, every epoch: correct the labels, train on them.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, algorithm 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, Batches
from dsl_teach.metrics import accuracy
from dsl_teach.seeds import stream
from dsl_teach.training.correction import correct
from dsl_teach.training.distributed import ALONE, Team
from dsl_teach.training.evaluation import embed, evaluate, frozen
from dsl_teach.training.hardware import averaged_weights, make_optimizer, prepare
from dsl_teach.training.keeper import Keeper
from dsl_teach.training.losses import self_learning_loss
from dsl_teach.training.memory import halve_on_out_of_memory
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.objective import (
    Mixture,
    estimate_transition_matrix,
    first_memory,
    mix_batch,
    noisy_loss,
    remember,
)
from dsl_teach.training.records import Correction, EpochRecord, Result, make_record
from dsl_teach.training.state import Memory, Pass, State

__all__ = [
    "Correction",
    "EpochRecord",
    "Result",
    "correct",
    "embed",
    "evaluate",
    "fit",
    "frozen",
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
    require_balanced(train, settings)
    keeper = keeper or Keeper()
    state = begin(network, train, settings)
    keeper.resume(state)
    learner, train, test = team.wrap(network), keeper.watch(train, state), keeper.watch(test, state)
    if state.epoch == 0 and state.correction is None and settings.correction_start == 0:
        state.correction = correct_if_due(state, train, settings, 0, clean_labels, team)
        keeper.keep(state)
    for epoch in range(state.epoch, settings.epochs):
        state.under_way = state.under_way or Pass.begin(train.noisy_labels)
        figures = train_epoch(
            learner, train, state.correction, state.optimizer, settings, epoch, clean_labels=clean_labels,
            so_far=state.under_way, memory=state.memory, averaged=state.averaged, team=team,
        )  # fmt: skip
        state.memory = state.merged_memory(team)
        record = make_record(epoch, figures, state.correction, test_accuracy=evaluate(state.frozen, test, team=team))
        state.finish_epoch(record, correct_if_due(state, train, settings, epoch + 1, clean_labels, team))
        keeper.keep(state)
        if on_epoch is not None:
            on_epoch(record)
    if state.averaged is not None:
        network.load_state_dict(state.frozen.state_dict())
    return Result(state.history, state.correction)


def begin(network: EmbeddingNetwork, train: Batches, settings: Settings) -> State:
    """A run before its first step."""
    optimizer, schedule = make_optimizer(network, settings)
    memory = first_memory(settings, train, network.num_classes)
    prepare(network, settings)
    return State(network, optimizer, schedule, memory=memory, averaged=averaged_weights(network, settings))


def require_balanced(train: Batches, settings: Settings) -> None:
    """Refuse batches that would leave ``balanced_sampling`` without effect.

    Raises:
        ValueError: if they are not drawn as the settings say.
    """
    if settings.balanced_sampling and not getattr(train, "balanced", False):
        raise ValueError("balanced_sampling is on, but the training batches are not balanced: make them balanced=True.")


def correct_if_due(
    state: State, train: Batches, settings: Settings, epoch: int, clean_labels: Tensor | None, team: Team
) -> Correction | None:
    """The labels to train on once so many epochs are trained: corrected now, or those in use."""
    if settings.loss == "forward" and epoch >= settings.correction_start and "transition_matrix" not in state.memory:
        state.memory["transition_matrix"] = estimate_transition_matrix(state.frozen, train, team)
    if not correction_is_due(settings, epoch):
        return state.correction
    return correct(
        state.frozen, train, settings, epoch, clean_labels=clean_labels, seen=state.under_way,
        before=state.correction, memory=state.memory, team=team,
    )  # fmt: skip


def correction_is_due(settings: Settings, epoch: int) -> bool:
    """Whether labels are corrected once so many epochs are trained. With alpha = 0 nothing would come of it."""
    since = epoch - settings.correction_start
    in_turn = since % settings.correct_every == 0 or epoch == settings.epochs
    return settings.alpha > 0 and since >= 0 and in_turn


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
    memory: Memory | None = None,
    averaged: AveragedModel | None = None,
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
        memory: what the loss remembers, see :func:`dsl_teach.training.objective.noisy_loss`; kept up to date.
        averaged: a network whose weights follow those of ``network`` as a moving average.
        team: the processes that train together.

    Returns:
        Losses and accuracies of the pass, by the names of :class:`EpochRecord`.
    """
    start, memory = time.perf_counter(), {} if memory is None else memory
    network.train()
    so_far = so_far or Pass.begin(train.noisy_labels)
    before, streamed = so_far.seconds, settings.correction_mode == "streamed" and correction_is_due(settings, epoch + 1)
    for batch in train.shuffled(stream(settings.seed, "shuffle", epoch), skip=so_far.step):
        seen = mix_batch(batch, settings, epoch, so_far.step)
        loss, logits, embeddings, parts = batch_losses(network, batch, seen, correction, settings, memory)
        count, weight = team.own(so_far.step, len(batch.index), train)
        optimizer.zero_grad(set_to_none=True)
        (loss if weight == 1 else loss * weight).backward()
        optimizer.step()
        if averaged is not None:
            averaged.update_parameters(network)
        so_far.note(batch.index[:count], logits[:count], parts, embeddings[:count] if streamed else None)
        so_far.seconds = before + time.perf_counter() - start
    team.align(network)
    if averaged is not None:
        team.align(averaged)
    sums = team.total(so_far.sums.clone())
    return training_figures(sums, so_far.answers(team), train.noisy_labels, clean_labels, correction, settings) | {
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
    seen = predicted >= 0  # balanced sampling leaves some out
    wrong = None if clean_labels is None else (noisy_labels != clean_labels) & (clean_labels >= 0) & seen
    return {
        "alpha": 0.0 if correction is None else settings.alpha,
        "loss": loss,
        "loss_noisy": loss_noisy,
        "loss_corrected": None if correction is None else loss_corrected,
        "train_accuracy": accuracy(predicted[seen], noisy_labels[seen]),
        "memorised": None if wrong is None or not wrong.any() else accuracy(predicted[wrong], noisy_labels[wrong]),
    }


class BatchLosses(NamedTuple):
    """What came of a batch: the loss to take the gradient of, and its parts for the record."""

    loss: Tensor
    logits: Tensor
    embeddings: Tensor
    parts: Tensor
    """(3,) float64: the loss, against the noisy labels, against the corrected ones, unweighted."""


def batch_losses(
    network: nn.Module, batch: Batch, seen: Mixture, correction: Correction | None, settings: Settings, memory: Memory
) -> BatchLosses:
    """The self-learning loss of one batch, of mixed pairs if they are mixed; ``memory`` is kept up to date."""
    logits, embeddings = network(seen.images)
    remember(settings, memory, batch.index, logits)
    corrected_labels = None if correction is None else correction.of(batch.index)
    against = noisy_loss(settings, memory, batch.index)

    def loss_of(noisy_labels: Tensor, corrected_labels: Tensor | None) -> Tensor:
        return self_learning_loss(logits, noisy_labels, corrected_labels, settings.alpha, noisy_loss=against)

    loss = seen.of(loss_of, batch.noisy_labels, corrected_labels)
    return BatchLosses(loss, logits, embeddings, _loss_parts(loss, logits, batch.noisy_labels, corrected_labels))


@torch.no_grad()
def _loss_parts(loss: Tensor, logits: Tensor, noisy_labels: Tensor, corrected_labels: Tensor | None) -> Tensor:
    against_noisy = cross_entropy(logits, noisy_labels)
    if corrected_labels is None:
        return torch.stack([loss, against_noisy, against_noisy]).double()
    return torch.stack([loss, against_noisy, cross_entropy(logits, corrected_labels)]).double()
