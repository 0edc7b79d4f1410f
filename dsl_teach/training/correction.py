"""The correction phase: embed in eval mode, choose prototypes, score, relabel.

Source: Han, Luo, Wang, ICCV 2019, section 3.2. What goes beyond the paper is off unless the settings ask for it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.metrics import correction_report
from dsl_teach.prototypes import Prototypes, class_scores, correct_labels, select_prototypes
from dsl_teach.prototypes.selection import no_prototypes, sample_by_class
from dsl_teach.prototypes.variants import class_means, neighbour_scores, random_prototypes, ridge_head
from dsl_teach.seeds import stream
from dsl_teach.training.distributed import from_leader
from dsl_teach.training.evaluation import embed
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import STREAMED, Correction, Memory

LINEAR = ("ridge", "leave_one_out")
READING = ("p", "m", "eta_max", "quantile", "diagonal", "rho_ties", "fill_up", "cut_ties", "small_class")
"""What the settings say of the choice of prototypes, by the argument names of ``select_prototypes``."""


def correct(
    network: EmbeddingNetwork,
    train: Batches,
    settings: Settings,
    epoch: int,
    *,
    before: Correction | None = None,
    memory: Memory | None = None,
    clean_labels: Tensor | None = None,
    untouched: Tensor | None = None,
) -> Correction:
    """The correction phase: embed every sample in its fixed view, choose prototypes, let them vote.

    The epoch names the random draw of the m samples a class. The memory holds embeddings gathered in training, which
    are taken out. Clean labels are for the report.
    ``untouched``, (N, D), are embeddings to correct by in place of the network's.
    """
    start, memory = time.perf_counter(), {} if memory is None else memory
    noisy_labels, k = train.noisy_labels, network.num_classes
    if untouched is not None and before is not None and settings.correct_by in LINEAR:
        return replace(before, epoch=epoch, seconds=0.0)  # from the same features by the same rule
    if untouched is not None:
        embeddings = untouched.to(noisy_labels.device)
    else:
        embeddings = memory.pop(STREAMED) if STREAMED in memory else embed(network, train)
    generator = stream(settings.seed, "sample", epoch)
    prototypes = choose_prototypes(embeddings, noisy_labels, settings, num_classes=k, generator=generator)
    scores = score(embeddings, prototypes, noisy_labels, network.head, settings, epoch)
    labels = correct_labels(embeddings, prototypes, noisy_labels, scores=scores, score_ties=settings.score_ties)
    labels = from_leader(labels)  # other hardware may round otherwise
    report = correction_report(noisy_labels, labels, clean_labels, num_classes=k)
    return Correction(labels, prototypes, report, time.perf_counter() - start, epoch)


def choose_prototypes(
    embeddings: Tensor,
    noisy_labels: Tensor,
    settings: Settings,
    *,
    num_classes: int,
    generator: torch.Generator,
) -> Prototypes:
    """The prototypes that ``correct_by`` names; none where the head or neighbours decide."""
    if settings.correct_by in ("head", "neighbours", *LINEAR):
        return no_prototypes(embeddings, num_classes, settings.p)
    choose = {
        "density_peaks": partial(select_prototypes, **{name: getattr(settings, name) for name in READING}),
        "random": partial(random_prototypes, p=settings.p),
        "class_means": partial(class_means, m=settings.m),
    }[settings.correct_by]
    return choose(embeddings, noisy_labels, num_classes=num_classes, generator=generator)


def score(
    embeddings: Tensor,
    prototypes: Prototypes,
    noisy_labels: Tensor,
    head: nn.Linear,
    settings: Settings,
    epoch: int,
) -> Tensor:
    """(N, K) class scores, by what ``correct_by`` names."""
    if settings.correct_by == "head":
        with torch.no_grad():
            return torch.softmax(head(embeddings.to(head.weight.dtype)), dim=1)
    if settings.correct_by == "neighbours":
        k, generator = head.out_features, stream(settings.seed, "sample", epoch)
        rows = torch.cat(sample_by_class(noisy_labels, num_classes=k, m=settings.m, generator=generator))
        neighbours = {"num_classes": k, "neighbours": settings.neighbours}
        return neighbour_scores(embeddings, noisy_labels, rows.to(embeddings.device), **neighbours)
    if settings.correct_by in LINEAR:
        found = ridge_head(embeddings, noisy_labels, num_classes=head.out_features)
        return (found.left_out if settings.correct_by == "leave_one_out" else found.fitted).to(embeddings.dtype)
    return class_scores(embeddings, prototypes)
