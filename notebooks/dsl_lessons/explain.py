"""Lessons 04 and 05: why was this label changed? Class scores of an image, who spoke for each class, labels by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dsl_lessons.figures import NEUTRAL, PALE, pixels, plain, show_image, styled
from dsl_teach.data.dataset import UNKNOWN, NoisyDataset
from dsl_teach.prototypes import Prototypes, best_class, cosine_similarity, label_margin
from dsl_teach.training.correction import correct, score
from dsl_teach.training.evaluation import embed
from dsl_teach.training.records import Callback, State
from dsl_teach.training.runs import Run, make_batches

GIVEN, RIVAL = "#a85a00", "#1f5fa8"
NEAREST = 8
"""Images that stand for a class where no prototypes were chosen."""
LETTERS = 120
"""So many fit into the strip of labels; a name that is wider than its stretch is left out."""


class LabelHistory(Callback):
    """Remembers the corrected labels of every epoch while ``fit`` runs.

    Attributes:
        labels: epochs trained before the correction -> (N,) corrected labels, by index.
    """

    def __init__(self) -> None:
        self.labels: dict[int, Tensor] = {}

    def on_epoch_end(self, state: State) -> None:
        """Note the labels if they are new."""
        if state.correction is not None:
            self.labels.setdefault(state.correction.epoch, state.correction.labels.cpu())

    def on_train_end(self, state: State) -> None:
        """Those of the last correction, too."""
        self.on_epoch_end(state)


@dataclass(frozen=True)
class Sight:
    """What a finished network sees in every training sample, and by whom it judges them; all on the CPU."""

    embeddings: Tensor
    """(N, D), by which labels are corrected."""
    noisy_labels: Tensor
    """(N,) int64."""
    prototypes: Prototypes
    """None in any class where labels are corrected by neighbours or by a head."""
    class_scores: Tensor
    """(N, K), by the last correction."""


@dataclass(frozen=True)
class Vote:
    """The prototypes of one class, beside one sample; the nearest first. P of them.

    Where there are none, the nearest other samples that were given the class.
    """

    label: int
    index: Tensor
    """(P,) int64, which training samples they are; -1 for the mean of a class."""
    cosines: Tensor
    """(P,) of the sample to each of them; the mean over prototypes is the class score."""
    chosen: bool
    """Whether they are prototypes."""


@dataclass(frozen=True)
class Explanation:
    """What speaks for and against the given label of one sample."""

    sample: int
    noisy_label: int
    corrected_label: int
    """By the last correction."""
    clean_label: int | None
    """None where it is not known."""
    class_scores: Tensor
    """(K,)."""
    margin: float
    """How far the given class is ahead of the best other one; below 0 it is behind."""
    given: Vote
    """Of the prototypes of the given class."""
    rival: Vote
    """Of those of the best other class: the corrected label, where the label was changed."""
    labels: tuple[int, ...]
    """Entry e: the label after e epochs, which is the given one until the first correction."""


def sight_of(run: Run, *, untouched: Tensor | None = None) -> Sight:
    """Embed and score the training samples by the finished network; without a correction, one is made now.

    ``untouched``, (N, D), are embeddings to look by in place of the network's, those that labels were corrected by.
    """
    settings, network = run.settings, run.network
    train = make_batches(run.data, settings, next(network.parameters()).device)[0]
    correction = run.result.correction or correct(network, train, settings, settings.epochs)
    embeddings = embed(network, train) if untouched is None else untouched
    labels, prototypes = train.noisy_labels, correction.prototypes
    scores = score(embeddings, prototypes, labels, network.head, settings, correction.epoch)
    return Sight(embeddings.cpu(), labels.cpu(), prototypes.to("cpu"), scores.cpu())


def most_doubtful(run: Run, sight: Sight, count: int = 12) -> list[int]:
    """The samples whose given label has the lowest margin by the finished network, the lowest first."""
    order = label_margin(sight.class_scores, run.data.noisy_labels).argsort(stable=True)
    return order[:count].tolist()


def explain(run: Run, sample: int, sight: Sight, *, history: Mapping[int, Tensor] | None = None) -> Explanation:
    """Why one training sample has the label that it has at the end of a run; ``history`` is that of LabelHistory."""
    if not 0 <= sample < len(run.data):
        raise ValueError(f"sample must be from 0 to {len(run.data) - 1}, but it is {sample}.")
    given, scores = run.data.noisy_labels[sample : sample + 1], sight.class_scores[sample : sample + 1]
    last = run.result.correction
    corrected = best_class(scores, given) if last is None else last.labels[sample : sample + 1]
    if history is None:
        history = {} if last is None else {last.epoch: last.labels}
    clean = UNKNOWN if run.data.clean_labels is None else int(run.data.clean_labels[sample])
    return Explanation(
        sample=sample,
        noisy_label=int(given),
        corrected_label=int(corrected),
        clean_label=None if clean == UNKNOWN else clean,
        class_scores=scores[0],
        margin=float(label_margin(scores, given)),
        given=vote(sight, sample, int(given)),
        rival=vote(sight, sample, int(scores[0].scatter(0, given, -torch.inf).argmax())),
        labels=labels_by_epoch(history, sample, int(given), epochs=run.settings.epochs),
    )


def vote(sight: Sight, sample: int, label: int) -> Vote:
    """The cosines of one sample to the prototypes of one class, or to its nearest samples there; the nearest first."""
    count = int(sight.prototypes.count[label])
    index, rows = sight.prototypes.index[label, :count], sight.prototypes.embeddings[label, :count]
    if not count:
        index = (sight.noisy_labels == label).nonzero().flatten()
        index = index[index != sample]
        rows = sight.embeddings[index]
    cosines = cosine_similarity(torch.cat([sight.embeddings[sample : sample + 1].to(rows.dtype), rows]))[0, 1:]
    order = cosines.argsort(descending=True, stable=True)[: count or NEAREST]
    return Vote(label, index[order], cosines[order], chosen=count > 0)


def labels_by_epoch(history: Mapping[int, Tensor], sample: int, noisy_label: int, *, epochs: int) -> tuple[int, ...]:
    """The label of one sample after 0, 1 … ``epochs`` epochs; a correction holds until the next one."""
    label, labels = noisy_label, []
    for epoch in range(epochs + 1):
        label = int(history[epoch][sample]) if epoch in history else label
        labels.append(label)
    return tuple(labels)


def in_words(e: Explanation, names: Sequence[str]) -> str:
    """The explanation in two or three sentences, as plain text."""
    changed = e.corrected_label != e.noisy_label
    said = f"The given label {names[e.noisy_label]!r} " + (
        f"was changed to {names[e.corrected_label]!r}." if changed else "was kept."
    )
    own, other = (float(e.class_scores[v.label]) for v in (e.given, e.rival))
    said += f" The class score of {names[e.given.label]!r} is {own:.2f}, that of {names[e.rival.label]!r} {other:.2f}."
    return said if e.clean_label is None else f"{said} The true label is {names[e.clean_label]!r}."


@styled
def explanation_figure(data: NoisyDataset, e: Explanation, *, prototypes: int = 6, classes: int = 12) -> Figure:
    """The image, its best class scores, the nearest images that speak for each class, its label epoch by epoch."""
    figure = Figure(figsize=(10.5, 5.0))
    given, now = (plain(data.class_names[c]) for c in (e.noisy_label, e.corrected_label))
    said = f"Given “{given}”, corrected to “{now}”" if given != now else f"Given “{given}”, and kept"
    truth = "" if e.clean_label is None else f"; in truth “{plain(data.class_names[e.clean_label])}”"
    figure.suptitle(said + truth, x=0.01, ha="left", fontsize=12, weight="bold")
    parts: Any = figure.subfigures(2, 1, height_ratios=[4, 1])
    left, middle, right = parts[0].subfigures(1, 3, width_ratios=[1, 1.35, 2.2])
    image = left.subplots()
    show_image(image, pixels(data.images, [e.sample])[0])
    image.set_title(f"sample {e.sample}", color=NEUTRAL)
    image.set_axis_off()
    score_bars(middle.subplots(), e, data.class_names, classes)
    for row, votes, colour in zip(right.subfigures(2, 1), (e.given, e.rival), (GIVEN, RIVAL), strict=True):
        prototype_row(row, data, e, votes, colour, prototypes)
    label_strip(parts[1].subplots(), e, data.class_names)
    return figure


def score_bars(axes: Axes, e: Explanation, class_names: Sequence[str], classes: int) -> None:
    """A bar a class: its score. The given class and its rival have their colours."""
    colours, scores = {e.given.label: GIVEN, e.rival.label: RIVAL}, e.class_scores
    best = scores.scatter(0, torch.tensor(e.given.label), torch.inf).topk(min(classes, len(scores))).indices
    shown = [c for c in sorted(best.tolist()) if scores[c].isfinite()]
    bars = axes.barh(range(len(shown)), scores[shown].tolist(), color=[colours.get(c, PALE) for c in shown])
    axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axes.set_yticks(range(len(shown)), [plain(class_names[c]) for c in shown], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15 if min(scores[shown].tolist()) >= 0 else 0.3)
    axes.set_title("class scores σ", color=NEUTRAL)


def prototype_row(part: Any, data: NoisyDataset, e: Explanation, votes: Vote, colour: str, count: int) -> None:
    """The nearest images of a class, each over its cosine to the sample; one with a wrong label says so."""
    kind = "prototypes of" if votes.chosen else "images given"
    what = f"nearest {kind} {{}}, by cosine" if len(votes.index) else f"no {kind} {{}}"
    part.suptitle(what.format(plain(data.class_names[votes.label])), color=colour, fontsize=10)
    for place, axes in enumerate(part.subplots(1, count, squeeze=False)[0]):
        axes.set_axis_off()
        if place < len(votes.index):
            prototype = int(votes.index[place])
            if prototype >= 0:
                show_image(axes, pixels(data.images, [prototype])[0])
            text = f"{float(votes.cosines[place]):.2f}\n{_note(data, e, prototype)}"
            axes.text(0.5, -0.06, text, transform=axes.transAxes, ha="center", va="top", fontsize=9)


def _note(data: NoisyDataset, e: Explanation, prototype: int) -> str:
    """What is worth saying of a prototype: that it is the sample itself, no sample at all, or mislabelled."""
    if prototype < 0:
        return "class mean"
    if prototype == e.sample:
        return "itself"
    given, clean = data.noisy_labels[prototype], data.clean_labels
    if clean is None or clean[prototype] in (UNKNOWN, given):
        return ""
    return f"is {plain(data.class_names[int(clean[prototype])])}"


def label_strip(axes: Axes, e: Explanation, class_names: Sequence[str]) -> None:
    """The label by epoch: one bar for each stretch of epochs with the same label."""
    colours = {e.given.label: GIVEN, e.rival.label: RIVAL}
    start, letter = 0, len(e.labels) / LETTERS
    for label, stretch in groupby(e.labels):
        length, name = len(list(stretch)), class_names[label]
        bar = axes.barh(0, length, left=start - 0.5, height=1, color=colours.get(label, PALE), edgecolor="white")
        if length >= letter * len(name):
            ink = "white" if label in colours else "black"
            axes.bar_label(bar, [plain(name)], label_type="center", fontsize=9, weight="bold", color=ink)
        start += length
    axes.set(xlim=(-0.5, start - 0.5), ylim=(-0.5, 0.5), yticks=[], xlabel="epochs trained")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("label, epoch by epoch", color=NEUTRAL)
    axes.spines[:].set_visible(False)
