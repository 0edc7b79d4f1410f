"""Rankings of doubtful labels, ours and cleanlab's, by networks stopped at several numbers of epochs."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from dsl_lessons.explain import sight_of
from dsl_lessons.label_ranking import Score, label_quality, probabilities_of
from dsl_lessons.self_learning import clean_labels_of
from sklearn.metrics import average_precision_score
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.prototypes import label_margin
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Callback, Result, State
from dsl_teach.training.runs import Run, make_batches, run

CLASS_SCORES = "class scores"
CLEANLAB: dict[Score, str] = {
    "self_confidence": "cleanlab, self-confidence",
    "normalized_margin": "cleanlab, normalized margin",
}
"""cleanlab's names of its scores, and ours for tables."""


def average_precision(quality: Tensor, noisy_labels: Tensor, clean_labels: Tensor) -> float:
    r"""How well a ranking puts wrong labels first: 1 if all of them come before the first right one.

    .. math:: \frac{1}{W} \sum_{i:\, y_i \ne y^*_i} \frac{w_i}{n_i}

    with W wrong labels in all; of the n_i samples of at most sample i's quality, w_i have a wrong label. By chance it
    comes to the share of wrong labels; where none is wrong, it is NaN.
    """
    known = clean_labels >= 0
    wrong, doubt = (noisy_labels != clean_labels)[known], -quality[known].double().nan_to_num()
    return float(average_precision_score(wrong, doubt)) if bool(wrong.any()) else float("nan")


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
    clean, at = clean_labels_of(data), tuple(at) or (settings.epochs,)
    _require_comparable(data, settings, folds, at)
    plain = settings.replace(alpha=0.0)
    rankings = [
        *by_one_network("SMP", data, settings, at),
        *by_one_network("cross-entropy", data, plain, at),
        *by_folds(f"cross-entropy, {folds} folds", data, plain, at, folds),
    ]
    wrong = float((data.noisy_labels != clean)[clean >= 0].double().mean())
    return pd.DataFrame(
        {name: value for name, value in vars(one).items() if name != "quality"}
        | {"seed": settings.seed, "wrong": wrong}
        | {"average_precision": average_precision(one.quality, data.noisy_labels, clean)}
        for one in rankings
    )


@dataclasses.dataclass(frozen=True)
class Ranking:
    """A ranking of the given labels, and what it took."""

    network: str
    ranking: str
    epochs: int
    quality: Tensor
    """(N,), the lower, the more doubtful."""
    seconds: float


class Snapshots(Callback):
    """Copies of the network as it trains, each with the processor seconds of the training until then.

    Args:
        at: the numbers of epochs after which a copy is taken.
    """

    def __init__(self, at: Sequence[int]):
        self.at, self.taken = set(at), dict[int, tuple[EmbeddingNetwork, float]]()

    def on_train_begin(self, state: State) -> None:
        """Start the clock."""
        self.start = time.process_time()

    def on_epoch_end(self, state: State) -> None:
        """Take a copy if it is wanted."""
        if state.epoch in self.at:
            self.taken[state.epoch] = copy.deepcopy(state.evaluated), time.process_time() - self.start


def snapshots(data: NoisyDataset, settings: Settings, at: Sequence[int]) -> dict[int, tuple[EmbeddingNetwork, float]]:
    """Train once; the network after each of these numbers of epochs, and the processor seconds until then."""
    one_test_image = dataclasses.replace(
        data, test_images=_pixels(data.test_images)[:1], test_labels=data.test_labels[:1]
    )
    kept = Snapshots(at)
    run(settings, one_test_image, callbacks=[kept])  # a look at the test set, after every epoch, costs nothing then
    return kept.taken


def by_one_network(name: str, data: NoisyDataset, settings: Settings, at: Sequence[int]) -> Iterator[Ranking]:
    """The rankings by one network trained on all samples: ours by class scores, cleanlab's by its probabilities."""
    batches = make_batches(data, settings, "cpu")[0]
    for epochs, (network, seconds) in snapshots(data, settings, at).items():
        start = time.process_time()
        scores = sight_of(Run(settings.replace(epochs=epochs), data, network, Result([], None))).class_scores
        quality = label_margin(scores, data.noisy_labels)
        yield Ranking(name, CLASS_SCORES, epochs, quality, seconds + time.process_time() - start)
        start = time.process_time()
        seen = probabilities_of(network, batches)
        yield from by_cleanlab(
            f"{name}, in sample", epochs, data.noisy_labels, seen, seconds + time.process_time() - start
        )


def by_folds(name: str, data: NoisyDataset, settings: Settings, at: Sequence[int], folds: int) -> Iterator[Ranking]:
    """Cleanlab's rankings by probabilities out of sample."""
    for epochs, (seen, seconds) in out_of_sample(data, settings, at, folds).items():
        yield from by_cleanlab(name, epochs, data.noisy_labels, seen, seconds)


def by_cleanlab(name: str, epochs: int, noisy_labels: Tensor, seen: Tensor, before: float) -> Iterator[Ranking]:
    """A ranking by each of cleanlab's scores; ``before`` is what the probabilities took."""
    for score, title in CLEANLAB.items():
        start = time.process_time()
        quality = label_quality(seen, noisy_labels, score)
        yield Ranking(name, title, epochs, quality, before + time.process_time() - start)


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
    from sklearn.model_selection import StratifiedKFold

    seen, seconds = {epochs: torch.zeros(len(data), data.num_classes) for epochs in at}, dict.fromkeys(at, 0.0)
    parts = StratifiedKFold(folds, shuffle=True, random_state=settings.seed)
    for rows in parts.split(torch.zeros(len(data)), data.noisy_labels.numpy(force=True)):
        trained_on, held_out = (torch.from_numpy(part) for part in rows)
        batches = make_batches(rows_of(data, held_out), settings, "cpu")[0]
        for epochs, (network, training) in snapshots(rows_of(data, trained_on), settings, at).items():
            start = time.process_time()
            seen[epochs][held_out] = probabilities_of(network, batches)
            seconds[epochs] += training + time.process_time() - start
    return {epochs: (seen[epochs], seconds[epochs]) for epochs in at}


def rows_of(data: NoisyDataset, rows: Tensor) -> NoisyDataset:
    """Only these training samples, numbered anew; all of the test set."""
    clean_labels = None if data.clean_labels is None else data.clean_labels[rows]
    images, labels = _pixels(data.images)[rows], data.noisy_labels[rows]
    return dataclasses.replace(data, images=images, noisy_labels=labels, clean_labels=clean_labels, verified=None)


def _pixels(images: Tensor | ImageFiles) -> Tensor:
    if isinstance(images, ImageFiles):
        raise TypeError("The images live on disk: this needs images in memory.")
    return images


def _require_comparable(data: NoisyDataset, settings: Settings, folds: int, at: Sequence[int]) -> None:
    if settings.alpha == 0:
        raise ValueError("alpha must be above 0: with alpha = 0 SMP is cross-entropy, and there is nothing to compare.")
    fewest = int(torch.bincount(data.noisy_labels, minlength=data.num_classes).min())
    if not 2 <= folds <= fewest:
        raise ValueError(
            f"folds must be from 2 to {fewest}, the size of the smallest class of {data.name}, but it is {folds}."
        )
    if not all(1 <= epoch <= settings.epochs for epoch in at):
        raise ValueError(f"at must name epochs from 1 to {settings.epochs} (epochs), but it is {at}.")
