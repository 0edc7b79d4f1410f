"""Small helpers of the lessons: toys with wrong labels, and runs on data that stand in no catalogue."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import pandas as pd
import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.catalog import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.digits import neighbour_probabilities
from dsl_teach.data.relabel import with_labels
from dsl_teach.data.toy import toy_clusters
from dsl_teach.metrics import accuracy, interval
from dsl_teach.noise import instance_dependent_noise, pair_flip_noise
from dsl_teach.seeds import stream
from dsl_teach.training.keeper import Keeper
from dsl_teach.training.loop import EpochRecord, fit
from dsl_teach.training.runs import Run, first_network, make_batches

RESULT_COLUMNS = {"test_accuracy": "test accuracy %", "label_accuracy": "corrected labels right %"}


def noisy_clusters(
    *, seed: int, noise_rate: float, modes: int = 2, overlap: float = 0.5, samples_per_class: int = 200
) -> NoisyDataset:
    """Three classes of points on a ring; where classes meet, points are mislabelled more often.

    Args:
        seed: points and noise follow from it.
        noise_rate: share of wrong training labels.
        modes: islands a class.
        overlap: how far islands run into each other, see :func:`dsl_teach.data.toy.toy_clusters`.
        samples_per_class: training points a class.
    """
    data = toy_clusters(seed=seed, modes=modes, overlap=overlap, samples_per_class=samples_per_class)
    probabilities = neighbour_probabilities(points_of(data), data.noisy_labels, num_classes=data.num_classes)
    noise = instance_dependent_noise(probabilities, data.noisy_labels, noise_rate, generator=stream(seed, "toy noise"))
    return with_labels(data, noise.noisy_labels, made_from=f"{noise_rate:.0%} input-dependent label noise")


def pair_flipped(settings: Settings, noise_rate: float) -> NoisyDataset:
    """The data of a run with other wrong labels: a share of each class carries the label of the next class.

    Args:
        settings: name the data set and the seed.
        noise_rate: share of wrong training labels.
    """
    data = load_dataset(settings)
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels to flip.")
    generator = stream(settings.seed, "pair flip")
    noise = pair_flip_noise(data.clean_labels, noise_rate, num_classes=data.num_classes, generator=generator)
    images = dataclasses.replace(data, made_from=data.name)
    return with_labels(images, noise.noisy_labels, made_from=f"{noise_rate:.0%} pair flips")


def points_of(data: NoisyDataset) -> Tensor:
    """The training images as rows of numbers, (N, D)."""
    if not isinstance(data.images, Tensor):
        raise TypeError(f"{data.name} lives on disk: this needs images in memory.")
    return data.images.flatten(1).float()


def neighbour_vote(data: NoisyDataset, k: int = 15) -> Tensor:
    """The commonest noisy label among the k nearest other samples, the lowest class in a tie.

    Args:
        data: images in memory; nearness is the distance between pixels, or between points.
        k: how many neighbours vote.

    Returns:
        (N,) int64.
    """
    points = points_of(data)
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    labels = data.noisy_labels[distance.topk(k, largest=False).indices]
    return torch.nn.functional.one_hot(labels, data.num_classes).sum(dim=1).argmax(dim=1)


def fit_to(
    data: NoisyDataset,
    settings: Settings,
    *,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    keeper: Keeper | None = None,
) -> Run:
    """Build the network that the settings name and fit it to these data, as :func:`dsl_teach.run` does.

    Args:
        data: any data set in memory; what ``settings`` say about data is not looked at.
        settings: every other knob.
        on_epoch: called with each epoch's record.
        keeper: looks on, see :class:`dsl_lessons.why.LabelHistory`.
    """
    train, test = make_batches(data, settings, "cpu")
    network = first_network(data, settings)
    result = fit(network, train, test, settings, clean_labels=data.clean_labels, on_epoch=on_epoch, keeper=keeper)
    return Run(settings, data, network, result)


def fit_many(
    many: Sequence[tuple[NoisyDataset, Settings]], *, workers: int = 1, on_run: Callable[[Run], None] | None = None
) -> list[Run]:
    """Several fits side by side, one thread each; see :func:`dsl_teach.training.runs.run_many`.

    Args:
        many: the data and the settings of each run.
        workers: how many run at a time, each in a process of its own.
        on_run: called with each run as it finishes, in the order given.
    """
    finished = []
    for done in joblib.Parallel(n_jobs=workers, return_as="generator")(
        joblib.delayed(_fit_alone)(*one) for one in many
    ):
        finished.append(done)
        if on_run is not None:
            on_run(done)
    return finished


def _fit_alone(data: NoisyDataset, settings: Settings) -> Run:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fit_to(data, settings)
    finally:
        torch.set_num_threads(threads)


def first_correction(rows: pd.DataFrame) -> list[float]:
    """For each row, the share of labels that was right after its first correction."""
    return [next(share for share in curve if share is not None) for curve in rows["label_curve"]]


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


def run_rows(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run: what it was, how it ended, and its curves over the epochs, shares from 0 to 1."""
    rows = []
    for one in runs:
        history, correction = one.result.history, one.result.correction
        rows.append(
            {
                "made_from": one.data.made_from,
                "alpha": one.settings.alpha,
                "correction_start": one.settings.correction_start,
                "seed": one.settings.seed,
                "test_accuracy": history[-1].test_accuracy,
                "label_accuracy": None if correction is None else correction.report.label_accuracy,
                "test_curve": [round(record.test_accuracy, 4) for record in history],
                "label_curve": [record.label_accuracy and round(record.label_accuracy, 4) for record in history],
            }
        )
    return pd.DataFrame(rows)


def prototypes_right(run: Run) -> float:
    """The share of the last correction's prototypes whose noisy label is the true one."""
    if run.result.correction is None or run.data.clean_labels is None:
        raise ValueError("This needs a run with a correction, on data whose clean labels are known.")
    index = run.result.correction.prototypes.index.flatten()
    index = index[index >= 0]  # -1 marks an empty place
    return accuracy(run.data.noisy_labels[index], run.data.clean_labels[index])


def with_intervals(rows: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """Mean over seeds and half of the 95 % interval, in percent.

    Args:
        rows: from :func:`run_rows`.
        by: the column, or columns, that make a line of the table.
    """
    names = [by] if isinstance(by, str) else by
    lines = []
    for _, group in rows.groupby(names):
        line: dict[str, Any] = {name: group[name].iloc[0] for name in names} | {"seeds": len(group)}
        for column, title in RESULT_COLUMNS.items():
            known = (100 * group[column].astype(float)).dropna().tolist()
            line[title] = str(interval(known)) if known else ""
        lines.append(line)
    return pd.DataFrame(lines).set_index(by)
