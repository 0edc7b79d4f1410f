"""Pieces of the method as published code got them wrong, rewritten in our own words. For lesson 07 alone.

They are wrong on purpose. Their docstrings stand in the lesson's table.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dsl_lessons.injected_bugs.data import shift, wrong_labels
from dsl_lessons.injected_bugs.trial import Trial, pixels
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, Batches, InMemoryBatches
from dsl_teach.metrics import correction_report
from dsl_teach.prototypes import Prototypes, correct_labels
from dsl_teach.prototypes.density import cosine_similarity, density, eta, similarity_threshold, unit_rows
from dsl_teach.prototypes.selection import choose, no_prototypes, sample_by_class
from dsl_teach.seeds import stream
from dsl_teach.training.correction import correct
from dsl_teach.training.evaluation import embed
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Callback, Correction, State

# --- labels that go to other images ----------------------------------------------------------------------------------


def relabelling(labels_of: Callable[..., Tensor]) -> Callable[..., Correction]:
    """A correction that finds the right labels, and then gives those of ``labels_of``."""

    def correction(
        network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, **known: Any
    ) -> Correction:
        right = correct(network, train, settings, epoch, **known)
        return with_labels(right, labels_of(right.labels, train, settings, epoch), train, known.get("clean_labels"))

    return correction


def kept_by_place(right: Tensor, train: Batches, settings: Settings, epoch: int) -> Tensor:
    """Corrected labels are stored by their place in a shuffled pass, and read in the order of the next."""
    written, read = (
        torch.cat([batch.index for batch in train.shuffled(stream(settings.seed, of, epoch))])
        for of in ("relabelling pass", "shuffle")
    )
    labels = torch.empty_like(right)
    labels[read] = right[written]
    return labels


def class_as_place(right: Tensor, train: Batches, settings: Settings, epoch: int) -> Tensor:
    """The number of the winning class is used as a place in the batch, and the label that stands there is given."""
    labels = right.clone()
    for batch in train.shuffled(stream(settings.seed, "relabelling pass", epoch)):
        labels[batch.index] = batch.noisy_labels[right[batch.index].clamp(max=len(batch.index) - 1)]
    return labels


def even_shares(network: EmbeddingNetwork, train: Batches, *when: Any, **known: Any) -> Correction:
    """No mistake, a comparison: in place of corrected labels, every sample gets the same share of every class."""
    right, k = correct(network, train, *when, **known), network.num_classes
    kept = with_labels(right, train.noisy_labels.clone(), train, known.get("clean_labels"))
    return dataclasses.replace(kept, labels=torch.full((len(kept.labels), k), 1 / k))


def with_labels(
    correction: Correction, labels: Tensor, train: Batches | MovingLabels, clean_labels: Tensor | None
) -> Correction:
    """The same correction with other labels, and the report that belongs to them."""
    num_classes = len(correction.prototypes.count)
    report = correction_report(train.noisy_labels, labels, clean_labels, num_classes=num_classes)
    return dataclasses.replace(correction, labels=labels, report=report)


# --- prototypes, scores and embeddings -------------------------------------------------------------------------------


def correcting(
    *,
    pick: Callable[..., Tensor] = choose,
    eta_of: Callable[[Tensor, Tensor], Tensor] = eta,
    score: Callable[[Tensor, Prototypes, Tensor], Tensor] = correct_labels,
    look: Callable[[EmbeddingNetwork, Batches], Tensor] = embed,
) -> Callable[..., Correction]:
    """A correction with pieces exchanged: the choice of rows, eta, the labels, or how samples are embedded."""

    def correction(
        network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, **known: Any
    ) -> Correction:
        seen, noisy_labels, k = look(network, train), train.noisy_labels, network.num_classes
        found, generator = no_prototypes(seen, k, settings.p), stream(settings.seed, "sample", epoch)
        for c, rows in enumerate(sample_by_class(noisy_labels, num_classes=k, m=settings.m, generator=generator)):
            similarity = cosine_similarity(seen[rows])
            rho = density(similarity, similarity_threshold(similarity, settings.quantile, diagonal=settings.diagonal))
            eta_ = eta_of(similarity, rho)
            chosen = pick(rho, eta_, p=settings.p, eta_max=settings.eta_max, fill_up=True, cut_ties="eta")
            found.index[c, : len(chosen)], found.count[c] = rows[chosen], len(chosen)
            found.embeddings[c, : len(chosen)] = seen[rows[chosen]]
            found.passed[c], found.filled[c] = (eta_ < settings.eta_max).sum(), (eta_[chosen] >= settings.eta_max).sum()
        labels = score(seen if look is embed else embed(network, train), found, noisy_labels)
        report = correction_report(noisy_labels, labels, known.get("clean_labels"), num_classes=k)
        return Correction(labels, found, report, 0.0, epoch)

    return correction


def largest_eta(rho: Tensor, eta_: Tensor, **how: Any) -> Tensor:
    """The samples with the greatest eta become prototypes, and density is not looked at."""
    return eta_.argsort(descending=True, stable=True)[: how["p"]]


def eta_from_itself(similarity: Tensor, rho: Tensor) -> Tensor:
    """The maximum that makes eta begins with the self-similarity 1, for the densest too: nobody passes the gate."""
    return torch.maximum(similarity.diagonal(), eta(similarity, rho))


def by_best_prototype(embeddings: Tensor, prototypes: Prototypes, noisy_labels: Tensor) -> Tensor:
    """The single most similar prototype gives the label, where the paper takes the mean over prototypes."""
    k, p, features = prototypes.embeddings.shape
    cosines = unit_rows(embeddings) @ unit_rows(prototypes.embeddings.reshape(k * p, features)).T
    filled = torch.arange(p) < prototypes.count[:, None]
    return cosines.view(-1, k, p).masked_fill(~filled, -torch.inf).amax(dim=2).argmax(dim=1)


@torch.no_grad()
def train_mode(network: EmbeddingNetwork, train: Batches) -> Tensor:
    """Features for prototypes are taken class by class with the network left in train mode."""
    network.train()
    images = pixels(train)
    members = [(train.noisy_labels == c).nonzero().flatten() for c in train.noisy_labels.unique()]
    rows = torch.cat([network(images[index])[1] for index in members])
    return rows[torch.cat(members).argsort()]


# --- training --------------------------------------------------------------------------------------------------------


def eval_mode_for_ever(trial: Trial) -> Trial:
    """Batch norm is left in eval mode and never learns the statistics of the data."""
    for module in trial.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda module, _: module.eval() and None)
    return trial


def shifted(trial: Trial) -> Trial:
    """Training images are moved by up to a pixel; the rest is right."""
    train = trial.train
    views = InMemoryBatches(pixels(train), train.noisy_labels, batch_size=train.batch_size, view=shift)
    return trial.replace(train=views)


def moving_labels(trial: Trial) -> Trial:
    """Labels are given anew for each shifted batch, by the weights of the moment and the prototypes of before."""
    moving = MovingLabels(shifted(trial).train, trial.clean_labels)
    return trial.replace(train=moving, correct=moving.correct, callbacks=(moving,))


class MovingLabels(Callback):
    """Batches that write over the corrected labels of their samples as they are handed out."""

    def __init__(self, train: Batches, clean_labels: Tensor | None):
        self.train, self.clean_labels = train, clean_labels
        self.noisy_labels, self.batch_size, self.in_order = train.noisy_labels, train.batch_size, train.in_order
        self.current: tuple[EmbeddingNetwork, Correction] | None = None

    def correct(self, network: EmbeddingNetwork, train: Batches, *when: Any, **known: Any) -> Correction:
        """The right correction, remembered: its labels are the ones to write over."""
        right = correct(network, train, *when, **known)
        self.current = network, dataclasses.replace(right, labels=right.labels.clone())
        return self.current[1]

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """The batches of the training set, each after its labels have moved."""
        for batch in self.train.shuffled(generator, skip):
            if self.current is not None:
                network, correction = self.current
                with torch.no_grad():
                    embeddings = network(batch.images)[1]
                correction.labels[batch.index] = correct_labels(embeddings, correction.prototypes, batch.noisy_labels)
            yield batch

    def on_epoch_end(self, state: State) -> None:
        """Record what was trained on: the labels that were given last."""
        if self.current is not None:
            correction = self.current[1]
            figures = dataclasses.asdict(with_labels(correction, correction.labels, self, self.clean_labels).report)
            del figures["noisy_accuracy"]
            state.history[-1] = dataclasses.replace(state.history[-1], **figures)


def ten_times_the_rate(trial: Trial) -> Trial:
    """The learning rate is ten times as high in the first third of the epochs."""
    return trial.replace(callbacks=(TenTimesTheRate(math.ceil(trial.settings.epochs / 3)),))


class TenTimesTheRate(Callback):
    """A learning rate ten times as high for some epochs; the schedule multiplies what is there."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_train_begin(self, state: State) -> None:
        for group in state.optimizer.param_groups:
            group["lr"] *= 10

    def on_epoch_end(self, state: State) -> None:
        for group in state.optimizer.param_groups:
            group["lr"] /= 10 if state.epoch == self.epochs else 1


def trained_on_the_test(trial: Trial) -> Trial:
    """Every second test image stands in the training set as well, with its right label."""
    return _with_test_images(trial, trial.test.noisy_labels)


def trained_on_the_noisy_test(trial: Trial) -> Trial:
    """The same, but these images come with labels as noisy as the others."""
    test = trial.test
    return _with_test_images(
        trial, wrong_labels(pixels(test), test.noisy_labels, trial.settings, trial.network.num_classes)
    )


def _with_test_images(trial: Trial, given: Tensor) -> Trial:
    labels = torch.cat([trial.train.noisy_labels, given[::2]])
    images = torch.cat([pixels(trial.train), pixels(trial.test)[::2]])
    clean = None if trial.clean_labels is None else torch.cat([trial.clean_labels, trial.test.noisy_labels[::2]])
    train = InMemoryBatches(images, labels, batch_size=trial.train.batch_size)
    return trial.replace(train=train, clean_labels=clean)
