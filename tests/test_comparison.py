"""What lesson 04 runs: CIFAR or digits, noise by a network's confusions, equal terms; and its figures."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest
import torch
from dsl_lessons import comparison, plots_comparison
from dsl_lessons.explorers.table import TableExplorer, entries, nearest
from dsl_lessons.lessons import fit_to
from dsl_lessons.methods import methods
from dsl_lessons.widgets import table_explorer

from dsl_teach import Settings, load_dataset
from dsl_teach.data.cifar import cifar10
from tests.test_results import rows_of
from tests.tiny_cifar import write_cifar10

QUICK = Settings(width=4, batch_size=256, epochs=2, correction_start=1, learning_rate_drop=0)
CIFAR = QUICK.replace(dataset="cifar10", data_root="nowhere", official_files=False, network="strided_cnn")


@pytest.fixture(scope="module")
def fitted():
    return fit_to(load_dataset(QUICK), QUICK)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    root = tmp_path_factory.mktemp("cifar")
    write_cifar10(root, train=200)
    return CIFAR.replace(data_root=str(root), batch_size=50)


@pytest.fixture
def table():
    return pd.DataFrame(
        {"p": p, "m": m, "alpha": alpha, "correction_start": start, "seed": seed,
         "test_accuracy": 0.6 + alpha / 10 + p / 1000, "test_curve": [0.1, 0.6 + alpha / 10],
         "label_curve": [None, 0.5 + seed / 10]}
        for p in (1, 8) for m in (40, 1280) for alpha in (0.25, 0.5) for start in (0, 5) for seed in (0, 1)
    )  # fmt: skip


def test_without_cifar_the_lesson_goes_on_with_digits_and_says_how_to_get_it(tmp_path):
    opened = comparison.open_cifar_or_digits(CIFAR.replace(data_root=str(tmp_path), subset=100))
    assert opened.data.name == "digits"
    assert (opened.settings.dataset, opened.settings.network, opened.settings.subset) == ("digits", "small_cnn", 0)
    assert opened.settings.width == CIFAR.width
    assert "download_cifar.py cifar10" in opened.said


def test_a_missing_file_of_labels_is_no_reason_for_digits(cifar):
    with pytest.raises(FileNotFoundError):
        comparison.open_cifar_or_digits(cifar.replace(labels_file="no_such_labels.npz"))


def test_with_cifar_nothing_needs_saying_and_the_noise_is_as_asked(cifar):
    opened = comparison.open_cifar_or_digits(cifar.replace(noise_rate=0.25))
    assert opened.said == ""
    assert opened.data.name == "CIFAR-10"
    wrong = opened.data.noisy_labels != opened.data.clean_labels
    assert int(wrong.sum()) == round(0.25 * len(opened.data))
    again = comparison.load(cifar.replace(noise_rate=0.25))
    assert torch.equal(again.noisy_labels, opened.data.noisy_labels)
    assert "a small network's confusions" in again.made_from


def test_without_noise_cifar_stays_clean(cifar):
    data = comparison.load(cifar.replace(noise_rate=0.0))
    assert torch.equal(data.noisy_labels, cifar10(cifar.data_root, checksum=False).clean_labels)


def test_worst_confusions_are_counted_and_sorted():
    data = load_dataset(QUICK)
    found = comparison.worst_confusions(data, 3)
    pairs = [(int(t), int(g)) for t, g in zip(data.clean_labels, data.noisy_labels, strict=True) if t != g]
    assert found["images"].tolist() == sorted((pairs.count(pair) for pair in set(pairs)), reverse=True)[:3]
    first = found.iloc[0]
    assert pairs.count((int(first["true class"]), int(first["given label"]))) == first["images"]


def test_a_plan_gives_every_method_the_same_data_and_only_its_own_changes():
    plans = comparison.plan(QUICK, ["cross-entropy", "GCE", "careful SMP"], [0, 3])
    assert [(name, settings.seed) for name, _, settings in plans[::3]] == [("cross-entropy", 0), ("cross-entropy", 3)]
    assert plans[0][1] is plans[2][1]
    for name, _, settings in plans:
        assert settings == QUICK.replace(seed=settings.seed, **methods()[name])


def test_rows_carry_case_method_and_seed(fitted):
    (row,) = comparison.rows_of([("SMP", fitted.data, fitted.settings)], [fitted]).to_dict("records")
    assert (row["case"], row["method"], row["seed"]) == ("digits", "SMP", 0)
    assert row["test_accuracy"] == fitted.result.history[-1].test_accuracy


def test_correctors_are_compared_on_one_network(fitted):
    before = {name: weight.clone() for name, weight in fitted.network.state_dict().items()}
    found = comparison.compare_correctors(fitted)
    assert found.index.tolist() == list(comparison.CORRECTORS)
    assert (found["prototypes right %"] != "").tolist() == [True, True, False, False, False]
    moved = found["mended %"].astype(float) - found["spoilt %"].astype(float)
    assert (found["labels right afterwards %"].astype(float) - moved).between(59.8, 60.2).all()
    assert all(torch.equal(weight, before[name]) for name, weight in fitted.network.state_dict().items())


def test_purity_leaves_out_runs_without_correction(fitted):
    plain = fit_to(fitted.data, QUICK.replace(alpha=0.0, epochs=1))
    found = comparison.purity_by_method({"cross-entropy": plain, "SMP": fitted})
    assert found.index.tolist() == ["SMP"]
    assert found.loc["SMP", "given labels right %"] == "60.0"


def test_rankings_of_the_benchmark_are_read():
    entry = {"network": "SMP", "ranking": "class scores", "epochs": 3, "seeds": 10}
    assert len(comparison.published_rankings([{"name": "x"}, {"rankings": [entry]}])) == 1
    assert comparison.published_rankings([{"name": "x"}]).empty


def test_every_figure_can_be_drawn(fitted):
    rows = rows_of()
    figures = [
        plots_comparison.confusions(fitted.data),
        plots_comparison.memorised_and_test({"SMP": fitted}),
        plots_comparison.differences({"toy": plots_comparison.differences_of(rows)}),
        plots_comparison.method_curves(pd.concat([rows, rows_of("other")]), ["toy", "other"]),
        plots_comparison.labels_before_and_after(rows),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_differences_are_coloured_by_their_verdict():
    lines = plots_comparison.differences_of(rows_of())
    assert list(lines) == ["SMP", "GCE", "careful SMP"]
    axes = plots_comparison.differences({"toy": lines}).axes[0]
    colours = [container.lines[0].get_color() for container in axes.containers]
    assert colours == [plots_comparison.RIGHT, plots_comparison.NEUTRAL, plots_comparison.WRONG]


def test_the_nearest_entry_is_itself_and_else_the_one_next_to_it(table):
    found = entries(table)
    assert len(found) == 16
    for entry in found:
        assert nearest(found, entry.knobs) is entry
    knobs = {"p": 6, "m": 100, "alpha": 0.4, "correction_start": 1}
    assert nearest(found, knobs).knobs == {"p": 8, "m": 40, "alpha": 0.5, "correction_start": 0}
    assert found[0].label_curve == (None, pytest.approx(0.55))


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match=r"digits_knobs\.yaml"):
        entries(pd.DataFrame())


def test_the_table_answers_at_once_and_says_that_it_was_made_beforehand(table):
    explorer = table_explorer(table, QUICK.replace(alpha=0.5, correction_start=5), made_by="a.yaml")
    assert explorer.summary.startswith("Computed beforehand for p = 8, m = 1280, alpha = 0.5, correction_start = 5:")
    assert "over 2 seeds (a.yaml)" in explorer.summary
    before = explorer.picture
    explorer.values = explorer.values | {"alpha": 0.3}
    assert "alpha = 0.25, correction_start = 5, the nearest in the table" in explorer.summary
    assert explorer.picture != before
    assert not explorer.running
    assert "-p alpha 0.3" in explorer.command
    assert ElementTree.fromstring(explorer.picture)[0].text == explorer.summary


def test_training_runs_for_real_beside_the_table(table, fitted):
    explorer = TableExplorer(table, fitted.data, QUICK, made_by="a.yaml", notebook="04.ipynb")
    lines = explorer.picture.count("<polyline")
    explorer.values = explorer.values | {"alpha": 0.5, "correction_start": 1, "p": 8, "m": 1280}
    explorer.press("train")
    explorer.wait(60)
    assert explorer.view.history[-1].test_accuracy == fitted.result.history[-1].test_accuracy
    assert "Your run: Finished: 2 of 2 epochs" in explorer.summary
    assert explorer.picture.count("<polyline") == lines + 2
    assert explorer.problem == ""
