"""Small checks that catch the bugs of lesson 07: each takes a variant and says whether it passes.

They need seconds, no full run: a few points whose answer is known by hand, or one epoch of a small network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn

from dsl_lessons.injected_bugs.catalog import VARIANTS, Variant
from dsl_lessons.injected_bugs.trial import Trial, pixels
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.data.dataset import shared_images
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Correction

FAN = (0.0, 9.0, 20.0, 33.0, 90.0)
"""Five directions in degrees; by hand the two prototypes are the second and the last."""
QUICK = Settings(epochs=1, correction_start=1, width=4, batch_size=100)


def trial_of(variant: Variant, **settings: Any) -> Trial:
    """A small trial on digits with the variant in it."""
    return variant.inject(Trial.begin(load_dataset(Settings()), QUICK.replace(**settings)))


def labels_follow_their_images(variant: Variant) -> bool:
    """The same weights give the same corrected labels, whatever the order of the shuffled passes."""
    trial = trial_of(variant)
    first, second = (trial.correct(trial.network, trial.train, QUICK.replace(seed=seed), 0).labels for seed in (1, 2))
    return torch.equal(first, second)


def prototypes_of_the_fan(variant: Variant) -> bool:
    """Of five directions the middle of the fan and the one apart are chosen, as computed by hand."""
    settings = QUICK.replace(p=2, eta_max=variant.changes.get("eta_max", 0.95))
    found = trial_of(variant).correct(seeing_glass(1), points(FAN, [0] * 5), settings, 0).prototypes
    return sorted(found.index[0].tolist()) == [1, 4]


def prototypes_vote(variant: Variant) -> bool:
    """A sample that is its own prototype is outvoted where all other prototypes of its class are far away."""
    six = points((0, 100, 110, 30, 35, 40), [0, 0, 0, 1, 1, 1])
    return int(trial_of(variant).correct(seeing_glass(2), six, QUICK.replace(p=3), 0).labels[0]) == 1


def correction_leaves_the_network_alone(variant: Variant) -> bool:
    """Not one weight, and no statistic of batch norm, is changed by a correction."""
    trial = trial_of(variant)
    before = copy.deepcopy(trial.network.state_dict())
    trial.correct(trial.network, trial.train, QUICK, 0)
    return all(torch.equal(before[name], value) for name, value in trial.network.state_dict().items())


def batch_norm_learns(variant: Variant) -> bool:
    """An epoch of training changes the statistics of every batch norm."""
    trial = trial_of(variant, alpha=0.0)
    before = copy.deepcopy(trial.network.state_dict())
    trial.fit()
    after = trial.network.state_dict()
    return not any(torch.equal(before[name], after[name]) for name in before if name.endswith("running_mean"))


def labels_stand_still(variant: Variant) -> bool:
    """After an epoch of training the corrected labels are those from before it."""
    trial, kept = trial_of(variant, correction_start=0), []

    def remembering(*given: Any, **known: Any) -> Correction:
        correction = trial.correct(*given, **known)
        kept.append((correction, correction.labels.clone()))
        return correction

    trial.replace(correct=remembering).fit()
    return all(torch.equal(correction.labels, before) for correction, before in kept)


def no_test_image_is_trained_on(variant: Variant) -> bool:
    """Training set and test set share no image, compared by their pixels."""
    trial = trial_of(variant)
    return not shared_images(pixels(trial.train), pixels(trial.test))


def the_rate_is_the_one_asked_for(variant: Variant) -> bool:
    """The learning rate in the record of the first epoch is the one of the settings."""
    return trial_of(variant, learning_rate=0.01).fit().history[0].learning_rate == 0.01


CHECKS: dict[str, Callable[[Variant], bool]] = {
    check.__name__.replace("_", " "): check
    for check in (
        labels_follow_their_images,
        prototypes_of_the_fan,
        prototypes_vote,
        correction_leaves_the_network_alone,
        batch_norm_learns,
        labels_stand_still,
        no_test_image_is_trained_on,
        the_rate_is_the_one_asked_for,
    )
}
"""Name -> check."""


def verdicts(names: Sequence[str]) -> pd.DataFrame:
    """Every check on every variant of these names: a row a check, ``passes`` or ``fails``."""
    answers = {
        name: {title: "passes" if check(VARIANTS[name]) else "fails" for title, check in CHECKS.items()}
        for name in names
    }
    return pd.DataFrame(answers).rename_axis("check")


def points(degrees: Sequence[float], labels: list[int]) -> InMemoryBatches:
    """Directions in the plane as samples, with their noisy labels."""
    angles = torch.deg2rad(torch.tensor(degrees))
    return InMemoryBatches(
        torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor(labels), batch_size=len(labels)
    )


def seeing_glass(num_classes: int) -> EmbeddingNetwork:
    """A network whose embedding of a point is the point itself."""
    head = nn.Linear(2, num_classes)
    return EmbeddingNetwork(nn.Identity(), head, mean=torch.zeros(2), deviation=torch.ones(2))
