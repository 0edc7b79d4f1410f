"""Algorithm 1 of the paper: every epoch, correct the labels, then train on them.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dsl_teach._validate import require
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, Batches
from dsl_teach.metrics import accuracy
from dsl_teach.seeds import stream
from dsl_teach.training import losses
from dsl_teach.training.correction import correct
from dsl_teach.training.distributed import from_leader, own_part, world_size
from dsl_teach.training.evaluation import evaluate
from dsl_teach.training.losses import Loss, self_learning_loss
from dsl_teach.training.networks import EmbeddingNetwork, prepare
from dsl_teach.training.records import STREAMED, TARGETS, Callback, Correction, Memory, Pass, Result, State, announce


def fit(
    network: EmbeddingNetwork,
    train: Batches,
    test: Batches,
    settings: Settings,
    *,
    clean_labels: Tensor | None = None,
    correct: Callable[..., Correction] = correct,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Train a network in place on noisy labels, correcting them as it goes; ``alpha = 0`` is plain cross-entropy.

    Nothing is learned from ``test``, whose labels are right, nor from ``clean_labels``, (N,) int64: they are for the
    records. ``correct`` may be any source of labels with the arguments of the correction phase.

    Returns:
        One record an epoch, and the correction by the finished network.

    Raises:
        ValueError: if the settings do not fit the data, or images hold NaN or infinite values.
        FloatingPointError: if the loss is no longer finite.
    """
    require_finite(train, test)
    state = begin(network, train, settings)

    def correct_if_due() -> None:
        made = state.correction is not None and state.correction.epoch == state.epoch  # before a break, if resumed
        if correction_is_due(settings, state.epoch) and not made:
            context = {"before": state.correction, "memory": state.memory, "clean_labels": clean_labels}
            state.correction = correct(state.evaluated, train, settings, state.epoch, **context)

    announce(callbacks, "on_train_begin", state)
    for _ in range(state.epoch, settings.epochs):  # the paper corrects after an epoch: the same sequence
        correct_if_due()  # into state.correction, whose labels the loss takes by the index of each sample
        figures = train_epoch(state, train, settings, clean_labels=clean_labels, callbacks=callbacks)
        state.record(figures, evaluate(state.evaluated, test))
        announce(callbacks, "on_epoch_end", state)
    correct_if_due()  # nobody trains on these labels: they are the result, what the finished network makes of the data
    announce(callbacks, "on_train_end", state)
    network.load_state_dict(state.evaluated.state_dict())
    return Result(state.history, state.correction)


def require_finite(train: Batches, test: Batches) -> None:
    """A ValueError if images in memory hold NaN or infinite values."""
    for name, images in (("training", getattr(train, "images", None)), ("test", getattr(test, "images", None))):
        told = f"The {name} data hold NaN or infinite values, which nothing can be learned from nor scored by."
        finite = not isinstance(images, Tensor) or not images.is_floating_point() or bool(images.isfinite().all())
        require(finite, told)


def correction_is_due(settings: Settings, epoch: int) -> bool:
    """Whether labels are corrected once so many epochs are trained. With alpha = 0 nothing would come of it."""
    return settings.alpha > 0 and epoch >= settings.correction_start


def begin(network: EmbeddingNetwork, train: Batches, settings: Settings) -> State:
    """A run before its first step; a ValueError if the settings do not fit the batches or the size of a class."""
    told = "balanced_sampling is on, but the training batches are not balanced: make them balanced=True."
    require(not settings.balanced_sampling or getattr(train, "balanced", False), told)
    samples = len(train.noisy_labels)
    require(samples > 1, f"Training needs at least two samples, but there are {samples}.")
    smallest = int(torch.bincount(train.noisy_labels, minlength=network.num_classes).min())
    told = f"small_class is error: a class has {smallest} samples, fewer than m = {settings.m}. Lower m."
    require(settings.small_class != "error" or not settings.alpha or smallest >= settings.m, told)
    optimizer, schedule = make_optimizer(network, settings)
    prepare(network, settings)
    learner = network if world_size() == 1 else DistributedDataParallel(network)  # it averages gradients
    state = State(network, learner, optimizer, schedule, math.ceil(samples / train.batch_size))
    if settings.averaged_weights:  # a moving average (Tarvainen, Valpola, NeurIPS 2017)
        average = get_ema_multi_avg_fn(settings.averaged_weights)
        state.averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    if settings.loss == "elr":
        state.memory[TARGETS] = torch.zeros(samples, network.num_classes, device=train.noisy_labels.device)
    return state


def make_optimizer(
    network: nn.Module, settings: Settings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD with momentum, and a learning rate divided by 10 every ``learning_rate_drop`` epochs."""
    s, fused = settings, all(weights.is_cuda for weights in network.parameters())  # on a CPU it gains little
    optimizer = torch.optim.SGD(
        network.parameters(), s.learning_rate, s.momentum, weight_decay=s.weight_decay, fused=fused
    )
    every = settings.learning_rate_drop or settings.epochs
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=every, gamma=0.1)


def train_epoch(
    state: State,
    train: Batches,
    settings: Settings,
    *,
    clean_labels: Tensor | None = None,
    callbacks: Sequence[Callback] = (),
) -> dict[str, float | None]:
    """The training phase: a pass over the samples, or the rest of one under way; its figures for the record by name."""
    start, samples = time.perf_counter(), len(train.noisy_labels)
    state.learner.train()
    state.under_way = so_far = state.under_way or Pass.begin(train.noisy_labels)
    before = so_far.seconds
    for batch in train.shuffled(stream(settings.seed, "shuffle", state.epoch), skip=so_far.step):
        loss, logits, embeddings, parts = batch_losses(state, batch, settings)
        count, weight = own_part(so_far.step, train.batch_size, samples)
        state.optimizer.zero_grad(set_to_none=True)
        (loss if weight == 1 else loss * weight).backward()
        state.optimizer.step()
        if state.averaged is not None:
            state.averaged.update_parameters(state.network)
        own = Batch(batch.images[:count], batch.noisy_labels[:count], batch.index[:count])
        so_far.note(own.index, logits[:count], parts)
        if settings.correction_mode == "streamed" and correction_is_due(settings, state.epoch + 1):
            keep_embeddings(state.memory, samples, own.index, embeddings[:count])
        so_far.seconds = before + time.perf_counter() - start
        announce(callbacks, "on_batch_end", state, own, embeddings[:count])
    for buffer in [*state.network.buffers(), *(state.averaged.buffers() if state.averaged else ())]:
        from_leader(buffer)  # batch-norm statistics; the weights agree anyway
    seconds, rate = before + time.perf_counter() - start, state.optimizer.param_groups[0]["lr"]
    figures = training_figures(so_far.merged(), train.noisy_labels, clean_labels, state.correction, settings)
    return figures | {"seconds_training": seconds, "learning_rate": rate}


def keep_embeddings(memory: Memory, samples: int, index: Tensor, embeddings: Tensor) -> None:
    """Keep what the network sees in training, by index, for the next correction in streamed mode."""
    if STREAMED not in memory:
        memory[STREAMED] = embeddings.new_zeros(samples, embeddings.shape[1])
    memory[STREAMED][index] = embeddings.detach()


def batch_losses(state: State, batch: Batch, settings: Settings) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The self-learning loss of a batch, of mixed pairs if asked for; logits; embeddings; means for ``Pass.sums``."""
    images, partner, share = batch.images, None, 1.0
    if settings.mixup:
        generator = stream(settings.seed, "mixup", state.epoch, state.step)
        images, partner, share = losses.mixup(images, settings.mixup, generator)
    logits, embeddings = state.learner(images)
    if settings.loss == "elr":
        targets = state.memory[TARGETS]
        targets[batch.index] = losses.early_learning_targets(targets[batch.index], logits, settings.elr_momentum)
    corrected_labels = None if state.correction is None else state.correction.labels[batch.index]
    against = noisy_loss(settings, state.memory, batch.index)

    def loss_of(noisy_labels: Tensor, corrected_labels: Tensor | None) -> Tensor:
        return self_learning_loss(logits, noisy_labels, corrected_labels, settings.alpha, noisy_loss=against)

    loss = loss_of(batch.noisy_labels, corrected_labels)
    if partner is not None:
        theirs = None if corrected_labels is None else corrected_labels[partner]
        loss = share * loss + (1 - share) * loss_of(batch.noisy_labels[partner], theirs)
    with torch.no_grad():
        given = cross_entropy(logits, batch.noisy_labels)
        corrected = given if corrected_labels is None else cross_entropy(logits, corrected_labels)
        return loss, logits, embeddings, torch.stack([loss, given, corrected]).double()


def noisy_loss(settings: Settings, memory: Memory, index: Tensor) -> Loss:
    """The loss against the noisy labels of the samples with this index, by what is remembered of them."""
    known: dict[str, Callable[[], Loss]] = {
        "cross_entropy": lambda: cross_entropy,
        "smoothed": lambda: partial(losses.smoothed_cross_entropy, smoothing=settings.smoothing),
        "gce": lambda: partial(losses.generalized_cross_entropy, q=settings.gce_q),
        "elr": lambda: partial(losses.early_learning_loss, targets=memory[TARGETS][index], weight=settings.elr_weight),
    }
    return known[settings.loss]()


def training_figures(
    seen: Pass,
    noisy_labels: Tensor,
    clean_labels: Tensor | None,
    correction: Correction | None,
    settings: Settings,
) -> dict[str, float | None]:
    """Losses and accuracies of a training pass, from what was seen; FloatingPointError if it diverged."""
    predicted = seen.answers()
    loss, loss_noisy, loss_corrected = (seen.sums / len(predicted)).tolist()
    if not math.isfinite(loss):
        suspects = ("weight_decay", "momentum", "elr_weight")
        changed = [name for name in suspects if getattr(settings, name) > Settings.model_fields[name].default]
        advice = " or ".join(["learning_rate", *changed])
        raise FloatingPointError(f"The training loss is no longer finite: training has diverged. Lower {advice}.")
    known = predicted >= 0  # balanced sampling leaves some out
    wrong = None if clean_labels is None else (noisy_labels != clean_labels) & (clean_labels >= 0) & known
    return {
        "alpha": 0.0 if correction is None else settings.alpha,
        "loss": loss,
        "loss_noisy": loss_noisy,
        "loss_corrected": None if correction is None else loss_corrected,
        "train_accuracy": accuracy(predicted[known], noisy_labels[known]),
        "memorised": None if wrong is None or not wrong.any() else accuracy(predicted[wrong], noisy_labels[wrong]),
    }
