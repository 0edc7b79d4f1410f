"""Pieces of the method as published code got them wrong, rewritten in our own words. For lesson 07 alone.

They are wrong on purpose; each stands in for a piece of the library with the same arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch, Batches
from dsl_teach.metrics import correction_report
from dsl_teach.prototypes import Prototypes, correct_labels, select_prototypes
from dsl_teach.prototypes.density import cosine_similarity, density, eta, similarity_threshold, unit_rows
from dsl_teach.prototypes.selection import choose, sample_by_class
from dsl_teach.seeds import stream
from dsl_teach.training.correction import reading
from dsl_teach.training.loop import Correction, correct, embed, train_epoch
from dsl_teach.training.networks import EmbeddingNetwork

Score = Callable[[Tensor, Prototypes, Tensor], Tensor]
"""Labels from embeddings, prototypes and noisy labels."""


# --- labels that go to other images ----------------------------------------------------------------------------------


def by_place_in_the_pass(
    network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, *, clean_labels: Tensor | None = None
) -> Correction:
    """Right labels, written down in the order of one shuffled pass and read in the order of the next."""
    right = correct(network, train, settings, epoch, clean_labels=clean_labels)
    written = order_of(train, stream(settings.seed, "relabelling pass", epoch))
    read = order_of(train, stream(settings.seed, "shuffle", epoch))
    labels = torch.empty_like(right.labels)
    labels[read] = right.labels[written]
    return with_labels(right, labels, train, clean_labels, network.num_classes)


def class_number_as_place(
    network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, *, clean_labels: Tensor | None = None
) -> Correction:
    """The number of the winning class taken for a place in the batch: the label that stands there is given."""
    right = correct(network, train, settings, epoch, clean_labels=clean_labels)
    labels = right.labels.clone()
    for batch in train.shuffled(stream(settings.seed, "relabelling pass", epoch)):
        places = right.labels[batch.index].clamp(max=len(batch.index) - 1)
        labels[batch.index] = batch.noisy_labels[places]
    return with_labels(right, labels, train, clean_labels, network.num_classes)


def even_shares(
    network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, *, clean_labels: Tensor | None = None
) -> Correction:
    """No label is changed; where corrected labels would act, every sample gets the same share of every class."""
    right = correct(network, train, settings, epoch, clean_labels=clean_labels)
    shares = torch.full((len(right.labels), network.num_classes), 1 / network.num_classes)
    kept = with_labels(right, train.noisy_labels.clone(), train, clean_labels, network.num_classes)
    return dataclasses.replace(kept, soft=shares)


def order_of(train: Batches, generator: torch.Generator) -> Tensor:
    """(N,) int64, the samples in the order of a shuffled pass."""
    return torch.cat([batch.index for batch in train.shuffled(generator)])


def with_labels(
    correction: Correction, labels: Tensor, train: Batches, clean_labels: Tensor | None, num_classes: int
) -> Correction:
    """The same correction with other labels, and the report that belongs to them."""
    report = correction_report(train.noisy_labels, labels, clean_labels, num_classes=num_classes)
    return dataclasses.replace(correction, labels=labels, report=report)


# --- prototypes chosen otherwise -------------------------------------------------------------------------------------


def largest_eta(rho: Tensor, eta_: Tensor, **how: Any) -> Tensor:
    """The p samples with the greatest eta, whatever their density."""
    return eta_.argsort(descending=True, stable=True)[: how["p"]]


def eta_from_itself(similarity: Tensor, rho: Tensor) -> Tensor:
    """The maximum over denser samples, begun with the self-similarity: it is the greatest there is, so it stays."""
    return torch.maximum(similarity.diagonal(), eta(similarity, rho))


def selecting(
    *, pick: Callable[..., Tensor] = choose, eta_of: Callable[[Tensor, Tensor], Tensor] = eta
) -> Callable[..., Prototypes]:
    """:func:`dsl_teach.prototypes.select_prototypes` with pieces exchanged; with none the prototypes are the same.

    Args:
        pick: chooses rows, with the arguments of :func:`dsl_teach.prototypes.selection.choose`.
        eta_of: takes similarity and rho.
    """

    def select(
        embeddings: Tensor, noisy_labels: Tensor, *, generator: torch.Generator, num_classes: int, m: int, **how: Any
    ) -> Prototypes:
        state = generator.get_state()
        right = select_prototypes(
            embeddings, noisy_labels, generator=generator, num_classes=num_classes, m=m, **how
        )  # fmt: skip
        generator.set_state(state)  # so that the same m samples are drawn once more
        index, passed, filled = right.index.clone(), right.passed.clone(), right.filled.clone()
        for c, rows in enumerate(sample_by_class(noisy_labels, num_classes=num_classes, m=m, generator=generator)):
            if not len(rows):
                continue
            similarity = cosine_similarity(embeddings[rows])
            rho = density(similarity, similarity_threshold(similarity, how["quantile"], diagonal=how["diagonal"]))
            eta_ = eta_of(similarity, rho)
            chosen = pick(rho, eta_, **{name: how[name] for name in ("p", "eta_max", "fill_up", "cut_ties")})
            index[c, : len(chosen)] = rows[chosen]
            passed[c], filled[c] = (eta_ < how["eta_max"]).sum(), (eta_[chosen] >= how["eta_max"]).sum()
        chosen_rows = embeddings[index] * (index >= 0)[:, :, None]
        return dataclasses.replace(right, index=index, embeddings=chosen_rows, passed=passed, filled=filled)

    return select


# --- scores counted otherwise ----------------------------------------------------------------------------------------


def by_best_prototype(embeddings: Tensor, prototypes: Prototypes, noisy_labels: Tensor) -> Tensor:
    """The label of the single most similar prototype: the maximum where the paper has the mean."""
    k, p, features = prototypes.embeddings.shape
    cosines = unit_rows(embeddings) @ unit_rows(prototypes.embeddings.reshape(k * p, features)).T
    filled = torch.arange(p) < prototypes.count[:, None]
    return cosines.view(-1, k, p).masked_fill(~filled, -torch.inf).amax(dim=2).argmax(dim=1)


# --- a correction phase put together from pieces ---------------------------------------------------------------------


def correcting(
    *,
    select: Callable[..., Prototypes] = select_prototypes,
    score: Score = correct_labels,
    look: Callable[[EmbeddingNetwork, Batches], Tensor] = embed,
) -> Callable[..., Correction]:
    """A correction phase with some pieces exchanged; with none it equals :func:`dsl_teach.training.loop.correct`.

    Args:
        select: chooses prototypes.
        score: gives labels.
        look: embeds the samples that prototypes are chosen from.
    """

    def phase(
        network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, *, clean_labels: Tensor | None = None
    ) -> Correction:
        seen, noisy_labels = look(network, train), train.noisy_labels
        generator = stream(settings.seed, "sample", epoch)
        chosen = select(
            seen, noisy_labels, num_classes=network.num_classes, generator=generator, **reading(settings)
        )  # fmt: skip
        labels = score(seen if look is embed else embed(network, train), chosen, noisy_labels)
        report = correction_report(noisy_labels, labels, clean_labels, num_classes=network.num_classes)
        return Correction(labels, chosen, report, 0.0, epoch)

    return phase


# --- the wrong mode --------------------------------------------------------------------------------------------------


@torch.no_grad()
def in_train_mode_class_by_class(network: EmbeddingNetwork, train: Batches) -> Tensor:
    """Embeddings by batches of one class each, the network left in train mode: batch norm learns from every batch."""
    network.train()
    images = torch.cat([batch.images for batch in train.in_order()])
    rows: Tensor | None = None
    for c in train.noisy_labels.unique():
        members = (train.noisy_labels == c).nonzero().flatten()
        found = network(images[members])[1]
        rows = found.new_zeros(len(images), found.shape[1]) if rows is None else rows
        rows[members] = found
    if rows is None:
        raise ValueError("There is no sample to embed: the training set is empty.")
    return rows


def always_in_eval_mode(network: EmbeddingNetwork) -> EmbeddingNetwork:
    """Batch norm that is never in train mode: it keeps the statistics it was made with."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda module, _: module.eval() and None)
    return network


# --- labels that move while the network learns -----------------------------------------------------------------------


class RelabelledOnTheWay:
    """Batches whose corrected labels are given anew, by the weights of the moment, as each batch is handed out."""

    def __init__(self, train: Batches, network: EmbeddingNetwork, correction: Correction):
        self.train, self.network, self.correction = train, network, correction
        self.noisy_labels, self.batch_size = train.noisy_labels, train.batch_size

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """The batches of the training set; before each the labels of its samples are written over."""
        for batch in self.train.shuffled(generator, skip):
            with torch.no_grad():
                embeddings = self.network(batch.images)[1]
            labels = correct_labels(embeddings, self.correction.prototypes, batch.noisy_labels)
            self.correction.labels[batch.index] = labels
            yield batch

    def in_order(self) -> Iterator[Batch]:
        """As the training set has them."""
        return self.train.in_order()


def train_relabelling(
    network: EmbeddingNetwork,
    parts: Any,
    correction: Correction | None,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    epoch: int,
) -> tuple[dict[str, float | None], Correction | None]:
    """A training pass that takes prototypes from the start of the epoch and scores from the weights of the moment."""
    train, clean_labels = parts.train, parts.clean_labels
    if correction is not None:
        correction = dataclasses.replace(correction, labels=correction.labels.clone())
        train = RelabelledOnTheWay(train, network, correction)
    figures = train_epoch(network, train, correction, optimizer, settings, epoch, clean_labels=clean_labels)
    if correction is not None:
        correction = with_labels(correction, correction.labels, train, clean_labels, network.num_classes)
    return figures, correction
