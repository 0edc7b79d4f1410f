"""Which labels to look at first: the ranking by class scores, beside those that cleanlab makes of probabilities.

Source of the others: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal
of Artificial Intelligence Research, 2021, as the library cleanlab computes them.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, ParamSpec, TypeVar

import pandas as pd
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from dsl_lessons.lessons import fit_to
from dsl_lessons.why import sight_of
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.metrics import average_precision
from dsl_teach.prototypes import suspicion
from dsl_teach.training.keeper import Keeper
from dsl_teach.training.loop import frozen
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Correction, Result
from dsl_teach.training.runs import Run, make_batches
from dsl_teach.training.state import State

Quality = Literal["self_confidence", "normalized_margin"]
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

CLASS_SCORES = "class scores"
QUALITIES: dict[Quality, str] = {
    "self_confidence": "cleanlab, self-confidence",
    "normalized_margin": "cleanlab, normalized margin",
}
"""cleanlab's names of its scores, and ours for tables."""


def compare_rankings(data: NoisyDataset, settings: Settings, *, folds: int = 5, at: Sequence[int] = ()) -> pd.DataFrame:
    """Rank the given labels by how doubtful they are, in several ways, and see how well each finds the wrong ones.

    Three trainings with the same first weights, optimizer and epochs: by SMP, by cross-entropy, and by cross-entropy
    in folds, so that each sample is judged by a network that was not trained on it. The last is how cleanlab asks to
    be used; the two others give it probabilities of samples that were trained on (marked "in sample").

    Args:
        data: images in memory, with clean labels where they are known.
        settings: of all trainings; ``alpha`` counts for SMP alone.
        folds: parts of the cross-validation, each with the same shares of the noisy labels.
        at: numbers of epochs after which to rank, on the way; by default only after the last one. A network that has
            been trained for long has memorised wrong labels, which matters to some rankings more than to others.

    Returns:
        One row a ranking: ``network`` it comes from, ``ranking``, ``epochs``, ``seed``, ``average_precision`` (1 is
        best), the share of ``wrong`` labels (what a ranking by chance comes to), and ``seconds``: processor time of
        all that it needs, from the first training step to the last number. Looks at the test set are left out.

    Raises:
        ValueError: if no clean label is known, alpha is 0, ``at`` is no epoch of the run, or a class has fewer
            samples than there are folds.
    """
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which ranking finds the wrong ones.")
    if settings.alpha == 0:
        raise ValueError("alpha must be above 0: with alpha = 0 SMP is cross-entropy, and there is nothing to compare.")
    _require_folds(data, folds)
    at = tuple(at) or (settings.epochs,)
    if not all(1 <= epoch <= settings.epochs for epoch in at):
        raise ValueError(f"at must name epochs from 1 to {settings.epochs} (epochs), but it is {at}.")
    plain = settings.replace(alpha=0.0)
    rankings = [
        *by_one_network("SMP", data, settings, at),
        *by_one_network("cross-entropy", data, plain, at),
        *by_folds(f"cross-entropy, {folds} folds", data, plain, at, folds),
    ]
    known = data.clean_labels >= 0
    wrong = float((data.noisy_labels != data.clean_labels)[known].double().mean())
    return pd.DataFrame(
        {
            "network": one.network,
            "ranking": one.ranking,
            "epochs": one.epochs,
            "seed": settings.seed,
            "average_precision": average_precision(one.doubt, data.noisy_labels, data.clean_labels),
            "wrong": wrong,
            "seconds": one.seconds,
        }
        for one in rankings
    )


class Ranking(NamedTuple):
    """A ranking of the given labels, and what it took."""

    network: str
    ranking: str
    epochs: int
    doubt: Tensor
    """(N,), the larger, the more doubtful."""
    seconds: float


class Snapshot(NamedTuple):
    """A network on its way."""

    network: EmbeddingNetwork
    correction: Correction | None
    """The one made by this very network; None if it made none."""
    seconds: float
    """Processor time of training until here, corrections included."""


class Snapshots(Keeper):
    """Keeps a copy of the network after some of the epochs.

    Args:
        at: after which.
    """

    def __init__(self, at: Sequence[int]):
        self.at, self.taken, self._start = set(at), dict[int, Snapshot](), time.process_time()

    def keep(self, state: State) -> None:
        """Called by ``fit`` after every epoch."""
        if state.epoch in self.at:
            seconds = time.process_time() - self._start
            correction = state.correction if state.correction and state.correction.epoch == state.epoch else None
            self.taken[state.epoch] = Snapshot(copy.deepcopy(state.frozen), correction, seconds)


def snapshots(data: NoisyDataset, settings: Settings, at: Sequence[int]) -> dict[int, Snapshot]:
    """Train once, and keep the network after each of these numbers of epochs."""
    keeper = Snapshots(at)
    fit_to(without_test(data), settings, keeper=keeper)
    return keeper.taken


def by_one_network(name: str, data: NoisyDataset, settings: Settings, at: Sequence[int]) -> Iterator[Ranking]:
    """The rankings by one network trained on all samples: ours by class scores, cleanlab's by its probabilities."""
    batches = make_batches(data, settings, "cpu")[0]
    for epoch, taken in snapshots(data, settings, at).items():
        run = Run(settings.replace(epochs=epoch), data, taken.network, Result([], taken.correction))
        doubt, seconds = timed(class_score_doubt, run)
        yield Ranking(name, CLASS_SCORES, epoch, doubt, taken.seconds + seconds)
        seen, seconds = timed(probabilities, taken.network, batches)
        yield from by_cleanlab(f"{name}, in sample", epoch, data.noisy_labels, seen, taken.seconds + seconds)


def by_folds(name: str, data: NoisyDataset, settings: Settings, at: Sequence[int], folds: int) -> Iterator[Ranking]:
    """Cleanlab's rankings by probabilities out of sample."""
    for epoch, (seen, seconds) in out_of_sample(data, settings, at, folds).items():
        yield from by_cleanlab(name, epoch, data.noisy_labels, seen, seconds)


def by_cleanlab(name: str, epochs: int, noisy_labels: Tensor, seen: Tensor, before: float) -> Iterator[Ranking]:
    """A ranking by each of cleanlab's scores; ``before`` is what the probabilities took."""
    for quality, title in QUALITIES.items():
        doubt, seconds = timed(cleanlab_doubt, seen, noisy_labels, quality)
        yield Ranking(name, title, epochs, doubt, before + seconds)


def class_score_doubt(run: Run) -> Tensor:
    """How doubtful each label is by the class scores of the finished network, (N,)."""
    return suspicion(sight_of(run).class_scores.cpu(), run.data.noisy_labels)


def cleanlab_doubt(probabilities: Tensor, noisy_labels: Tensor, quality: Quality = "normalized_margin") -> Tensor:
    """How doubtful each label is by cleanlab: 1 minus its label quality score.

    Args:
        probabilities: (N, K), rows sum to 1.
        noisy_labels: (N,) int64.
        quality: ``"self_confidence"`` (the probability of the given label) or ``"normalized_margin"`` (how far it
            is ahead of the likeliest other class).

    Returns:
        (N,) float64 from 0 to 1, the larger, the more doubtful.
    """
    rows = probabilities.double().numpy(force=True)
    return torch.from_numpy(1 - get_label_quality_scores(noisy_labels.numpy(force=True), rows, method=quality))


def out_of_sample(
    data: NoisyDataset, settings: Settings, at: Sequence[int], folds: int
) -> dict[int, tuple[Tensor, float]]:
    """Class probabilities of every training sample by networks that were not trained on it, by cross-validation.

    Args:
        data: images in memory.
        settings: of each training.
        at: numbers of epochs after which the networks are asked.
        folds: parts; each is judged by a network that was trained on the others.

    Returns:
        Epochs -> (N, K) probabilities, row i belonging to the sample with index i, and the processor seconds of all
        trainings until then.
    """
    seen = {epoch: torch.zeros(len(data), data.num_classes) for epoch in at}
    seconds = dict.fromkeys(at, 0.0)
    parts = StratifiedKFold(folds, shuffle=True, random_state=settings.seed)
    for rows in parts.split(torch.zeros(len(data)), data.noisy_labels.numpy(force=True)):
        trained_on, held_out = (torch.from_numpy(part) for part in rows)
        batches = make_batches(rows_of(data, held_out), settings, "cpu")[0]
        for epoch, taken in snapshots(rows_of(data, trained_on), settings, at).items():
            seen[epoch][held_out], passing = timed(probabilities, taken.network, batches)
            seconds[epoch] += taken.seconds + passing
    return {epoch: (seen[epoch], seconds[epoch]) for epoch in at}


def probabilities(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """What the network, as it is, gives each sample: softmax of its logits, (N, K), in the order of the index."""
    with frozen(network):
        return torch.cat([network(batch.images)[0].softmax(dim=1) for batch in batches.in_order()])


def timed(work: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs) -> tuple[Answer, float]:
    """The answer of a call, and the processor seconds it took: what other programs take does not count."""
    start = time.process_time()
    answer = work(*args, **kwargs)
    return answer, time.process_time() - start


def rows_of(data: NoisyDataset, rows: Tensor) -> NoisyDataset:
    """Only these training samples, numbered anew; all of the test set."""
    if isinstance(data.images, ImageFiles):
        raise TypeError(f"{data.name} lives on disk: this needs images in memory.")
    clean_labels = None if data.clean_labels is None else data.clean_labels[rows]
    return dataclasses.replace(
        data, images=data.images[rows], noisy_labels=data.noisy_labels[rows], clean_labels=clean_labels, verified=None
    )


def without_test(data: NoisyDataset) -> NoisyDataset:
    """The same with one test image left: a look at the test set, after every epoch, then costs nothing."""
    if isinstance(data.test_images, ImageFiles):
        raise TypeError(f"{data.name} lives on disk: this needs images in memory.")
    return dataclasses.replace(data, test_images=data.test_images[:1], test_labels=data.test_labels[:1])


def _require_folds(data: NoisyDataset, folds: int) -> None:
    fewest = int(torch.bincount(data.noisy_labels, minlength=data.num_classes).min())
    if not 2 <= folds <= fewest:
        raise ValueError(
            f"folds must be from 2 to {fewest}, the size of the smallest class of {data.name}, but it is {folds}."
        )
