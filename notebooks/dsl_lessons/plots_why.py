"""The figure of :func:`dsl_lessons.why.explain`: the image, its scores, the prototypes that voted, its labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsl_lessons.plots import NEUTRAL, show_image
from dsl_lessons.why import Explanation, Vote
from dsl_teach.data.dataset import UNKNOWN, NoisyDataset

GIVEN, RIVAL, OTHER = "#a85a00", "#1f5fa8", "#c9c9c9"
LETTERS = 120
"""So many fit into the strip of labels; a name that is wider than its stretch is left out."""


def why(data: NoisyDataset, explanation: Explanation, *, prototypes: int = 6, classes: int = 12) -> Figure:
    """Why one label was changed, or kept.

    Args:
        data: of the run; images in memory.
        explanation: of one of its samples.
        prototypes: how many of each class to show at most, the nearest.
        classes: how many bars to show at most, those with the best scores; the given class is always one.
    """
    figure = Figure(figsize=(10.5, 5.0), layout="constrained")
    figure.suptitle(_verdict(data, explanation), x=0.01, ha="left", fontsize=12, weight="bold")
    parts: Any = figure.subfigures(2, 1, height_ratios=[4, 1])
    above, below = parts
    left, middle, right = above.subfigures(1, 3, width_ratios=[1, 1.35, 2.2])
    image = left.subplots()
    show_image(image, data, explanation.sample)
    image.set_title(f"sample {explanation.sample}", fontsize=10, color=NEUTRAL)
    score_bars(middle.subplots(), explanation, data.class_names, classes)
    for row, vote, colour in zip(
        right.subfigures(2, 1), (explanation.given, explanation.rival), (GIVEN, RIVAL), strict=True
    ):
        prototype_row(row, data, explanation, vote, colour, prototypes)
    label_strip(below.subplots(), explanation, data.class_names)
    return figure


def score_bars(axes: Axes, explanation: Explanation, class_names: Sequence[str], classes: int) -> None:
    """A bar a class: its score. The given class and its rival have their colours."""
    given, rival = explanation.given.label, explanation.rival.label
    scores = explanation.class_scores
    best = scores.scatter(0, torch.tensor(given), torch.inf).topk(min(classes, len(scores))).indices
    shown = [c for c in sorted(best.tolist()) if scores[c].isfinite()]
    colours = [GIVEN if c == given else RIVAL if c == rival else OTHER for c in shown]
    bars = axes.barh(range(len(shown)), scores[shown].tolist(), color=colours)
    axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axes.set_yticks(range(len(shown)), [plain(class_names[c]) for c in shown], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title("class scores σ", fontsize=10, color=NEUTRAL)
    axes.spines[["top", "right"]].set_visible(False)


def prototype_row(part: Any, data: NoisyDataset, explanation: Explanation, vote: Vote, colour: str, count: int) -> None:
    """The nearest prototypes of a class, each over its cosine to the sample; one with a wrong label says so."""
    what = "nearest prototypes of {}, by cosine" if len(vote.index) else "no prototypes of {}"
    part.suptitle(what.format(plain(data.class_names[vote.label])), color=colour, fontsize=10)
    for place, axes in enumerate(part.subplots(1, count, squeeze=False)[0]):
        axes.set_axis_off()
        if place < len(vote.index):
            note = _note(data, explanation, int(vote.index[place]))
            if vote.index[place] >= 0:
                show_image(axes, data, int(vote.index[place]))
            text = f"{float(vote.cosines[place]):.2f}\n{note}"
            axes.text(0.5, -0.06, text, transform=axes.transAxes, ha="center", va="top", fontsize=9)


def _note(data: NoisyDataset, explanation: Explanation, prototype: int) -> str:
    """What is worth saying of a prototype: that it is the sample itself, no sample at all, or mislabelled."""
    if prototype < 0:
        return "class mean"
    if prototype == explanation.sample:
        return "itself"
    given, clean = data.noisy_labels[prototype], data.clean_labels
    if clean is None or clean[prototype] in (UNKNOWN, given):
        return ""
    return f"is {plain(data.class_names[int(clean[prototype])])}"


def label_strip(axes: Axes, explanation: Explanation, class_names: Sequence[str]) -> None:
    """The label by epoch: one bar for each stretch of epochs with the same label."""
    colours = {explanation.given.label: GIVEN, explanation.rival.label: RIVAL}
    start, letter = 0, len(explanation.labels) / LETTERS
    for label, stretch in groupby(explanation.labels):
        length, name = len(list(stretch)), class_names[label]
        bar = axes.barh(0, length, left=start - 0.5, height=1, color=colours.get(label, OTHER), edgecolor="white")
        if length >= letter * len(name):
            ink = "white" if label in colours else "black"
            axes.bar_label(bar, [plain(name)], label_type="center", fontsize=9, weight="bold", color=ink)
        start += length
    axes.set(xlim=(-0.5, start - 0.5), ylim=(-0.5, 0.5), yticks=[], xlabel="epochs trained")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("label, epoch by epoch", fontsize=10, color=NEUTRAL)
    axes.spines[:].set_visible(False)


def plain(name: str) -> str:
    """A class name as matplotlib draws it letter by letter: a dollar sign starts no formula."""
    return name.replace("$", r"\$")


def _verdict(data: NoisyDataset, explanation: Explanation) -> str:
    given, now = (plain(data.class_names[c]) for c in (explanation.noisy_label, explanation.corrected_label))
    said = f"Given “{given}”, corrected to “{now}”" if given != now else f"Given “{given}”, and kept"
    if explanation.clean_label is None:
        return said
    return f"{said}; in truth “{plain(data.class_names[explanation.clean_label])}”"
