"""The suspects of lesson 07: one mistake switched on at a time, in the same small run.

The loop here is :func:`dsl_teach.training.loop.fit` with places where a piece can be exchanged. Nothing wrong lives in
the library: the wrong pieces are in :mod:`dsl_lessons.suspects.wrong`, their list in ``catalog``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import accuracy
from dsl_teach.training.hardware import prepare
from dsl_teach.training.loop import (
    Correction,
    Result,
    correct,
    correction_is_due,
    evaluate,
    make_optimizer,
    train_epoch,
)
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import make_record
from dsl_teach.training.runs import Run, first_network, make_batches


@dataclass(frozen=True)
class Parts:
    """What a run trains on and what it is tested on."""

    train: Batches
    test: Batches
    clean_labels: Tensor | None
    """(N,) int64, the true labels of the training samples, for the records."""
    test_parts: Mapping[str, Batches] = field(default_factory=dict)
    """Groups of test samples whose accuracy is told apart at the end."""


def usual_parts(data: NoisyDataset, settings: Settings) -> Parts:
    """The training and test samples as the data set divides them."""
    return Parts(*make_batches(data, settings, "cpu"), data.clean_labels)


def train_as_usual(
    network: EmbeddingNetwork,
    parts: Parts,
    correction: Correction | None,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    epoch: int,
) -> tuple[dict[str, float | None], Correction | None]:
    """One training pass; its figures, and the correction whose labels were used."""
    clean_labels = parts.clean_labels
    figures = train_epoch(network, parts.train, correction, optimizer, settings, epoch, clean_labels=clean_labels)
    return figures, correction


@dataclass(frozen=True)
class Suspect:
    """One thing that may be wrong, as exchanged pieces of the run. Without any it is the method as it should be."""

    name: str
    """Short, for tables and legends."""
    story: str
    """What is done wrong, in one sentence."""
    against: str = "SMP"
    """The name of the run that it is compared with."""
    caught_by: str = ""
    """The test of this repository that fails on such code, ``file::name``; empty: a choice, not an error."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ."""
    parts: Callable[[NoisyDataset, Settings], Parts] = usual_parts
    correct: Callable[..., Correction] = correct
    """The correction phase, with the arguments of :func:`dsl_teach.training.loop.correct`."""
    train: Callable[..., tuple[dict[str, float | None], Correction | None]] = train_as_usual
    """The training phase, with the arguments of :func:`train_as_usual`."""
    network: Callable[[EmbeddingNetwork], EmbeddingNetwork] = lambda network: network
    """What is done to a new network."""
    rate: Callable[[int, Settings], float] = lambda epoch, settings: 1.0
    """What the learning rate of an epoch is multiplied with."""


@dataclass(frozen=True)
class Trial:
    """A finished run with a suspect switched on."""

    suspect: Suspect
    run: Run
    unrest: list[float | None]
    """For each epoch the share of corrected labels that differ from those of the epoch before."""
    test_parts: Mapping[str, float]
    """Test accuracy of the groups that the suspect tells apart."""
    prototypes_right: float | None
    """Share of the last prototypes whose noisy label is the true one; None without any, or without clean labels."""


def try_suspect(suspect: Suspect, data: NoisyDataset, settings: Settings) -> Trial:
    """Train with one suspect switched on; everything else, random numbers too, is as in ``fit``.

    Args:
        suspect: what to exchange.
        data: any data set in memory.
        settings: every knob; the suspect's own changes come on top.
    """
    settings = settings.replace(**suspect.changes)
    parts = suspect.parts(data, settings)
    network = suspect.network(new_network(data, settings))
    result, unrest = _fit(suspect, network, parts, settings)
    shares = {name: evaluate(network, part) for name, part in parts.test_parts.items()}
    right = _prototypes_right(result.correction, parts)
    return Trial(suspect, Run(settings, data, network, result), unrest, shares, right)


def new_network(data: NoisyDataset, settings: Settings) -> EmbeddingNetwork:
    """The network that :func:`dsl_teach.run` would begin with."""
    return prepare(first_network(data, settings), settings)


def _fit(
    suspect: Suspect, network: EmbeddingNetwork, parts: Parts, settings: Settings
) -> tuple[Result, list[float | None]]:
    optimizer, schedule = make_optimizer(network, settings)
    history, unrest = [], []
    correction = before = _correct_if_due(suspect, network, parts, settings, 0, None)
    for epoch in range(settings.epochs):
        with _times(optimizer, suspect.rate(epoch, settings)):
            figures, used = suspect.train(network, parts, correction, optimizer, settings, epoch)
        history.append(make_record(epoch, figures, used, test_accuracy=evaluate(network, parts.test)))
        unrest.append(_share_that_differs(before, used))
        before = used
        correction = _correct_if_due(suspect, network, parts, settings, epoch + 1, correction)
        schedule.step()
    return Result(history, correction), unrest


def _correct_if_due(
    suspect: Suspect,
    network: EmbeddingNetwork,
    parts: Parts,
    settings: Settings,
    epoch: int,
    so_far: Correction | None,
) -> Correction | None:
    if not correction_is_due(settings, epoch):
        return so_far
    return suspect.correct(network, parts.train, settings, epoch, clean_labels=parts.clean_labels)


def _prototypes_right(correction: Correction | None, parts: Parts) -> float | None:
    if correction is None or parts.clean_labels is None:
        return None
    index = correction.prototypes.index.flatten()
    index = index[index >= 0]  # -1 marks an empty place
    return accuracy(parts.train.noisy_labels[index], parts.clean_labels[index])


class _times:
    """Inside the block every learning rate is a multiple of what it was."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: float):
        self.groups, self.factor = optimizer.param_groups, factor

    def __enter__(self) -> None:
        self.before = [group["lr"] for group in self.groups]
        for group in self.groups:
            group["lr"] *= self.factor

    def __exit__(self, *_: object) -> None:
        for group, rate in zip(self.groups, self.before, strict=True):
            group["lr"] = rate


def _share_that_differs(before: Correction | None, now: Correction | None) -> float | None:
    if before is None or now is None or before is now:
        return None
    return float((before.labels != now.labels).double().mean())
