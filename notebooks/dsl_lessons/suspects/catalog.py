"""The list of suspects: each mistake of lesson 07 by its name, with the run it is compared with."""

from __future__ import annotations

from functools import partial

from dsl_lessons.suspects import wrong
from dsl_lessons.suspects.data import half_of_the_test_trained_on, shifted
from dsl_lessons.suspects.trials import Suspect
from dsl_teach.config import Settings


def ten_times_at_first(epoch: int, settings: Settings) -> float:
    """10 in the first third of the epochs, then 1."""
    return 10.0 if epoch < settings.epochs / 3 else 1.0


RIGHT = [
    Suspect("SMP", "the method as it should be"),
    Suspect("cross-entropy", "no correction at all", changes={"alpha": 0.0}),
]

OTHER_IMAGES = [
    Suspect(
        "kept by place",
        "corrected labels are stored by their place in a shuffled pass, and read in the order of the next",
        caught_by="tests/test_loop.py::test_each_sample_is_trained_on_its_own_corrected_label",
        correct=wrong.by_place_in_the_pass,
    ),
    Suspect(
        "class as place",
        "the number of the winning class is used as a place in the batch, and the label that stands there is given",
        caught_by="tests/test_correction.py::test_scores_and_labels_equal_the_loop_reference",
        correct=wrong.class_number_as_place,
    ),
    Suspect(
        "even shares",
        "no mistake, a comparison: in place of corrected labels, every sample gets the same share of every class",
        correct=wrong.even_shares,
    ),
]

START = [
    Suspect(f"start {epoch}", f"correction starts after {epoch} epochs", changes={"correction_start": epoch})
    for epoch in (0, 1, 10)
]

PROTOTYPES = [
    Suspect(
        "largest eta",
        "the samples with the greatest eta become prototypes, and density is not looked at",
        caught_by="tests/test_selection.py::test_selection_equals_the_loop_reference",
        correct=wrong.correcting(select=wrong.selecting(pick=wrong.largest_eta)),
    ),
    Suspect(
        "eta from itself",
        "the maximum that makes eta begins with the self-similarity 1, so that nobody passes the gate",
        caught_by="tests/test_density.py::test_eta_equals_the_loop_reference",
        correct=wrong.correcting(select=wrong.selecting(eta_of=wrong.eta_from_itself)),
    ),
    Suspect("no gate", "the p densest samples, whether alike or not", changes={"eta_max": 2.0}),
    Suspect(
        "maximum",
        "the single most similar prototype gives the label, where the paper takes the mean over prototypes",
        caught_by="tests/test_correction.py::test_the_mean_votes_and_not_the_maximum",
        correct=wrong.correcting(score=wrong.by_best_prototype),
    ),
]

MODES = [
    Suspect(
        "train mode",
        "features for prototypes are taken class by class with the network left in train mode",
        caught_by="tests/test_loop.py::test_the_network_is_frozen_while_it_embeds",
        correct=wrong.correcting(look=wrong.in_train_mode_class_by_class),
    ),
    Suspect(
        "eval mode for ever",
        "batch norm is left in eval mode and never learns the statistics of the data",
        caught_by="tests/test_suspects_checks.py::test_the_method_passes_every_check",
        network=wrong.always_in_eval_mode,
    ),
    Suspect("shifted images", "training images are moved by up to a pixel; the rest is right", parts=shifted),
    Suspect(
        "moving labels",
        "labels are given anew for each shifted batch, by the weights of the moment and the prototypes of before",
        against="shifted images",
        caught_by="tests/test_suspects_checks.py::test_the_method_passes_every_check",
        parts=shifted,
        train=wrong.train_relabelling,
    ),
]

FIGURES = [
    Suspect(
        "tests trained on",
        "every second test image stands in the training set as well, with its right label",
        caught_by="tests/test_folders.py::test_clothing1m_refuses_to_train_on_a_test_image",
        parts=half_of_the_test_trained_on,
    ),
    Suspect(
        "tests, wrong labels",
        "the same, but these images come with labels as noisy as the others",
        caught_by="tests/test_folders.py::test_clothing1m_refuses_to_train_on_a_test_image",
        parts=partial(half_of_the_test_trained_on, noisy=True),
    ),
    Suspect(
        "10 × rate",
        "the learning rate is ten times as high in the first third of the epochs",
        caught_by="tests/test_loop.py::test_fit_without_correction_equals_a_bare_loop",
        rate=ten_times_at_first,
    ),
    Suspect(
        "10 × rate, CE",
        "the same without correction",
        against="cross-entropy",
        caught_by="tests/test_loop.py::test_fit_without_correction_equals_a_bare_loop",
        changes={"alpha": 0.0},
        rate=ten_times_at_first,
    ),
]

KNOBS = [
    *(Suspect(f"p = {p}", f"{p} prototypes a class", changes={"p": p}) for p in (1, 32)),
    *(Suspect(f"m = {m}", f"prototypes chosen among {m} samples a class", changes={"m": m}) for m in (20, 80)),
]

READINGS = [
    Suspect("S_c at 40 %", "S_c is the 40th percentile", changes={"quantile": 0.4}),
    Suspect("S_c at 75 %", "S_c is the 75th percentile", changes={"quantile": 0.75}),
    Suspect("no diagonal", "self-similarities are left out of S_c", changes={"diagonal": False}),
]

REMEDIES = [
    Suspect("alpha 0.25", "half the usual weight for corrected labels", changes={"alpha": 0.25}),
    Suspect(
        "soft labels",
        "in place of one label the shares of all classes: softmax of the class scores over 0.05",
        changes={"soft_temperature": 0.05},
    ),
]

MANY_CLASSES = ["cross-entropy", "SMP", "alpha 0.25", "soft labels", "even shares"]
"""The runs that are compared where digits are divided into many classes."""

GROUPS = {
    "right": RIGHT,
    "labels of other images": OTHER_IMAGES,
    "start of correction": START,
    "prototypes": PROTOTYPES,
    "modes and moving labels": MODES,
    "what is measured": FIGURES,
    "p and m": KNOBS,
    "readings of S_c": READINGS,
    "what the article proposes": REMEDIES,
}
"""Title of a group -> its suspects."""

SUSPECTS = {suspect.name: suspect for group in GROUPS.values() for suspect in group}
"""Name -> suspect."""


def named(names: list[str]) -> list[Suspect]:
    """The suspects of these names; ``["all"]`` gives every one.

    Raises:
        ValueError: if a name is not on the list.
    """
    if names == ["all"]:
        return list(SUSPECTS.values())
    for name in names:
        if name not in SUSPECTS:
            raise ValueError(f"There is no suspect {name!r}. The suspects are {', '.join(SUSPECTS)}.")
    return [SUSPECTS[name] for name in names]
