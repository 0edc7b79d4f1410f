"""Rows summed up: verdicts by hand, tables that cope with what is missing, committed rows, the README's table."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dsl_lessons import comparison, tables
from dsl_lessons.contrasts import contrast
from dsl_lessons.methods import BASELINE, SMP, compared, correctors, methods
from dsl_lessons.paths import RUNS, SWEEPS, output_folder

from dsl_teach.config import Settings
from dsl_teach.data.clothes import TEST_SHARE as CLOTHES_SHARE
from dsl_teach.data.digits import TEST_SHARE
from dsl_teach.metrics import interval
from dsl_teach.sweep import read_sweep
from tools import findings, rankings
from tools.readme_table import FILES, first_table, readme_table

ROOT = Path(__file__).parent.parent
README, RESULTS = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md"))
ACCURACIES = {
    "cross-entropy": [0.60, 0.70, 0.80],
    "SMP": [0.70, 0.80, 0.91],  # +10, +10, +11: better, though the groups overlap
    "SMP, head": [0.55, 0.66, 0.75],  # -5, -4, -5: worse
    "GCE": [0.70, 0.65, 0.85],  # +10, -5, +5: not shown
}
LABELS = {"SMP": 0.7, "SMP, head": 0.5}
SAID = [
    (RESULTS, TEST_SHARE, "digits_methods", "digits, 40 % wrong", "SMP", "label smoothing"),
    (README, TEST_SHARE, "digits_methods", "digits, 40 % wrong", "SMP", "SMP, random prototypes"),
    (README, TEST_SHARE, "digits_methods", "digits, 40 % wrong", "SMP", "SMP, class means"),
    (README, TEST_SHARE, "digits_methods", "digits, 40 % wrong", "SMP", "mixup, averaged weights"),
    *((README, CLOTHES_SHARE, "preset_clothes_20", f"clothes, {wrong}", "untouched features", "cross-entropy")
      for wrong in ("20 % input-dependent", "clean", "40 % by chance")),
]  # fmt: skip


@pytest.fixture
def rows():
    return pd.DataFrame(
        {
            "case": "toy", "method": method, "seed": seed, "test_accuracy": share, "noisy_accuracy": 0.6,
            "label_accuracy": LABELS.get(method), "seconds": 10.0 * (seed + 1) * (2 if method == "SMP" else 1),
            "made_from": f"images drawn with seed {seed}; labels",
        }
        for method, shares in ACCURACIES.items() for seed, share in enumerate(shares)
    )  # fmt: skip


@pytest.mark.parametrize(("method", "said"), [("SMP", "better"), ("SMP, head", "worse"), ("GCE", "not shown")])
def test_verdicts_by_hand(rows, method, said):
    mixed = rows.sample(frac=1, random_state=0)  # whatever the order of the rows
    table = tables.summarise(mixed, ["case", "method"], baseline="cross-entropy")
    assert table.loc[("toy", method), "verdict"] == said
    points = 100 * (np.array(ACCURACIES[method]) - ACCURACIES["cross-entropy"])
    assert table.loc[("toy", method), "against cross-entropy"] == tables.signed(interval(points.tolist()))


def test_only_seeds_that_both_have_are_compared(rows):
    part = rows[~((rows["method"] == "cross-entropy") & (rows["seed"] == 2))]
    assert tables.against(part, "SMP").n == 2
    assert tables.verdict(tables.against(part[part["seed"] != 1], "SMP")) == "one seed"
    assert tables.against(part[part["method"] == "SMP"], "SMP") is None


def test_a_summary_by_hand(rows):
    table = tables.summarise(rows, ["case", "method"], baseline="cross-entropy")
    assert table.loc[("toy", "SMP"), "cost"] == "2.0"  # the median ratio of the same seeds
    assert table.loc[("toy", "GCE"), "corrected labels right %"] == ""
    assert table.loc[("toy", "SMP"), "corrected labels right %"] == "70.0 ± 0.0"
    assert "verified labels kept %" not in table  # nobody looked
    by_seed = tables.summarise(rows, "seed")
    assert by_seed.loc[0, "test accuracy %"] == str(interval([60, 70, 55, 70]))
    assert tables.mean_of(rows[:1], "test_accuracy") == "60.0"


def test_the_best_other_is_no_smp(rows):
    assert list(comparison.differences_of(rows)) == ["SMP", "GCE", "SMP, head"]
    assert comparison.best_other(rows) == "GCE"
    assert comparison.best_other(rows[rows["method"] != "GCE"]) is None


def test_a_folded_table_says_what_it_holds_and_escapes_it():
    shown = tables.folded(pd.DataFrame({"a": ["<b>"]}), "more <than> this").data
    assert shown.startswith("<details><summary>more &lt;than&gt; this</summary><table")
    assert "&lt;b&gt;" in shown


def test_results_are_written_and_read_with_what_made_them(rows, tmp_path):
    tables.write_results(tmp_path, rows, made_by="a.yaml", missing=["trial 1"])
    (tmp_path / "results.json").rename(tmp_path / "toy.json")
    file = tables.read_results("toy", tmp_path)
    assert file.rows["label_accuracy"].isna().sum() == 6
    assert json.loads((tmp_path / "toy.json").read_text())["rows"][0]["label_accuracy"] is None
    assert file.sources == "images drawn with the run's seed; labels"
    assert "by a.yaml, 12 runs, up to 3 seeds; 1 runs are missing" in str(file)
    nothing = tables.read_results("nothing", tmp_path)
    assert (nothing.cases, len(nothing.case("toy"))) == ([], 0)


def test_a_bare_name_lies_in_runs_and_a_path_where_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dsl_lessons.paths.RUNS", tmp_path / "repository" / "runs")
    assert output_folder("x") == tmp_path / "repository" / "runs" / "x"
    assert output_folder("./x").resolve() == tmp_path / "x"
    assert RUNS.parent == ROOT


def test_the_groups_of_methods_follow_from_what_they_change():
    assert compared()[0] == BASELINE
    assert all(not methods()[name].get("alpha", 0.5) for name in compared())
    assert len(correctors()) == 4
    changed = {name: Settings(**changes) != Settings() for name, changes in methods().items()}
    assert [name for name, differs in changed.items() if not differs] == [SMP]


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_means_by_a_name_what_the_others_mean(path):
    sweep = read_sweep(path)
    shared = set(sweep.methods) & set(methods()) - {"class means"}
    assert {name: dict(sweep.methods[name]) for name in shared} == {name: methods()[name] for name in shared}


def test_the_readme_table_by_hand(rows):
    lines = readme_table([tables.Committed("toy", rows), tables.Committed("none", pd.DataFrame())]).splitlines()
    assert lines[2] == (
        "| toy | 3 | 60.0 ± 0.0 → 70.0 ± 0.0 | 70.0 ± 24.8 | 80.3 ± 26.1 | **+10.3 ± 1.4, better** | "
        "GCE: +3.3 ± 19.0, not shown |"
    )
    assert len({line.count("|") for line in lines}) == 1
    plain = readme_table([tables.Committed("toy", rows[rows["method"] == "cross-entropy"])])
    assert plain.splitlines()[2] == "| toy | 3 |  | 70.0 ± 24.8 |  |  |  |"


@pytest.mark.parametrize(
    ("page", "marker", "table"),
    [
        ("README.md", "results", first_table),
        ("docs/results.md", "results", lambda: readme_table([tables.read_results(name) for name in FILES])),
        ("README.md", "own pictures", rankings.readme_table),
        ("docs/findings.md", "rankings", rankings.whole_tables),
        *(("docs/findings.md", name, table) for name, table in findings.HYPOTHESES.items()),
    ],
)
def test_a_page_has_the_table_of_the_committed_rows(page, marker, table):
    """Paste what ``python -m tools.findings``, ``readme_table`` or ``rankings`` prints between the two markers."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.findall(rf"<!-- {marker} -->\n(.*?)\n<!-- /{marker} -->", text, flags=re.DOTALL) == [table()]


@pytest.mark.parametrize(("page", "test_share", "file", "case", "ours", "other"), SAID)
def test_differences_told_in_prose_are_those_of_the_rows(page, test_share, file, case, ours, other):
    rows = tables.read_results(file).case(case)
    assert tables.signed(tables.against(rows, ours, other, test_share=test_share)) in page


def test_splits_of_the_same_images_widen_the_intervals_of_tables_as_those_of_contrasts(rows):
    pairs = tables.pairs_of(rows, "GCE", BASELINE, "test_accuracy")
    there = contrast(pairs["ours"].tolist(), pairs["theirs"].tolist(), bound=1.0, test_share=0.3)
    assert tables.against(rows, "GCE", test_share=0.3).half == pytest.approx(there.half)
    mean = contrast(pairs["ours"].tolist(), [0.0] * 3, bound=1.0, test_share=0.3)
    assert tables.mean_of(rows[rows["method"] == "GCE"], "test_accuracy", 0.3) == f"{mean.mean:.1f} ± {mean.half:.1f}"
    table = tables.summarise(rows, ["case", "method"], baseline=BASELINE, test_share=0.3).loc[("toy", "GCE")]
    assert table["test accuracy %"] == f"{mean.mean:.1f} ± {mean.half:.1f}"
    assert table[f"against {BASELINE}"] == tables.signed(comparison.differences_of(rows, test_share=0.3)["GCE"])
    assert comparison.differences_of(rows, test_share=0.3)["GCE"].half == pytest.approx(there.half)
    digits = readme_table([tables.Committed("toy", rows.assign(case="digits, toy"))])
    assert tables.signed(tables.against(rows, "GCE", test_share=TEST_SHARE)) in digits
