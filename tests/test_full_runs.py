"""Lessons 05 and 06: the protocol, a sweep and its runs, corrected labels judged, cost, sliders over finished runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from dsl_lessons import full_runs
from dsl_lessons.explorers.runs import RunsExplorer
from dsl_lessons.paths import CONFIGS

from dsl_teach import Settings, load_dataset
from dsl_teach.data.clothing1m import Clothing1MLists
from dsl_teach.metrics import accuracy
from dsl_teach.sweep import Sweep, read_sweep

BASE = {"network": "strided_cnn", "width": 4, "epochs": 2, "correction_start": 1, "batch_size": 8, "m": 20}
HOW = {"workers": 2, "device": "auto", "processes": 1, "loader_workers": 0}
FOLDERS = {"clothing1m": "small_clothing1m", "food101n": "small_food101n"}


def places(folder: Path, dataset: str) -> dict[str, str]:
    return {"dataset": dataset, "data_root": str(folder)} | ({"test_root": str(folder)} if "food" in dataset else {})


@pytest.fixture(scope="module")
def trained(small_clothing1m, tmp_path_factory):
    methods = {"SMP": {}, "cross-entropy": {"alpha": 0.0}}
    sweep = Sweep(base=BASE | places(small_clothing1m, "clothing1m"), methods=methods, seeds=1)
    folder = tmp_path_factory.mktemp("runs")
    return sweep, folder, *full_runs.run_trials(sweep, folder, **HOW)


@pytest.mark.parametrize("dataset", FOLDERS)
def test_synthetic_data_pass_and_other_sizes_are_refused(dataset, request, tmp_path):
    folder = request.getfixturevalue(FOLDERS[dataset])
    data = load_dataset(Settings(**BASE, **places(folder, dataset)))
    sizes = full_runs.require_protocol(data, dataset, folder)
    assert list(sizes.values())[1] == len(data.test_labels)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("SYNTHETIC.txt"))
    published = load_dataset(Settings(**BASE, **places(copy, dataset), trust=True))
    first, wanted = next(iter(full_runs.LISTS[dataset].items()))
    with pytest.raises(ValueError, match=f"{first} names {sizes[first]} images, but .* are from {wanted:,}"):
        full_runs.require_protocol(published, dataset, copy)


def test_a_missing_folder_is_named_and_a_synthetic_data_set_is_drawn_once(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="data_root names nowhere, and there is no such folder"):
        full_runs.find_data("clothing1m", "nowhere")
    monkeypatch.setattr(full_runs, "RUNS", tmp_path)
    first = full_runs.find_data("clothing1m", "", images_per_class=2)
    made = (first / "SYNTHETIC.txt").stat().st_mtime
    assert full_runs.find_data("clothing1m", "", images_per_class=2) == first
    assert (first / "SYNTHETIC.txt").stat().st_mtime == made


def test_runs_are_taken_up_as_they_ended(trained):
    sweep, folder, rows, runs = trained
    assert list(rows["method"]) == list(runs) == ["SMP", "cross-entropy"]
    assert list(rows["alpha"]) == [0.5, 0.0]
    for row, one in zip(rows.to_dict("records"), runs.values(), strict=True):
        assert row["test_curve"] == [round(record.test_accuracy, 4) for record in one.result.history]
    again, _ = full_runs.run_trials(sweep, folder, **HOW)
    assert again["seconds"].tolist() == rows["seconds"].tolist()  # nothing was trained anew


def test_labels_are_judged_by_what_they_are_said_to_be(trained, small_clothing1m):
    smp, plain = trained[3].values()
    assert torch.equal(full_runs.vote(smp, smp.data.images), smp.result.correction.labels)
    listed, clean = Clothing1MLists(small_clothing1m).with_both_labels()
    assert not set(listed.files.paths) & set(smp.data.images.paths)
    told = full_runs.judged(smp, listed.files, clean, listed.labels)
    assert told["given labels"] == accuracy(listed.labels, clean)
    assert told["labels by the prototypes"] == accuracy(full_runs.vote(smp, listed.files), clean)
    tested = full_runs.judged(plain, plain.data.test_images, plain.data.test_labels)
    assert tested == {"network's answers": plain.result.history[-1].test_accuracy}
    with pytest.raises(ValueError, match="With alpha = 0 there is no correction"):
        full_runs.vote(plain, listed.files)
    assert all(value > 0 for value in full_runs.measure_rates(Settings(**BASE), 3, "cpu"))
    assert all(value > 0 for value in full_runs.measure_reading(listed.files).values())


def test_verified_labels_are_counted_where_somebody_looked(small_food101n, tmp_path):
    sweep = Sweep(base=BASE | places(small_food101n, "food101n"), methods={"SMP": {}})
    rows, runs = full_runs.run_trials(sweep, tmp_path, **HOW)
    marks, told = runs["SMP"].data.verified, full_runs.verified_report(runs["SMP"])
    kept = runs["SMP"].result.correction.labels == runs["SMP"].data.noisy_labels
    assert rows["label_accuracy"].isna().all()  # right ones alone are known: no share of right labels follows
    assert told["right ones kept"] == rows["verified_kept"][0] == pytest.approx(float(kept[marks == 1].double().mean()))
    assert told["wrong ones changed"] == pytest.approx(float((~kept[marks == 0]).double().mean()))
    assert told["labels that agree"] == pytest.approx(1 - rows["changed"][0])


def test_cost_by_hand(monkeypatch):
    monkeypatch.setattr(full_runs, "measure_rates", lambda *_: (2.0, 10.0))
    settings = Settings(epochs=15, correction_start=5)

    def card(rate=0.0):
        return full_runs.cost_card(settings, train=480, test=48, classes=3, device="cpu", rate=rate).iloc[:, 0]

    assert card()["images trained, all epochs"] == "7,200"
    assert card()["images looked at (corrections, tests)"] == "6,000"  # corrected after 5, 6, ..., 15 epochs
    assert card()["hours on one such device"] == f"{(7200 / 2 + 6000 / 10) / 3600:.1f}"
    assert card(rate=4.0)["images a second, trained"] == "4.0, given by the reader"
    assert card(rate=4.0)["images a second, looked at"] == "20.0"


def test_a_single_run_says_that_its_interval_is_of_the_test_set_alone():
    rows = pd.DataFrame({"method": ["SMP", "a", "a"], "test_accuracy": [0.5, 0.4, 0.6]})
    table = full_runs.beside_the_paper({"paper": {"SMP": "74.45"}}, rows, 100)
    assert table.loc["these runs", "SMP"] == "50.0 ± 9.8 (1 seed; from 100 test images alone)"
    assert table.loc["these runs", "a"].endswith("(2 seeds)")
    assert table.loc["paper", "SMP"] == "74.45"


@pytest.mark.parametrize(("name", "epochs", "drop"), [("clothing1m", 15, 5), ("food101n", 30, 10)])
def test_the_full_runs_are_the_papers(name, epochs, drop):
    sweep = read_sweep(CONFIGS / f"{name}_full.yaml")
    paper = {"p": 8, "m": 1280, "alpha": 0.5, "network": "resnet50", "weights": "imagenet", "epochs": epochs}
    paper |= {"learning_rate": 0.002, "learning_rate_drop": drop, "batch_size": 128, "weight_decay": 0.005}
    assert paper.items() <= sweep.base.items()
    assert {"cross-entropy": {"alpha": 0.0}, "SMP": {}}.items() <= sweep.methods.items()


def test_finished_runs_are_handed_over_with_their_figures(trained):
    explorer = RunsExplorer(trained[2])
    assert sorted(one["knobs"]["alpha"] for one in explorer.runs) == [0.0, 0.5]
    assert [len(one["curves"]["test_accuracy"]) for one in explorer.runs] == [2, 2]
    assert explorer.values["alpha"] == 0.5
