"""What is said about committed rows: paired verdicts by hand, tables that cope with what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from dsl_lessons import results

from dsl_teach.metrics import interval, seeds_needed

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
ACCURACIES = {
    "cross-entropy": [0.60, 0.70, 0.80],
    "SMP": [0.70, 0.80, 0.91],  # +10, +10, +11: better, though the groups overlap
    "careful SMP": [0.55, 0.66, 0.75],  # -5, -4, -5: worse
    "GCE": [0.70, 0.65, 0.85],  # +10, -5, +5: not shown
}
LABELS = {"SMP": 0.7, "careful SMP": 0.5}


def rows_of(case="toy", accuracies=ACCURACIES):
    return pd.DataFrame(
        {
            "case": case, "method": method, "seed": seed, "test_accuracy": share, "noisy_accuracy": 0.6,
            "label_accuracy": LABELS.get(method), "seconds": 10.0 * (seed + 1) * (2 if method == "SMP" else 1),
            "test_curve": [share + 0.02, share],
        }
        for method, shares in accuracies.items() for seed, share in enumerate(shares)
    )  # fmt: skip


@pytest.fixture
def rows():
    return rows_of()


def committed(rows, missing=()):
    made_from = ("images drawn with seed 0; labels", "images drawn with seed 1; labels")
    return results.Committed(results.RESULTS / "toy.json", rows, "configs/toy.yaml", made_from, tuple(missing))


def test_a_difference_is_that_of_pairs(rows):
    found = results.against(rows, "SMP")
    by_hand = interval([10.0, 10.0, 11.0])
    assert (found.mean, found.half, found.n) == pytest.approx((by_hand.mean, by_hand.half, 3))


@pytest.mark.parametrize(("method", "said"), [("SMP", "better"), ("careful SMP", "worse"), ("GCE", "not shown")])
def test_verdicts_by_hand(rows, method, said):
    assert results.verdict(results.against(rows, method)) == said
    table = results.verdict_table(rows.sample(frac=1, random_state=0))  # whatever the order of the rows
    assert table.loc[("toy", method), "verdict"] == said


def test_only_seeds_that_both_have_are_compared(rows):
    part = rows[~((rows["method"] == "cross-entropy") & (rows["seed"] == 2))]
    assert results.against(part, "SMP").n == 2
    assert results.verdict(results.against(part[part["seed"] != 1], "SMP")) == "one seed"
    assert results.against(part[part["method"] == "SMP"], "SMP") is None


def test_cost_is_the_median_ratio_of_the_same_seeds(rows):
    table = results.verdict_table(rows)
    assert table.loc[("toy", "SMP"), "cost"] == "2.0"
    assert table.loc[("toy", "cross-entropy"), "cost"] == "1.0"


def test_labels_that_nobody_corrected_have_no_figure(rows):
    table = results.verdict_table(rows)
    assert table.loc[("toy", "GCE"), "corrected labels right %"] == ""
    assert table.loc[("toy", "SMP"), "corrected labels right %"] == "70.0 ± 0.0"
    assert results.labels_in_words(rows).endswith(
        "SMP 60.0 ± 0.0 -> 70.0 ± 0.0 %; careful SMP 60.0 ± 0.0 -> 50.0 ± 0.0 %"
    )


def test_words_name_each_method_once(rows):
    said = results.in_words(rows)
    assert said.splitlines() == [
        "better than cross-entropy: SMP", "worse than cross-entropy: careful SMP",
        "not shown to differ from cross-entropy: GCE",
    ]  # fmt: skip
    assert "+10.3 ± 1.4 points over 3 seeds, better" in results.in_words(rows, ours="SMP")
    assert "no seed" in results.in_words(rows, ours="ELR")


def test_cases_are_counted_by_verdict(rows):
    files = [committed(rows), committed(rows_of("other"))]
    assert results.tally(files, "SMP") == "SMP against cross-entropy in 2 cases: 2 better"
    assert results.tally(files, "ELR").endswith("0 cases: no rows")


def test_seeds_follow_from_the_spread_of_pairs(rows):
    table = results.seeds_table(rows, wished=(5,))
    spread = float(np.std([10, -5, 5], ddof=1))
    assert table.loc["GCE", "for 5 points"] == seeds_needed(5, spread)
    assert "cross-entropy" not in table.index


def test_the_best_epoch_flatters_by_what_the_curve_lost(rows):
    assert results.flattery(rows).eq(2.0).all()


def test_the_best_other_is_no_smp(rows):
    assert results.best_other(rows) == "GCE"
    assert results.best_other(rows[rows["method"] != "GCE"]) is None


def test_a_file_that_is_not_there_has_no_rows_and_says_so(tmp_path):
    file = results.read_results("nothing", tmp_path)
    assert file.rows.empty
    assert file.cases == []
    assert "is not here" in str(file)
    assert results.readme_table([file]).count("\n") == 1
    assert results.together([file]).empty


def test_a_file_is_read_with_what_made_it(tmp_path, rows):
    content = {"made_by": "a.yaml", "made_from": ["x"], "missing": ["cell 1"], "rows": rows.to_dict("records")}
    (tmp_path / "toy.json").write_text(json.dumps(content))
    file = results.read_results("toy", tmp_path)
    assert file.cases == ["toy"]
    assert str(file) == "made by a.yaml, 12 runs, up to 3 seeds; 1 runs are missing; from x"


def test_seeds_of_single_runs_are_left_out_of_the_sources(rows):
    assert committed(rows).sources == "images drawn with the run's seed; labels"


def test_what_several_sources_share_is_said_once():
    told = tuple(f"digits drawn with seed {seed}; labels {name}" for seed in (0, 1) for name in ("idn_20", "idn_40"))
    file = results.Committed(Path("x.json"), pd.DataFrame(), made_from=told)
    assert file.sources == "digits drawn with the run's seed; labels idn_20 | idn_40"


def test_the_readme_table_by_hand(rows):
    lines = results.readme_table([committed(rows)]).splitlines()
    assert lines[2] == (
        "| toy | 3 | 60.0 ± 0.0 → 70.0 ± 0.0 | 70.0 ± 24.8 | 80.3 ± 26.1 | **+10.3 ± 1.4, better** | "
        "−4.7 ± 1.4, worse | GCE: +3.3 ± 19.0, not shown |"
    )
    assert len({line.count("|") for line in lines}) == 1


def test_a_case_without_smp_still_has_its_line(rows):
    lines = results.readme_table([committed(rows[rows["method"] == "cross-entropy"])]).splitlines()
    assert lines[2] == "| toy | 3 |  | 70.0 ± 24.8 |  |  |  |  |"


def test_the_command_prints_the_table(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["results", "--folder", str(tmp_path)])
    results.main()
    assert capsys.readouterr().out.startswith("| data and wrong labels | seeds |")


def test_effects_of_knobs_are_means_over_everything_else():
    table = pd.DataFrame(
        {"p": p, "m": 40, "alpha": alpha, "correction_start": 0, "seed": seed,
         "test_accuracy": 0.5 + p / 100 + alpha / 10, "label_accuracy": 0.5}
        for p in (1, 8) for alpha in (0.2, 0.4) for seed in (0, 1)
    )  # fmt: skip
    effects = results.knob_effects(table)
    assert effects.loc[("p", 8), "test accuracy %"] == "61.0 ± 0.0"
    assert effects.loc[("p", 8), "runs"] == 4


def test_what_lesson_04_says_of_cifar_is_what_the_rows_say():
    cells = nbformat.read(NOTEBOOKS / "04_cifar_input_dependent_noise.ipynb", 4).cells
    (text,) = [" ".join(cell.source.split()) for cell in cells if cell.source.startswith("Look at the arrows")]
    parts, digits = (results.read_results(name) for name in ("cifar10_parts", "digits_methods"))
    wrong, plain = parts.case("CIFAR-10, idn_40"), "mixup, averaged weights"
    for rows, ours, other in [
        (wrong, "careful SMP", "cross-entropy"),
        (wrong, plain, "cross-entropy"),
        (wrong, "careful SMP", plain),
        (digits.case("digits, 40 % wrong"), "careful SMP", plain),
    ]:
        assert results.signed(results.against(rows, ours, other)).removeprefix("+") in text
    memorised = 100 * wrong.groupby("method")["memorised"].mean()
    assert f"cross-entropy learns {memorised['cross-entropy']:.0f} % of the wrong" in text
    assert f"SMP {memorised['SMP']:.0f} %." in text
    clean = results.read_results("cifar10_methods").case("CIFAR-10, clean")
    assert clean[clean["method"] == "SMP"]["label_accuracy"].mean() == pytest.approx(5 / 6, abs=0.01)
    gain = results.against(clean, "SMP", "cross-entropy")
    assert gain.mean > gain.half
