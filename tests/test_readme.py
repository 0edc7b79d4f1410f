"""The README says what the committed results say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dsl_lessons.results import README_FILES, against, read_results, readme_table, signed
from dsl_lessons.tables import comparison

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results():
    return json.loads((ROOT / "notebooks/results/start_here_10_seeds.json").read_text(encoding="utf-8"))


def test_the_result_table_is_the_committed_one():
    """Paste what ``python -m dsl_lessons.results`` prints between the two markers."""
    parts = re.findall(r"<!-- results -->\n(.*?)\n<!-- /results -->", README, flags=re.DOTALL)
    assert len(parts) == 1, "README.md needs one table between <!-- results --> and <!-- /results -->"
    assert parts[0] == readme_table([read_results(name) for name in README_FILES])


def test_each_line_of_the_table_has_rows_of_both_methods():
    for name in README_FILES:
        rows = read_results(name).rows
        for _, case in rows.groupby("case") if len(rows) else []:
            assert {"cross-entropy", "SMP"} <= set(case["method"])


def test_the_rows_are_from_the_yaml_that_the_readme_names(results):
    parameters = yaml.safe_load((ROOT / "notebooks/configs/start_here_10_seeds.yaml").read_text(encoding="utf-8"))
    rows = pd.DataFrame(results["rows"])
    assert results["made_by"] == "notebooks/configs/start_here_10_seeds.yaml" == parameters["made_by"]
    assert all(
        sorted(group["seed"]) == list(range(parameters["seeds"])) for _, group in rows.groupby(["case", "method"])
    )


def test_smp_beats_cross_entropy_with_an_interval_above_zero(results):
    """What the curves in the README show, from the rows."""
    table = comparison(pd.DataFrame(results["rows"]))
    for difference in table["difference"][table["difference"] != ""]:
        mean, half = (float(x) for x in difference.split(" ± "))
        assert mean - half > 0


def test_every_link_into_the_repository_leads_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_of_make_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= targets


SAID = [
    ("digits_methods", "digits, 40 % wrong", "careful SMP", "mixup, averaged weights"),
    ("digits_methods", "digits, 40 % wrong", "SMP", "label smoothing"),
    ("cifar10_parts", "CIFAR-10, idn_40", "careful SMP", "mixup, averaged weights"),
    ("cifar10_more_seeds", "CIFAR-10, idn_20", "careful SMP", "cross-entropy"),
]


@pytest.mark.parametrize(("file", "case", "ours", "other"), SAID)
def test_differences_told_in_sentences_are_those_of_the_rows(file, case, ours, other):
    assert signed(against(read_results(file).case(case), ours, other)) in README
