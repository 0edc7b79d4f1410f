"""Lesson 05: what a pretrained network sees in photographs, and a sample that votes for its own label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dsl_lessons.figures import NEUTRAL, RIGHT, WRONG, gallery, pixels, styled
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import correction_report
from dsl_teach.prototypes import cosine_similarity


def nearest_others(embeddings: Tensor) -> Tensor:
    """(N,) int64, of each sample the other one that its embedding resembles most, by the cosine."""
    return cosine_similarity(embeddings).fill_diagonal_(-torch.inf).argmax(dim=1)


def nearest_gallery(data: NoisyDataset, shown: Sequence[int], nearest: Mapping[str, Tensor]) -> Figure:
    """Some images over the nearest other ones, a row for each kind of embeddings; all with their true classes."""
    rows = {"image": list(shown)} | {title: index[list(shown)].tolist() for title, index in nearest.items()}
    truth = data.noisy_labels if data.clean_labels is None else data.clean_labels
    pictures = {
        title: [
            (image, data.class_names[int(truth[i])]) for image, i in zip(pixels(data.images, index), index, strict=True)
        ]
        for title, index in rows.items()
    }
    return gallery(pictures, colours=(NEUTRAL,))


def labels_by(scores: Mapping[str, Tensor], data: NoisyDataset) -> pd.DataFrame:
    """What class scores of each kind would do to the labels, in percent."""
    lines = {}
    for name, one in scores.items():
        report = correction_report(
            data.noisy_labels, one.argmax(dim=1), data.clean_labels, num_classes=data.num_classes
        )
        shares = (report.changed, report.wrong_to_right, report.right_to_wrong, report.label_accuracy)
        lines[name] = [f"{100 * share:.1f}" for share in shares if share is not None]
    columns = ["labels changed, %", "fixed, %", "broken, %", "labels right, %"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


@styled
def own_vote(x: Sequence[float], y: Sequence[float], sample: int) -> Figure:
    """A line through labels 0 and 1 of one feature, fitted with and without one sample; what each says of it."""
    places, labels, others = np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.arange(len(x)) != sample
    figure = Figure(figsize=(6.6, 3.4))
    axes, ends = figure.subplots(), np.array([min(x) - 0.3, max(x) + 0.3])
    for chosen, colour, title in (
        (others | ~others, WRONG, "fitted with it"),
        (others, RIGHT, "fitted without it"),
    ):
        line = np.polyfit(places[chosen], labels[chosen], 1)
        says = np.polyval(line, places[sample])
        axes.plot(ends, np.polyval(line, ends), color=colour, label=f"{title}: says {says:.2f}")
        axes.plot(places[sample], says, "s", color=colour)
    axes.plot(places[others], labels[others], "o", color=NEUTRAL)
    axes.plot(places[sample], labels[sample], "o", color="white", markeredgecolor="black", markersize=9)
    words: dict[str, Any] = {
        "textcoords": "offset points",
        "xytext": (-10, 0),
        "ha": "right",
        "va": "center",
        "fontsize": 9,
    }
    axes.annotate("the sample and its label", (places[sample], labels[sample]), **words)
    axes.set(xlabel="feature", ylabel="label, 0 or 1", yticks=(0, 1))
    axes.legend(loc="upper left")
    return figure
