"""Which labels to look at first: the ranking by class scores, beside those that cleanlab makes of probabilities.

Source of the others: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal
of Artificial Intelligence Research, 2021, as the library cleanlab computes them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Literal, TypeVar

import pandas as pd
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.lab.lessons import fit_to
from dsl_teach.lab.why import sight_of
from dsl_teach.metrics import average_precision, interval, paired_difference
from dsl_teach.prototypes import suspicion
from dsl_teach.training.loop import frozen
from dsl_teach.training.models import EmbeddingNetwork
from dsl_teach.training.runs import make_batches

Quality = Literal["self_confidence", "normalized_margin"]
Answer = TypeVar("Answer")

CLASS_SCORES = "class scores"
QUALITIES: dict[Quality, str] = {
    "self_confidence": "cleanlab, self-confidence",
    "normalized_margin": "cleanlab, normalized margin",
}
"""cleanlab's names of its scores, and ours for tables."""


def compare_rankings(data: NoisyDataset, settings: Settings, *, folds: int = 5) -> pd.DataFrame:
    """Rank the given labels by how doubtful they are, in several ways, and see how well each finds the wrong ones.

    Three trainings with the same network, first weights, optimizer and epochs: by SMP, by cross-entropy, and by
    cross-entropy in folds, so that each sample is judged by a network that was not trained on it. The last is how
    cleanlab asks to be used; from the two others it gets probabilities of samples that were trained on.

    Args:
        data: images in memory, with clean labels where they are known.
        settings: of all trainings; ``alpha`` counts for SMP alone.
        folds: parts of the cross-validation, each with the same shares of the noisy labels.

    Returns:
        One row a ranking: ``network`` it comes from, ``ranking``, ``seed``, ``average_precision`` (1 is best), the
        share of ``wrong`` labels (what a ranking by chance comes to), and ``seconds``: processor time of all that
        the ranking needs, from the first training step to the last number. Looks at the test set are left out.

    Raises:
        ValueError: if no clean label is known, alpha is 0, or a class has fewer samples than there are folds.
    """
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which ranking finds the wrong ones.")
    if settings.alpha == 0:
        raise ValueError("alpha must be above 0: with alpha = 0 SMP is cross-entropy, and there is nothing to compare.")
    _require_folds(data, folds)
    given, plain = data.noisy_labels, settings.replace(alpha=0.0)
    rankings = [
        *_by_one_network("SMP", data, settings),
        *_by_one_network("cross-entropy", data, plain),
        *_by_cleanlab(f"cross-entropy, {folds} folds", given, *timed(lambda: out_of_sample(data, plain, folds))),
    ]
    rows = [
        {"network": network, "ranking": ranking, "seed": settings.seed, "seconds": seconds}
        | {"average_precision": average_precision(doubt, given, data.clean_labels)}
        for network, ranking, doubt, seconds in rankings
    ]
    known = data.clean_labels >= 0
    return pd.DataFrame(rows).assign(wrong=float((given != data.clean_labels)[known].double().mean()))


Ranking = tuple[str, str, Tensor, float]
"""Network, name of the ranking, how doubtful each label is, processor seconds."""


def _by_one_network(name: str, data: NoisyDataset, settings: Settings) -> list[Ranking]:
    """The rankings by one network trained on all samples: ours by its class scores, cleanlab's by its probabilities."""
    run, training = timed(lambda: fit_to(without_test(data), settings))
    doubt, seconds = timed(lambda: suspicion(sight_of(run).class_scores, data.noisy_labels))
    batches = make_batches(data, settings, "cpu")[0]
    seen, seeing = timed(lambda: probabilities(run.network, batches))
    # A network trained by SMP has corrected labels all along the way: their seconds are part of its training.
    return [
        (name, CLASS_SCORES, doubt, training + seconds),
        *_by_cleanlab(name, data.noisy_labels, seen, training + seeing),
    ]


def _by_cleanlab(name: str, noisy_labels: Tensor, seen: Tensor, before: float) -> list[Ranking]:
    rankings = []
    for quality, title in QUALITIES.items():
        doubt, seconds = timed(lambda quality=quality: cleanlab_doubt(seen, noisy_labels, quality))  # type: ignore[misc]
        rankings.append((name, title, doubt, before + seconds))
    return rankings


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


def out_of_sample(data: NoisyDataset, settings: Settings, folds: int) -> Tensor:
    """Class probabilities of every training sample by a network that was not trained on it, by cross-validation.

    Args:
        data: images in memory.
        settings: of each training.
        folds: parts; each is judged by a network that was trained on the others.

    Returns:
        (N, K), row i belonging to the sample with index i.

    Raises:
        ValueError: if a class has fewer samples than there are folds.
    """
    _require_folds(data, folds)
    seen = torch.zeros(len(data), data.num_classes)
    parts = StratifiedKFold(folds, shuffle=True, random_state=settings.seed)
    for trained_on, held_out in parts.split(torch.zeros(len(data)), data.noisy_labels.numpy(force=True)):
        run = fit_to(rows_of(without_test(data), torch.from_numpy(trained_on)), settings)
        batches = make_batches(rows_of(data, torch.from_numpy(held_out)), settings, "cpu")[0]
        seen[torch.from_numpy(held_out)] = probabilities(run.network, batches)
    return seen


def probabilities(network: EmbeddingNetwork, batches: Batches) -> Tensor:
    """What the network, as it is, gives each sample: softmax of its logits, (N, K), in the order of the index."""
    with frozen(network):
        return torch.cat([network(batch.images)[0].softmax(dim=1) for batch in batches.in_order()])


def ranking_table(rows: pd.DataFrame, *, against: tuple[str, str] = ("SMP", CLASS_SCORES)) -> pd.DataFrame:
    """Mean over seeds with its 95 % interval, and the difference to one ranking, seed by seed.

    Args:
        rows: of :func:`compare_rankings`, of several seeds.
        against: network and ranking that the others are subtracted from.

    Returns:
        A line a ranking; average precision in percent, processor seconds, and ``ahead`` in points: how much better
        ``against`` is, paired.
    """
    by_seed = rows.assign(percent=100 * rows["average_precision"]).set_index("seed")
    names = ["network", "ranking"]
    ours = by_seed[(by_seed["network"] == against[0]) & (by_seed["ranking"] == against[1])]["percent"]
    lines = []
    for key, group in by_seed.groupby(names, sort=False):
        ahead = paired_difference(ours.loc[group.index].tolist(), group["percent"].tolist())
        line = dict(zip(names, key, strict=True)) | {"seeds": len(group)}
        line["average precision %"] = str(interval(group["percent"].tolist()))
        line["ahead"] = "" if key == against else f"{ahead.mean:+.1f} ± {ahead.half:.1f}"
        lines.append(line | {"seconds": str(interval(group["seconds"].tolist()))})
    return pd.DataFrame(lines).set_index(names)


def timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    """The answer of a call, and the processor seconds it took: what other programs take does not count."""
    start = time.process_time()
    return work(), time.process_time() - start


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
