"""The checks of lesson 07: the method passes each, and each mistake fails the one that is meant for it."""

from __future__ import annotations

import pytest
from dsl_lessons.suspects.catalog import SUSPECTS
from dsl_lessons.suspects.checks import CHECKS, FAN, points, seeing_glass, verdicts

from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold
from dsl_teach.training.loop import embed

MEANT_FOR = {
    "kept by place": "labels follow their images",
    "class as place": "labels follow their images",
    "largest eta": "prototypes of the fan",
    "eta from itself": "prototypes of the fan",
    "no gate": "prototypes of the fan",
    "maximum": "prototypes vote",
    "train mode": "correction leaves the network alone",
    "eval mode for ever": "batch norm learns",
    "moving labels": "labels stand still",
    "tests trained on": "no test image is trained on",
    "tests, wrong labels": "no test image is trained on",
    "10 × rate": "the rate is the one asked for",
    "10 × rate, CE": "the rate is the one asked for",
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_method_passes_every_check(name):
    assert CHECKS[name](SUSPECTS["SMP"])


@pytest.mark.parametrize(("suspect", "check"), MEANT_FOR.items())
def test_a_suspect_fails_the_check_that_is_meant_for_it(suspect, check):
    assert not CHECKS[check](SUSPECTS[suspect])


def test_every_suspect_that_a_test_catches_fails_a_check():
    assert {name for name, suspect in SUSPECTS.items() if suspect.caught_by} <= set(MEANT_FOR)


@pytest.mark.parametrize("name", ["cross-entropy", "start 0", "shifted images", "p = 1", "S_c at 75 %", "m = 20"])
def test_a_choice_is_no_error(name):
    assert all(check(SUSPECTS[name]) for check in CHECKS.values())


def test_the_fan_by_hand():
    embeddings = embed(seeing_glass(1), points(FAN, [0] * 5))
    similarity = cosine_similarity(embeddings)
    rho = density(similarity, similarity_threshold(similarity))
    assert rho.tolist() == [-1, 1, 0, -2, -3]
    assert [i for i, value in enumerate(eta(similarity, rho).tolist()) if value < 0.95] == [1, 4]


def test_the_table_of_verdicts():
    table = verdicts([SUSPECTS["SMP"], SUSPECTS["largest eta"]])
    assert table["SMP"].tolist() == ["passes"] * len(CHECKS)
    assert table["largest eta"].value_counts()["fails"] == 1
