"""Pieces of the method as published code got them wrong, rewritten in our own words. For lesson 07 alone.

They are wrong on purpose. Corrections have the arguments of :func:`dsl_teach.training.correction.correct`.
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


def exchange(**parts: Any) -> Callable[[Trial], Trial]:
    """A bug that exchanges parts of a trial."""
    return lambda trial: dataclasses.replace(trial, **parts)


# --- labels that go to other images ----------------------------------------------------------------------------------


def relabelling(labels_of: Callable[..., Tensor]) -> Callable[..., Correction]:
    """A correction that finds the right labels, and then gives those of ``labels_of(right, train, settings, epoch)``."""

    def correction(
        network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, **known: Any
    ) -> Correction:
        right = correct(network, train, settings, epoch, **known)
        return with_labels(right, labels_of(right.labels, train, settings, epoch), train, known.get("clean_labels"))

    return correction


def by_place_in_the_pass(right: Tensor, train: Batches, settings: Settings, epoch: int) -> Tensor:
    """Labels written down in the order of one shuffled pass and read in the order of the next."""
    written, read = (order_of(train, stream(settings.seed, of, epoch)) for of in ("relabelling pass", "shuffle"))
    labels = torch.empty_like(right)
    labels[read] = right[written]
    return labels


def class_number_as_place(right: Tensor, train: Batches, settings: Settings, epoch: int) -> Tensor:
    """The number of the winning class taken for a place in the batch: the label that stands there is given."""
    labels = right.clone()
    for batch in train.shuffled(stream(settings.seed, "relabelling pass", epoch)):
        labels[batch.index] = batch.noisy_labels[right[batch.index].clamp(max=len(batch.index) - 1)]
    return labels


def even_shares(network: EmbeddingNetwork, train: Batches, *when: Any, **known: Any) -> Correction:
    """No label is changed; where corrected labels would act, every sample gets the same share of every class."""
    right, k = correct(network, train, *when, **known), network.num_classes
    kept = with_labels(right, train.noisy_labels.clone(), train, known.get("clean_labels"))
    return dataclasses.replace(kept, soft=torch.full((len(kept.labels), k), 1 / k))


def order_of(train: Batches, generator: torch.Generator) -> Tensor:
    """(N,) int64, the samples in the order of a shuffled pass."""
    return torch.cat([batch.index for batch in train.shuffled(generator)])


def with_labels(correction: Correction, labels: Tensor, train: Batches, clean_labels: Tensor | None) -> Correction:
    """The same correction with other labels, and the report that belongs to them."""
    num_classes = len(correction.prototypes.count)
    report = correction_report(train.noisy_labels, labels, clean_labels, num_classes=num_classes)
    return dataclasses.replace(correction, labels=labels, report=report)


# --- a correction put together from other pieces ---------------------------------------------------------------------


def correcting(
    *,
    pick: Callable[..., Tensor] = choose,
    eta_of: Callable[[Tensor, Tensor], Tensor] = eta,
    score: Callable[[Tensor, Prototypes, Tensor], Tensor] = correct_labels,
    look: Callable[[EmbeddingNetwork, Batches], Tensor] = embed,
) -> Callable[..., Correction]:
    """A correction with some pieces exchanged; with none it gives what the right one gives.

    Args:
        pick: chooses rows, with the arguments of :func:`dsl_teach.prototypes.selection.choose`.
        eta_of: takes similarity and rho.
        score: gives labels from embeddings, prototypes and noisy labels.
        look: embeds the samples that prototypes are chosen from.
    """

    def correction(
        network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, **known: Any
    ) -> Correction:
        seen, noisy_labels, k = look(network, train), train.noisy_labels, network.num_classes
        prototypes = no_prototypes(seen, k, settings.p)
        drawn = sample_by_class(
            noisy_labels, num_classes=k, m=settings.m, generator=stream(settings.seed, "sample", epoch)
        )
        for c, rows in enumerate(drawn):
            similarity = cosine_similarity(seen[rows])
            threshold = similarity_threshold(similarity, settings.quantile, diagonal=settings.diagonal)
            rho = density(similarity, threshold)
            eta_ = eta_of(similarity, rho)
            chosen = pick(rho, eta_, p=settings.p, eta_max=settings.eta_max, fill_up=True, cut_ties="eta")
            prototypes.index[c, : len(chosen)] = rows[chosen]
            prototypes.embeddings[c, : len(chosen)] = seen[rows[chosen]]
            prototypes.count[c] = len(chosen)
            prototypes.passed[c] = (eta_ < settings.eta_max).sum()
            prototypes.filled[c] = (eta_[chosen] >= settings.eta_max).sum()
        labels = score(seen if look is embed else embed(network, train), prototypes, noisy_labels)
        report = correction_report(noisy_labels, labels, known.get("clean_labels"), num_classes=k)
        return Correction(labels, prototypes, report, 0.0, epoch)

    return correction


def largest_eta(rho: Tensor, eta_: Tensor, **how: Any) -> Tensor:
    """The p samples with the greatest eta, whatever their density."""
    return eta_.argsort(descending=True, stable=True)[: how["p"]]


def eta_from_itself(similarity: Tensor, rho: Tensor) -> Tensor:
    """The maximum over denser samples, begun with the self-similarity: it is the greatest there is, so it stays."""
    return torch.maximum(similarity.diagonal(), eta(similarity, rho))


def by_best_prototype(embeddings: Tensor, prototypes: Prototypes, noisy_labels: Tensor) -> Tensor:
    """The label of the single most similar prototype: the maximum where the paper has the mean."""
    k, p, features = prototypes.embeddings.shape
    cosines = unit_rows(embeddings) @ unit_rows(prototypes.embeddings.reshape(k * p, features)).T
    filled = torch.arange(p) < prototypes.count[:, None]
    return cosines.view(-1, k, p).masked_fill(~filled, -torch.inf).amax(dim=2).argmax(dim=1)


# --- the wrong mode --------------------------------------------------------------------------------------------------


@torch.no_grad()
def in_train_mode_class_by_class(network: EmbeddingNetwork, train: Batches) -> Tensor:
    """Embeddings by batches of one class each, the network left in train mode: batch norm learns from every batch."""
    network.train()
    images = pixels(train)
    members = [(train.noisy_labels == c).nonzero().flatten() for c in train.noisy_labels.unique()]
    rows = torch.cat([network(images[index])[1] for index in members])
    return rows[torch.cat(members).argsort()]


def always_in_eval_mode(trial: Trial) -> Trial:
    """Batch norm that is never in train mode: it keeps the statistics it was made with."""
    for module in trial.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda module, _: module.eval() and None)
    return trial


# --- other views, other labels, other rates while the network learns -------------------------------------------------


def shifted(trial: Trial) -> Trial:
    """Training images moved by up to a pixel; correction and test see them unmoved."""
    train = trial.train
    return dataclasses.replace(
        trial, train=InMemoryBatches(pixels(train), train.noisy_labels, batch_size=train.batch_size, view=shift)
    )


def moving_labels(trial: Trial) -> Trial:
    """Shifted images, and labels given anew for each batch as it is handed out."""
    trial = shifted(trial)
    moving = MovingLabels(trial.train, trial.clean_labels)
    return dataclasses.replace(trial, train=moving, correct=moving.correct, callbacks=(moving,))


class MovingLabels(Callback):
    """Batches whose corrected labels are given anew, by the weights of the moment and the prototypes of before."""

    def __init__(self, train: Batches, clean_labels: Tensor | None):
        self.train, self.clean_labels = train, clean_labels
        self.noisy_labels, self.batch_size = train.noisy_labels, train.batch_size
        self.network: EmbeddingNetwork | None = None
        self.correction: Correction | None = None

    def correct(
        self, network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, **known: Any
    ) -> Correction:
        """The right correction, remembered: its labels are the ones to write over."""
        right = correct(network, self.train, settings, epoch, **known)
        self.network, self.correction = network, dataclasses.replace(right, labels=right.labels.clone())
        return self.correction

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """The batches of the training set; before each the labels of its samples are written over."""
        for batch in self.train.shuffled(generator, skip):
            if self.network is not None and self.correction is not None:
                with torch.no_grad():
                    embeddings = self.network(batch.images)[1]
                labels = correct_labels(embeddings, self.correction.prototypes, batch.noisy_labels)
                self.correction.labels[batch.index] = labels
            yield batch

    def in_order(self) -> Iterator[Batch]:
        """As the training set has them."""
        return self.train.in_order()

    def on_epoch_end(self, state: State) -> None:
        """Record what was trained on: the labels that were given last."""
        if self.correction is not None:
            report = with_labels(self.correction, self.correction.labels, self, self.clean_labels).report
            figures = dataclasses.asdict(report)
            del figures["noisy_accuracy"]
            state.history[-1] = dataclasses.replace(state.history[-1], **figures)


class TenTimesAtFirst(Callback):
    """A learning rate ten times as high in the first third of the epochs; the schedule multiplies what is there."""

    def __init__(self, epochs: int):
        self.ends_after = math.ceil(epochs / 3)

    def on_train_begin(self, state: State) -> None:
        """Raise it."""
        self._multiply(state, 10)

    def on_epoch_end(self, state: State) -> None:
        """Lower it again when a third is done."""
        if state.epoch == self.ends_after:
            self._multiply(state, 1 / 10)

    def _multiply(self, state: State, factor: float) -> None:
        for group in state.optimizer.param_groups:
            group["lr"] *= factor


def ten_times_at_first(trial: Trial) -> Trial:
    """With :class:`TenTimesAtFirst` among the callbacks."""
    return dataclasses.replace(trial, callbacks=(TenTimesAtFirst(trial.settings.epochs),))


# --- a test set that was trained on ----------------------------------------------------------------------------------


def half_of_the_test_trained_on(trial: Trial, *, noisy: bool = False) -> Trial:
    """Every second test image stands in the training set too, and the test counts all of them.

    Args:
        trial: images in memory.
        noisy: whether these images come with wrong labels at the rate of the training set, or with right ones.
    """
    images, test_images, right = pixels(trial.train), pixels(trial.test), trial.test.noisy_labels
    rows = {"seen": torch.arange(0, len(test_images), 2), "unseen": torch.arange(1, len(test_images), 2)}
    seen, given = rows["seen"], right
    if noisy:
        given = wrong_labels(test_images, right, trial.settings, num_classes=trial.network.num_classes)
    train = InMemoryBatches(
        torch.cat([images, test_images[seen]]),
        torch.cat([trial.train.noisy_labels, given[seen]]),
        batch_size=trial.train.batch_size,
    )
    parts = {
        name: InMemoryBatches(test_images[part], right[part], batch_size=trial.test.batch_size)
        for name, part in rows.items()
    }
    clean = None if trial.clean_labels is None else torch.cat([trial.clean_labels, right[seen]])
    return dataclasses.replace(trial, train=train, clean_labels=clean, test_parts=parts)
