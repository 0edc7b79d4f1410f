"""The injected bugs of lesson 07, and the choices beside them: each by its name, with the run it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dsl_lessons.injected_bugs import faulty
from dsl_lessons.injected_bugs.faulty import correcting, exchange, relabelling
from dsl_lessons.injected_bugs.trial import Trial


@dataclass(frozen=True)
class Variant:
    """The method with one thing changed: a bug, or a choice that the paper leaves open."""

    name: str
    """Short, for tables and legends."""
    story: str
    """What is different, in one sentence."""
    caught_by: str = ""
    """The check of :mod:`dsl_lessons.injected_bugs.checks` that fails on it; empty: a choice, not a bug."""
    against: str = "SMP"
    """The name of the run that it is compared with."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ."""
    inject: Callable[[Trial], Trial] = lambda trial: trial
    """Exchanges a part of the run."""


GROUPS: dict[str, list[Variant]] = {
    "right": [
        Variant("SMP", "the method as it should be"),
        Variant("cross-entropy", "no correction at all", changes={"alpha": 0.0}),
    ],
    "labels of other images": [
        Variant(
            "kept by place",
            "corrected labels are stored by their place in a shuffled pass, and read in the order of the next",
            "labels follow their images",
            inject=exchange(correct=relabelling(faulty.by_place_in_the_pass)),
        ),
        Variant(
            "class as place",
            "the number of the winning class is used as a place in the batch, and the label that stands there is given",
            "labels follow their images",
            inject=exchange(correct=relabelling(faulty.class_number_as_place)),
        ),
        Variant(
            "even shares",
            "no mistake, a comparison: in place of corrected labels, every sample gets the same share of every class",
            inject=exchange(correct=faulty.even_shares),
        ),
    ],
    "start of correction": [
        Variant(f"start {epoch}", f"correction starts after {epoch} epochs", changes={"correction_start": epoch})
        for epoch in (0, 1, 10)
    ],
    "prototypes": [
        Variant(
            "largest eta",
            "the samples with the greatest eta become prototypes, and density is not looked at",
            "prototypes of the fan",
            inject=exchange(correct=correcting(pick=faulty.largest_eta)),
        ),
        Variant(
            "eta from itself",
            "the maximum that makes eta begins with the self-similarity 1, so that nobody passes the gate",
            "prototypes of the fan",
            inject=exchange(correct=correcting(eta_of=faulty.eta_from_itself)),
        ),
        Variant("no gate", "the p densest samples, whether alike or not", changes={"eta_max": 2.0}),
        Variant(
            "maximum",
            "the single most similar prototype gives the label, where the paper takes the mean over prototypes",
            "prototypes vote",
            inject=exchange(correct=correcting(score=faulty.by_best_prototype)),
        ),
    ],
    "modes and moving labels": [
        Variant(
            "train mode",
            "features for prototypes are taken class by class with the network left in train mode",
            "correction leaves the network alone",
            inject=exchange(correct=correcting(look=faulty.in_train_mode_class_by_class)),
        ),
        Variant(
            "eval mode for ever",
            "batch norm is left in eval mode and never learns the statistics of the data",
            "batch norm learns",
            inject=faulty.always_in_eval_mode,
        ),
        Variant(
            "shifted images", "training images are moved by up to a pixel; the rest is right", inject=faulty.shifted
        ),
        Variant(
            "moving labels",
            "labels are given anew for each shifted batch, by the weights of the moment and the prototypes of before",
            "labels stand still",
            against="shifted images",
            inject=faulty.moving_labels,
        ),
    ],
    "what is measured": [
        Variant(
            "tests trained on",
            "every second test image stands in the training set as well, with its right label",
            "no test image is trained on",
            inject=faulty.half_of_the_test_trained_on,
        ),
        Variant(
            "tests, wrong labels",
            "the same, but these images come with labels as noisy as the others",
            "no test image is trained on",
            inject=partial(faulty.half_of_the_test_trained_on, noisy=True),
        ),
        Variant(
            "10 × rate",
            "the learning rate is ten times as high in the first third of the epochs",
            "the rate is the one asked for",
            inject=faulty.ten_times_at_first,
        ),
        Variant(
            "10 × rate, CE",
            "the same without correction",
            "the rate is the one asked for",
            against="cross-entropy",
            changes={"alpha": 0.0},
            inject=faulty.ten_times_at_first,
        ),
    ],
    "p and m": [
        *(Variant(f"p = {p}", f"{p} prototypes a class", changes={"p": p}) for p in (1, 32)),
        *(Variant(f"m = {m}", f"prototypes chosen among {m} samples a class", changes={"m": m}) for m in (20, 80)),
    ],
    "readings of S_c": [
        Variant("S_c at 40 %", "S_c is the 40th percentile", changes={"quantile": 0.4}),
        Variant("S_c at 75 %", "S_c is the 75th percentile", changes={"quantile": 0.75}),
        Variant("no diagonal", "self-similarities are left out of S_c", changes={"diagonal": False}),
    ],
    "what the article proposes": [
        Variant("alpha 0.25", "half the usual weight for corrected labels", changes={"alpha": 0.25}),
        Variant(
            "soft labels",
            "in place of one label the shares of all classes: softmax of the class scores over 0.05",
            changes={"soft_temperature": 0.05},
        ),
    ],
}
"""Title of a group -> its variants."""

VARIANTS = {variant.name: variant for group in GROUPS.values() for variant in group}
MANY_CLASSES = ["cross-entropy", "SMP", "alpha 0.25", "soft labels", "even shares"]
"""The runs that are compared where digits are divided into many classes."""


def named(names: Sequence[str]) -> list[str]:
    """These names; ``["all"]`` gives every one.

    Raises:
        ValueError: if a name is not on the list.
    """
    unknown = [name for name in names if name not in VARIANTS and list(names) != ["all"]]
    if unknown:
        raise ValueError(f"There is no variant {unknown[0]!r}. The variants are {', '.join(VARIANTS)}.")
    return list(VARIANTS) if list(names) == ["all"] else list(names)
