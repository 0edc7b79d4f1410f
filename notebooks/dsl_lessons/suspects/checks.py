"""Small checks that catch the suspects of lesson 07: each takes a suspect and says whether it passes.

They need seconds, no full run: a few points whose answer is known by hand, or one step of a small network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from dsl_lessons.suspects.trials import Parts, Suspect, new_network, try_suspect
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches, InMemoryBatches
from dsl_teach.data.dataset import NoisyDataset, shared_images
from dsl_teach.data.digits import digits
from dsl_teach.training.loop import Correction, make_optimizer
from dsl_teach.training.networks import EmbeddingNetwork

FAN = (0.0, 9.0, 20.0, 33.0, 90.0)
"""Five directions in degrees; by hand the two prototypes are the second and the last."""
QUICK = Settings(epochs=1, correction_start=1, width=4, batch_size=100)

Check = Callable[[Suspect], bool]


def labels_follow_their_images(suspect: Suspect) -> bool:
    """Frozen weights give the same corrected labels, whatever the order of the shuffled passes."""
    data = _data()
    parts, network = suspect.parts(data, QUICK), suspect.network(new_network(data, QUICK))
    first, second = (suspect.correct(network, parts.train, QUICK.replace(seed=seed), 0).labels for seed in (1, 2))
    return torch.equal(first, second)


def prototypes_of_the_fan(suspect: Suspect) -> bool:
    """Of five directions the middle of the fan and the one apart are chosen, as computed by hand."""
    batches = points(FAN, [0] * len(FAN))
    found = suspect.correct(seeing_glass(1), batches, QUICK.replace(p=2, **_knobs(suspect)), 0).prototypes
    return sorted(found.index[0].tolist()) == [1, 4]


def prototypes_vote(suspect: Suspect) -> bool:
    """A sample that is its own prototype is outvoted where all other prototypes of its class are far away."""
    batches = points((0, 100, 110, 30, 35, 40), [0, 0, 0, 1, 1, 1])
    labels = suspect.correct(seeing_glass(2), batches, QUICK.replace(p=3), 0).labels
    return labels.ndim == 1 and int(labels[0]) == 1


def correction_leaves_the_network_alone(suspect: Suspect) -> bool:
    """Not one weight, and no statistic of batch norm, is changed by a correction."""
    data = _data()
    network = suspect.network(new_network(data, QUICK))
    before = copy.deepcopy(network.state_dict())
    suspect.correct(network, suspect.parts(data, QUICK).train, QUICK, 0)
    return all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def batch_norm_learns(suspect: Suspect) -> bool:
    """A training pass changes the statistics of every batch norm."""
    data = _data()
    network = suspect.network(new_network(data, QUICK))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    _train(suspect, network, suspect.parts(data, QUICK), None)
    after = [norm.running_mean for norm in norms if norm.running_mean is not None]
    return not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def labels_stand_still(suspect: Suspect) -> bool:
    """After a training pass the corrected labels are those from before it."""
    data = _data()
    network, parts = suspect.network(new_network(data, QUICK)), suspect.parts(data, QUICK)
    correction = suspect.correct(network, parts.train, QUICK, 0)
    before, used = correction.labels.clone(), _train(suspect, network, parts, correction)
    return used is not None and torch.equal(before, used.labels)


def no_test_image_is_trained_on(suspect: Suspect) -> bool:
    """Training set and test set share no image, compared by their pixels."""
    parts = suspect.parts(_data(), QUICK)
    return not shared_images(_images(parts.train), _images(parts.test))


def the_rate_is_the_one_asked_for(suspect: Suspect) -> bool:
    """The learning rate in the record of the first epoch is the one of the settings."""
    history = try_suspect(suspect, _data(), QUICK.replace(learning_rate=0.01)).run.result.history
    return history[0].learning_rate == 0.01


CHECKS: dict[str, Check] = {
    "labels follow their images": labels_follow_their_images,
    "prototypes of the fan": prototypes_of_the_fan,
    "prototypes vote": prototypes_vote,
    "correction leaves the network alone": correction_leaves_the_network_alone,
    "batch norm learns": batch_norm_learns,
    "labels stand still": labels_stand_still,
    "no test image is trained on": no_test_image_is_trained_on,
    "the rate is the one asked for": the_rate_is_the_one_asked_for,
}
"""Name -> check."""


def verdicts(suspects: list[Suspect]) -> pd.DataFrame:
    """Every check on every suspect: a row a check, ``passes`` or ``fails``."""
    answers = {
        suspect.name: {name: "passes" if check(suspect) else "fails" for name, check in CHECKS.items()}
        for suspect in suspects
    }
    return pd.DataFrame(answers).rename_axis("check")


def points(degrees: tuple[float, ...], labels: list[int]) -> InMemoryBatches:
    """Directions in the plane as samples, with their noisy labels."""
    angles = torch.deg2rad(torch.tensor(degrees))
    places = torch.stack([angles.cos(), angles.sin()], dim=1)
    return InMemoryBatches(places, torch.tensor(labels), batch_size=len(degrees))


def seeing_glass(num_classes: int) -> EmbeddingNetwork:
    """A network whose embedding of a point is the point itself."""
    head = nn.Linear(2, num_classes)
    return EmbeddingNetwork(nn.Identity(), head, mean=torch.zeros(2), deviation=torch.ones(2))


def _data() -> NoisyDataset:
    return digits(seed=0)


def _knobs(suspect: Suspect) -> dict[str, object]:
    return {name: value for name, value in suspect.changes.items() if name == "eta_max"}


def _train(
    suspect: Suspect, network: EmbeddingNetwork, parts: Parts, correction: Correction | None
) -> Correction | None:
    optimizer, _ = make_optimizer(network, QUICK)
    return suspect.train(network, parts, correction, optimizer, QUICK, 0)[1]


def _images(batches: Batches) -> Tensor:
    if not isinstance(batches, InMemoryBatches):
        raise TypeError("This check compares images in memory.")
    return batches.images
