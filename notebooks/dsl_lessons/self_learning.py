"""Lessons 00, 03, 04 and 05: the loop at work on digits, and what each correction did to the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dsl_lessons.figures import NEUTRAL, RIGHT, WRONG, gallery, pixels, styled
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.dataset import NoisyDataset, with_labels
from dsl_teach.metrics import accuracy
from dsl_teach.noise import pair_flip_noise
from dsl_teach.seeds import stream
from dsl_teach.training.records import EpochRecord
from dsl_teach.training.runs import Run


def pair_flipped(settings: Settings, noise_rate: float) -> NoisyDataset:
    """The data of a run with other wrong labels: a share of each class carries the label of the next class."""
    data = load_dataset(settings)
    generator = stream(settings.seed, "pair flip")
    noise = pair_flip_noise(clean_labels_of(data), noise_rate, num_classes=data.num_classes, generator=generator)
    images = dataclasses.replace(data, made_from=data.name)
    return with_labels(images, noise.noisy_labels, made_from=f"{noise_rate:.0%} pair flips")


def clean_labels_of(data: NoisyDataset) -> Tensor:
    """The true labels, (N,) int64; a ValueError if none is known."""
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which labels are right.")
    return data.clean_labels


def prototypes_right(run: Run) -> float:
    """The share of the last correction's prototypes whose noisy label is the true one."""
    if run.result.correction is None:
        raise ValueError("This needs a run with a correction.")
    index = run.result.correction.prototypes.index.flatten().cpu()
    index = index[index >= 0]  # -1 marks an empty place
    return accuracy(run.data.noisy_labels[index], clean_labels_of(run.data)[index])


def noisy_samples(data: NoisyDataset, *, count: int = 10, seed: int = 0) -> Figure:
    """Training images with a wrong label: the true class, and the label they were given."""
    clean = clean_labels_of(data)
    chosen = drawn((data.noisy_labels != clean) & (clean >= 0), count, seed)
    names = [[data.class_names[int(labels[i])] for labels in (clean, data.noisy_labels)] for i in chosen]
    words = [f"{true},\nlabelled{' ' if len(given) < 4 else chr(10)}{given}" for true, given in names]
    images = list(zip(pixels(data.images, chosen), words, strict=True))
    return gallery({f"Wrongly labelled training images of {data.name}": images})


def label_gallery(data: NoisyDataset, corrected_labels: Tensor, *, count: int = 10, seed: int = 0) -> Figure:
    """Two rows of images: labels that the correction fixed, and labels that it broke."""
    clean = clean_labels_of(data)
    was_right, is_right = data.noisy_labels == clean, corrected_labels == clean
    rows = {}
    for title, changed in (
        ("Fixed: the given label was wrong, the corrected one is right", ~was_right & is_right),
        ("Broken: the given label was right, the corrected one is wrong", was_right & ~is_right),
    ):
        chosen = drawn(changed, count, seed)
        names = [[data.class_names[int(labels[i])] for labels in (data.noisy_labels, corrected_labels)] for i in chosen]
        words = [f"{given} \N{RIGHTWARDS ARROW} {now}" for given, now in names]
        rows[title] = list(zip(pixels(data.images, chosen), words, strict=True))
    return gallery(rows, colours=(RIGHT, WRONG))


def drawn(among: Tensor, count: int, seed: int) -> list[int]:
    """At most ``count`` of the samples that are True in ``among``, at random."""
    index = among.nonzero().flatten()
    return index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))[:count]].tolist()


@styled
def memorising(history: Sequence[EpochRecord], noise_rate: float, epochs: int) -> Figure:
    """Accuracy on rightly and on wrongly labelled training samples, and on the test set, epoch by epoch."""
    figure = Figure(figsize=(6.2, 3.4))
    axes, epoch = figure.subplots(), [record.epoch + 1 for record in history]
    memorised = np.array([record.memorised for record in history], float)
    right = (np.array([record.train_accuracy for record in history]) - noise_rate * memorised) / (1 - noise_rate)
    lines = (
        ("correctly labelled: gives the given label", right, RIGHT),
        ("wrongly labelled: gives the given, wrong label", memorised, WRONG),
        ("test set: gives the true label", np.array([record.test_accuracy for record in history]), "black"),
    )
    for label, values, colour in lines:
        axes.plot(epoch, 100 * values, color=colour, label=label, linewidth=1.8)
    axes.set(xlim=(1, epochs), ylim=(0, 101), xlabel="epoch", ylabel="share of samples, %")
    axes.legend(loc="best")
    return figure


@styled
def fixed_and_broken(run: Run) -> Figure:
    """What each correction did: labels fixed and broken, and how many are right, epoch by epoch."""
    figure = Figure(figsize=(9.2, 3.3))
    change, right = figure.subplots(1, 2)
    history = run.result.history
    records = [record for record in history if record.label_accuracy is not None]
    epoch = [record.epoch + 1 for record in records]
    fixed = np.array([100 * (record.wrong_to_right or 0) for record in records])
    broken = np.array([100 * (record.right_to_wrong or 0) for record in records])
    change.bar(epoch, fixed, color=RIGHT, label="fixed")
    change.bar(epoch, -broken, color=WRONG, label="broken")
    change.axhline(0, color="black", linewidth=0.8)
    change.set_ylim(top=1.3 * float(fixed.max()))
    change.legend(loc="upper left", ncols=2)
    given = 100 * accuracy(run.data.noisy_labels, clean_labels_of(run.data))
    right.axhline(given, color=NEUTRAL, linestyle="--", label="given labels")
    right.plot(epoch, [100 * (record.label_accuracy or 0) for record in records], color=RIGHT, label="corrected labels")
    tests = [100 * record.test_accuracy for record in history]
    right.plot(range(1, len(tests) + 1), tests, color="black", label="test accuracy")
    right.legend(loc="lower right")
    for axes, title in ((change, "labels changed by each correction, %"), (right, "right, %")):
        axes.set(xlabel="epoch", xlim=(0, len(tests) + 1), title=title)
    return figure
