"""Every option, broken off in the middle of an epoch and continued, gives the same run to the last bit."""

from __future__ import annotations

import io

import pytest
import torch

from dsl_teach.data.batches import InMemoryBatches, crop_and_flip
from dsl_teach.seeds import stream
from dsl_teach.training.distributed import ALONE
from dsl_teach.training.keeper import Keeper, Watched
from dsl_teach.training.loop import fit
from dsl_teach.training.networks import build_network
from tests.run_driver import SETTINGS, K, outcome, samples

BASE = SETTINGS.replace(epochs=4, correction_start=1)  # 4 steps an epoch
OPTIONS = {
    "none": {},
    "smoothed": {"loss": "smoothed"},
    "gce": {"loss": "gce"},
    "sce": {"loss": "sce"},
    "elr": {"loss": "elr"},
    "forward": {"loss": "forward"},
    "forward alone": {"loss": "forward", "alpha": 0.0},
    "mixup": {"mixup": 0.5},
    "averaged weights": {"averaged_weights": 0.9},
    "balanced": {"balanced_sampling": True},
    "soft labels": {"soft_temperature": 0.1},
    "margin": {"margin": 0.05},
    "centred": {"centred": True},
    "whitened": {"whitened": True},
    "agreeing only": {"agreeing_only": True},
    "prototype momentum": {"prototype_momentum": 0.7},
    "score momentum": {"score_momentum": 0.7},
    "random": {"correct_by": "random"},
    "class means": {"correct_by": "class_means"},
    "neighbours": {"correct_by": "neighbours", "neighbours": 7},
    "head": {"correct_by": "head"},
    "much at once": {
        "loss": "elr", "mixup": 0.5, "averaged_weights": 0.9, "balanced_sampling": True, "soft_temperature": 0.1,
        "whitened": True, "agreeing_only": True, "prototype_momentum": 0.7, "score_momentum": 0.7,
    },
    "much else": {
        "loss": "forward", "averaged_weights": 0.5, "margin": 0.02, "centred": True, "correct_by": "class_means",
        "score_momentum": 0.5, "correct_every": 2, "correction_start": 0,
    },
    "streamed": {"correction_mode": "streamed", "loss": "elr", "whitened": True, "score_momentum": 0.7},
}  # fmt: skip


class BrokenOff(Exception):
    """Raised in the middle of a run."""


class Breaking(Keeper):
    """Takes up what was saved, and breaks off after so many steps or looks in all, saving the state."""

    def __init__(self, saved: bytes | None, steps: int):
        self.saved, self.left = saved, steps

    def resume(self, state):
        if self.saved is not None:
            saved = torch.load(io.BytesIO(self.saved), weights_only=True)
            state.restore(saved, ALONE, torch.device("cpu"))

    def watch(self, batches, state):
        return Watched(batches, lambda share: self.look_up(state))

    def look_up(self, state):
        self.left -= 1
        if self.left == 0 and state.under_way is not None:
            file = io.BytesIO()
            torch.save(state.to_dict(ALONE), file)
            self.saved = file.getvalue()
            raise BrokenOff


def train(settings, keeper=None):
    images, noisy_labels, labels = samples()
    batches = InMemoryBatches(
        images, noisy_labels, batch_size=16, view=crop_and_flip, balanced=settings.balanced_sampling
    )
    network = build_network(settings.network, images=images, num_classes=K, width=4, generator=stream(0, "weights"))
    result = fit(network, batches, batches, settings, clean_labels=labels, keeper=keeper)
    return result, network


def train_with_breaks(settings, breaks):
    """A run that is broken off again and again; what it came to, and how often it was."""
    saved, broken = None, 0
    for steps in breaks:
        keeper = Breaking(saved, steps)
        try:
            train(settings, keeper)
        except BrokenOff:
            broken += 1
        saved = keeper.saved
    return train(settings, Breaking(saved, 0)), broken


def assert_equal_to_the_last_bit(one, other):
    assert one["history"] == other["history"]
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])
    assert (one["labels"] is None) == (other["labels"] is None)
    assert one["labels"] is None or torch.equal(one["labels"], other["labels"])


def what_came_of(result, network):
    if result.correction is None:
        history = [{k: v for k, v in vars(r).items() if not k.startswith("seconds")} for r in result.history]
        return {"weights": network.state_dict(), "history": history, "labels": None}
    return outcome(result, network)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # broken off after the last step
@pytest.mark.parametrize("name", OPTIONS)
def test_it_goes_on_as_if_nothing_had_happened(name):
    settings = BASE.replace(**OPTIONS[name])
    unbroken = train(settings)
    continued, broken = train_with_breaks(settings, [3, 12, 7])  # in a first, a second and a later epoch
    assert broken >= 2
    assert_equal_to_the_last_bit(what_came_of(*unbroken), what_came_of(*continued))
    soft = unbroken[0].correction and unbroken[0].correction.soft
    assert soft is None or torch.equal(soft, continued[0].correction.soft)


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in ("none", "streamed")])
def test_each_option_makes_a_difference(name):
    assert what_came_of(*train(BASE))["history"] != what_came_of(*train(BASE.replace(**OPTIONS[name])))["history"]


def test_a_finished_run_with_averaged_weights_is_left_as_it_is():
    class Last(Breaking):
        def keep(self, state):
            file = io.BytesIO()
            torch.save(state.to_dict(ALONE), file)
            self.saved = file.getvalue()

    settings = BASE.replace(averaged_weights=0.9)
    keeper = Last(None, 0)
    first = train(settings, keeper)
    again = train(settings, Breaking(keeper.saved, 1))  # one step would break it
    assert_equal_to_the_last_bit(what_came_of(*first), what_came_of(*again))


def test_a_checkpoint_of_before_these_options_can_still_be_taken_up():
    keeper = Breaking(None, 14)
    with pytest.raises(BrokenOff):
        train(BASE, keeper)
    saved = torch.load(io.BytesIO(keeper.saved), weights_only=True)
    del saved["memory"], saved["averaged"], saved["correction"]["soft"]
    file = io.BytesIO()
    torch.save(saved, file)
    continued = train(BASE, Breaking(file.getvalue(), 0))
    assert_equal_to_the_last_bit(what_came_of(*train(BASE)), what_came_of(*continued))
