"""The committed rows of lesson 07: made by its YAML, every seed there, and what the text claims of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dsl_lessons.suspects.catalog import MANY_CLASSES, SUSPECTS
from dsl_lessons.suspects.tables import difference, figures

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
YAML = "configs/why_reproductions_fall_short_10_seeds.yaml"


@pytest.fixture(scope="module")
def results():
    return json.loads((NOTEBOOKS / "results/why_reproductions_fall_short_10_seeds.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(results):
    frame = pd.DataFrame(results["rows"])
    return frame[frame["classes"] == 10]


def test_every_suspect_has_every_seed(results):
    parameters = yaml.safe_load((NOTEBOOKS / YAML).read_text(encoding="utf-8"))
    assert results["made_by"] == f"notebooks/{YAML}" == parameters["made_by"]
    frame = pd.DataFrame(results["rows"])
    wanted = {(10, name) for name in SUSPECTS} | {(50, name) for name in MANY_CLASSES}
    groups = frame.groupby(["classes", "suspect"])["seed"]
    assert {key: sorted(seeds) for key, seeds in groups} == {key: list(range(parameters["seeds"])) for key in wanted}


@pytest.mark.parametrize("name", ["kept by place", "class as place"])
def test_labels_of_other_images_change_as_by_chance_and_the_test_does_not_tell(rows, name):
    changed = figures(rows, name, "changed") - figures(rows, name, "chance_changed")
    assert abs(float(changed.mean())) < 1.5
    assert float(figures(rows, name, "label_accuracy").mean()) < 15
    assert difference(rows, name).mean > -difference(rows, name).half  # no loss is shown


def test_smp_changes_far_fewer_labels_than_chance(rows):
    assert float((figures(rows, "SMP", "chance_changed") - figures(rows, "SMP", "changed")).min()) > 40
