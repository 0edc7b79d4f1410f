"""Methods by name: every one is valid, and the grids that name them change what the name says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dsl_lessons.methods import BASELINE, PRESET, SMP, methods

from dsl_teach.config import Settings

CONFIGS = Path(__file__).parent.parent / "notebooks" / "configs"
GRIDS = ("digits_methods", "digits_noise", "cifar10_methods", "cifar10_parts")


@pytest.mark.parametrize("name", methods())
def test_every_method_is_a_valid_run_of_its_own(name):
    changes = methods()[name]
    settings = Settings().replace(**changes)
    assert (settings == Settings()) == (name == SMP)
    assert all(getattr(settings, knob) == value for knob, value in changes.items())


@pytest.mark.parametrize("grid", GRIDS)
def test_a_grid_means_by_a_name_what_the_library_means(grid):
    named = yaml.safe_load((CONFIGS / f"{grid}.yaml").read_text())["methods"]
    assert {BASELINE, SMP, PRESET} <= set(named)
    assert named == {name: methods()[name] for name in named}


def test_the_digits_grid_has_every_method():
    named = yaml.safe_load((CONFIGS / "digits_methods.yaml").read_text())["methods"]
    assert list(named) == list(methods())


def test_methods_cannot_be_changed_for_others():
    methods()[PRESET]["margin"] = 5.0
    assert methods()[PRESET]["margin"] == 0.1
