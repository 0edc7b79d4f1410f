"""Why was this label changed? The class scores of one image, the prototypes that voted, and its labels by epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.prototypes import Prototypes, best_class, suspicion
from dsl_teach.prototypes.density import unit_rows
from dsl_teach.training.correction import correct, look, score
from dsl_teach.training.distributed import ALONE
from dsl_teach.training.keeper import Keeper
from dsl_teach.training.runs import Run, make_batches
from dsl_teach.training.state import State


class LabelHistory(Keeper):
    """Remembers the corrected labels of every epoch while ``fit`` runs.

    Attributes:
        labels: epochs trained before the correction -> (N,) corrected labels, by index.
    """

    def __init__(self) -> None:
        self.labels: dict[int, Tensor] = {}

    def keep(self, state: State) -> None:
        """Called by ``fit`` after every epoch: note the labels if they are new."""
        if state.correction is not None:
            self.labels.setdefault(state.correction.epoch, state.correction.labels.cpu())


def label_history(folder: str | Path) -> dict[int, Tensor]:
    """The corrected labels of every epoch that a run folder keeps.

    Args:
        folder: of a run, finished or not.

    Returns:
        Epochs trained before the correction -> (N,) corrected labels, by index, in ascending order.

    Raises:
        FileNotFoundError: if the folder keeps no corrected labels.
    """
    found = {}
    for path in sorted((Path(folder) / "labels").glob("epoch-*.pt")):
        match = re.fullmatch(r"epoch-(\d+)", path.stem)
        if match:
            found[int(match[1])] = torch.load(path, map_location="cpu", weights_only=True)
    if not found:
        raise FileNotFoundError(
            f"{folder} keeps no corrected labels: it is no run folder, its first correction is still to come, or its "
            "alpha is 0."
        )
    return found


@dataclass(frozen=True)
class Sight:
    """What a finished network sees in every training sample, and by whom it judges them."""

    embeddings: Tensor
    """(N, D), in the space that cosines are taken in: centred or whitened if the settings say so."""
    prototypes: Prototypes
    """None in any class where labels are corrected by neighbours or by the network's head."""
    class_scores: Tensor
    """(N, K), by the last correction alone, without any mean over former ones."""


@dataclass(frozen=True)
class Vote:
    """The prototypes of one class, beside one sample; the nearest first. P of them."""

    label: int
    """The class."""
    index: Tensor
    """(P,) int64, which training samples they are; -1 for the mean of a class."""
    cosines: Tensor
    """(P,) of the sample to each of them; their mean is the class score."""


@dataclass(frozen=True)
class Explanation:
    """What speaks for and against the given label of one sample."""

    sample: int
    """Its index."""
    noisy_label: int
    corrected_label: int
    """By the last correction."""
    clean_label: int | None
    """None where it is not known."""
    class_scores: Tensor
    """(K,)."""
    suspicion: float
    """How far the best other class is ahead of the given one; below 0 it is behind."""
    given: Vote
    """Of the prototypes of the given class."""
    rival: Vote
    """Of those of the best other class: the corrected label, where the label was changed."""
    labels: tuple[int, ...]
    """Entry e: the label after e epochs, which is the given one until the first correction."""


def sight_of(run: Run) -> Sight:
    """Embed every training sample by the finished network, and score it.

    Args:
        run: a finished run. If it never corrected labels, prototypes are chosen now, as its settings say.
    """
    settings, network = run.settings, run.network
    train = make_batches(run.data, settings, next(network.parameters()).device)[0]
    correction = run.result.correction or correct(network, train, settings, settings.epochs)
    seen = look(network, train, settings, None, ALONE)
    scores = score(seen, correction.prototypes, network.head, settings, correction.epoch, {})
    return Sight(seen.rows, correction.prototypes, scores)


def most_doubtful(run: Run, count: int = 12, *, sight: Sight | None = None) -> Tensor:
    """The samples whose given label is the most doubtful by the finished network, the most doubtful first.

    Args:
        run: a finished run.
        count: how many.
        sight: of :func:`sight_of`, if it is there already.

    Returns:
        At most ``count`` sample ids.
    """
    scores = (sight or sight_of(run)).class_scores
    return suspicion(scores.cpu(), run.data.noisy_labels).argsort(descending=True, stable=True)[:count]


def explain(
    run: Run, sample: int, *, history: Mapping[int, Tensor] | None = None, sight: Sight | None = None
) -> Explanation:
    """Why one sample has the label that it has at the end of a run.

    Args:
        run: a finished run.
        sample: which training sample.
        history: corrected labels by epoch, of :class:`LabelHistory` or :func:`label_history`; None: only those of
            the last correction are known.
        sight: of :func:`sight_of`, if it is there already: with it the next sample costs nothing.

    Raises:
        ValueError: if there is no such sample.
    """
    if not 0 <= sample < len(run.data):
        raise ValueError(f"sample must be from 0 to {len(run.data) - 1}, but it is {sample}.")
    sight = sight or sight_of(run)
    given, scores = int(run.data.noisy_labels[sample]), sight.class_scores[sample].cpu()
    last = run.result.correction
    labels = best_class(scores[None], torch.tensor([given])) if last is None else last.labels[sample : sample + 1]
    if history is None:
        history = {} if last is None else {last.epoch: last.labels}
    clean = -1 if run.data.clean_labels is None else int(run.data.clean_labels[sample])
    return Explanation(
        sample=sample,
        noisy_label=given,
        corrected_label=int(labels[0]),
        clean_label=clean if clean >= 0 else None,
        class_scores=scores,
        suspicion=float(suspicion(scores[None], torch.tensor([given]))[0]),
        given=vote(sight, sample, given),
        rival=vote(sight, sample, int(scores.scatter(0, torch.tensor(given), -torch.inf).argmax())),
        labels=labels_by_epoch(history, sample, given, epochs=run.settings.epochs),
    )


def vote(sight: Sight, sample: int, label: int) -> Vote:
    """The cosines of one sample to the prototypes of one class, the nearest first."""
    count = int(sight.prototypes.count[label])
    rows = unit_rows(sight.prototypes.embeddings[label, :count])
    cosines = (rows @ unit_rows(sight.embeddings[sample : sample + 1].to(rows.dtype))[0]).cpu()
    order = cosines.argsort(descending=True, stable=True)
    return Vote(label, sight.prototypes.index[label, :count].cpu()[order], cosines[order])


def labels_by_epoch(history: Mapping[int, Tensor], sample: int, noisy_label: int, *, epochs: int) -> tuple[int, ...]:
    """The label of one sample after 0, 1 … ``epochs`` epochs; a correction holds until the next one."""
    label, labels = noisy_label, []
    for epoch in range(epochs + 1):
        label = int(history[epoch][sample]) if epoch in history else label
        labels.append(label)
    return tuple(labels)


def in_words(explanation: Explanation, class_names: Sequence[str]) -> str:
    """The explanation in two or three sentences, as plain text."""
    e, names = explanation, class_names
    changed = e.corrected_label != e.noisy_label
    said = f"The given label {names[e.noisy_label]!r} " + (
        f"was changed to {names[e.corrected_label]!r}." if changed else "was kept."
    )
    own, other = (float(e.class_scores[v.label]) for v in (e.given, e.rival))
    said += f" The class score of {names[e.given.label]!r} is {own:.2f}, that of {names[e.rival.label]!r} {other:.2f}."
    return said if e.clean_label is None else f"{said} The true label is {names[e.clean_label]!r}."
