"""Small helpers of the lessons: fit a network to data that stands in no catalogue, and noise for the toys."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.seeds import stream
from dsl_teach.training.loop import EpochRecord, fit
from dsl_teach.training.models import build_network
from dsl_teach.training.runs import Run, make_batches


def fit_to(data: NoisyDataset, settings: Settings, *, on_epoch: Callable[[EpochRecord], None] | None = None) -> Run:
    """Build the network that the settings name and fit it to these data, as :func:`dsl_teach.run` does.

    Args:
        data: any data set in memory; what ``settings`` say about data is not looked at.
        settings: every other knob.
        on_epoch: called with each epoch's record.
    """
    train, test = make_batches(data, settings, "cpu")
    network = build_network(
        settings.network,
        images=data.images,
        num_classes=data.num_classes,
        width=settings.width,
        generator=stream(settings.seed, "weights"),
    )
    result = fit(network, train, test, settings, clean_labels=data.clean_labels, on_epoch=on_epoch)
    return Run(settings, data, network, result)


def same_matrix_by_chance(noisy_labels: Tensor, clean_labels: Tensor, *, seed: int) -> Tensor:
    """Deal the noisy labels out anew within each true class: the transition matrix stays, the images are forgotten.

    Args:
        noisy_labels: (N,) int64.
        clean_labels: (N,) int64.
        seed: of the shuffle.

    Returns:
        (N,) int64: every true class carries the same labels as before, on samples drawn at random.
    """
    dealt, generator = noisy_labels.clone(), stream(seed, "same matrix")
    for c in clean_labels.unique():
        rows = (clean_labels == c).nonzero().flatten()
        dealt[rows] = noisy_labels[rows[torch.randperm(len(rows), generator=generator)]]
    return dealt
