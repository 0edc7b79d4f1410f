"""The injected bugs of lesson 07, and the choices beside them: each by its name, with the run it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsl_lessons.injected_bugs import faulty
from dsl_lessons.injected_bugs.faulty import correcting, relabelling
from dsl_lessons.injected_bugs.trial import Trial
from dsl_teach.training.records import Correction


@dataclass(frozen=True)
class Variant:
    """The method with one thing changed: a bug, or a setting or comparison that is no mistake."""

    name: str
    """Short, for tables and legends."""
    story: str
    """What is different, in one sentence."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ."""
    inject: Callable[[Trial], Trial] = lambda trial: trial
    """Exchanges a part of the run."""
    caught_by: str = ""
    """The check of :mod:`dsl_lessons.injected_bugs.checks` that fails on it; empty: a choice, not a bug."""
    against: str = "SMP"
    """The name of the run that it is compared with."""


def bug(
    name: str, caught_by: str, piece: Callable[..., Any], correct: Callable[..., Correction] | None = None, **more: Any
) -> Variant:
    """A variant with a faulty piece, whose docstring is the story; without ``correct`` the piece itself is injected."""
    story = (piece.__doc__ or name).splitlines()[0].rstrip(".")
    return Variant(
        name,
        story[0].lower() + story[1:],
        inject=piece if correct is None else lambda trial: trial.replace(correct=correct),
        caught_by=caught_by,
        **more,
    )


IMAGES, FAN, LEAK = "labels follow their images", "prototypes of the fan", "no test image is trained on"
RATE = "the rate is the one asked for"
CE, NO_CORRECTION = "cross-entropy", {"alpha": 0.0}

GROUPS: dict[str, list[Variant]] = {
    "right": [
        Variant("SMP", "the method as it should be"),
        Variant(CE, "no correction at all", NO_CORRECTION),
    ],
    "labels of other images": [
        bug("kept by place", IMAGES, faulty.kept_by_place, relabelling(faulty.kept_by_place)),
        bug("class as place", IMAGES, faulty.class_as_place, relabelling(faulty.class_as_place)),
        bug("even shares", "", faulty.even_shares, faulty.even_shares),
    ],
    "start of correction": [
        Variant(
            f"start {epoch}", f"correction starts after {epoch} epoch{'s' * (epoch != 1)}", {"correction_start": epoch}
        )
        for epoch in (0, 1, 10)
    ],
    "prototypes": [
        bug("largest eta", FAN, faulty.largest_eta, correcting(pick=faulty.largest_eta)),
        bug("eta from itself", FAN, faulty.eta_from_itself, correcting(eta_of=faulty.eta_from_itself)),
        Variant("no gate", "the p densest samples, whether alike or not", {"eta_max": 2.0}),
        bug("maximum", "prototypes vote", faulty.by_best_prototype, correcting(score=faulty.by_best_prototype)),
    ],
    "modes and moving labels": [
        bug("train mode", "correction leaves the network alone", faulty.train_mode, correcting(look=faulty.train_mode)),
        bug("eval mode for ever", "batch norm learns", faulty.eval_mode_for_ever),
        bug("shifted images", "", faulty.shifted),
        bug("moving labels", "labels stand still", faulty.moving_labels, against="shifted images"),
        Variant("shifted images, CE", "the same images without correction", NO_CORRECTION, faulty.shifted, against=CE),
    ],
    "what is measured": [
        bug("tests trained on", LEAK, faulty.trained_on_the_test),
        bug("tests, wrong labels", LEAK, faulty.trained_on_the_noisy_test),
        bug("10 × rate", RATE, faulty.ten_times_the_rate),
        Variant("10 × rate, CE", "the same without correction", NO_CORRECTION, faulty.ten_times_the_rate, RATE, CE),
    ],
    "p and m": [
        *(Variant(f"p = {p}", f"p is {p} in place of 8", {"p": p}) for p in (1, 32)),
        *(Variant(f"m = {m}", f"prototypes chosen among {m} samples a class", {"m": m}) for m in (20, 80)),
    ],
    "readings of S_c": [
        Variant("S_c at 40 %", "S_c is the 40th percentile", {"quantile": 0.4}),
        Variant("S_c at 75 %", "S_c is the 75th percentile", {"quantile": 0.75}),
        Variant("no diagonal", "self-similarities are left out of S_c", {"diagonal": False}),
    ],
    "what the article proposes": [
        Variant("alpha 0.25", "half the usual weight for corrected labels", {"alpha": 0.25}),
    ],
}
"""Title of a group -> its variants."""

VARIANTS = {variant.name: variant for group in GROUPS.values() for variant in group}
MANY_CLASSES = ["cross-entropy", "SMP", "alpha 0.25", "even shares", "kept by place", "class as place"]
"""The runs that are compared where digits are divided into many classes."""


def named(names: Sequence[str]) -> list[str]:
    """These names; ``["all"]`` gives every one. A name that is not on the list is a ValueError."""
    if list(names) == ["all"]:
        return list(VARIANTS)
    for name in names:
        if name not in VARIANTS:
            raise ValueError(f"There is no variant {name!r}. The variants are {', '.join(VARIANTS)}.")
    return list(names)
