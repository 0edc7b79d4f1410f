"""What :func:`dsl_teach.training.loop.fit` is handed: an injected bug exchanges a part of it, and ``fit`` runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.training.correction import correct
from dsl_teach.training.loop import fit
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Callback, Correction, Result
from dsl_teach.training.runs import first_network, make_batches


@dataclasses.dataclass(frozen=True)
class Trial:
    """A run before it begins. Data, noise, first weights and order of batches follow from the seed."""

    network: EmbeddingNetwork
    train: Batches
    test: Batches
    settings: Settings
    clean_labels: Tensor | None
    """(N,) int64, the true labels of the training samples, for the records."""
    correct: Callable[..., Correction] = correct
    callbacks: tuple[Callback, ...] = ()

    @classmethod
    def begin(cls, data: NoisyDataset, settings: Settings) -> Trial:
        """The method as it should be, on any data set in memory."""
        return cls(first_network(data, settings), *make_batches(data, settings, "cpu"), settings, data.clean_labels)

    def replace(self, **parts: Any) -> Trial:
        """The same with other parts."""
        return dataclasses.replace(self, **parts)

    def fit(self, *more: Callback) -> Result:
        """Train the network, followed by ``more`` callbacks."""
        known: dict[str, Any] = {"clean_labels": self.clean_labels, "correct": self.correct}
        return fit(self.network, self.train, self.test, self.settings, callbacks=[*self.callbacks, *more], **known)


def pixels(batches: Batches) -> Tensor:
    """(N, ...), the images behind batches, in the fixed view."""
    return torch.cat([batch.images for batch in batches.in_order()])
