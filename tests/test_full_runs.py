"""Lesson 06: the protocol, a sweep and its rows, cost, sliders over finished runs."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from dsl_lessons import full_runs, paths
from dsl_lessons.explorers.runs import RunsExplorer
from dsl_lessons.paths import SWEEPS

from dsl_teach import Settings, load_dataset
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
    return sweep, folder, full_runs.run_trials(sweep, folder, **HOW)


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


@pytest.mark.parametrize("dataset", [*FOLDERS, "clothes"])
def test_a_missing_folder_is_named_and_a_synthetic_data_set_is_drawn_once(dataset, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="data_root names nowhere, and there is no such folder"):
        paths.data_folder(dataset, "nowhere")
    assert paths.data_folder(dataset, str(tmp_path)) == tmp_path.resolve()
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    first = paths.data_folder(dataset, "", images_per_class=2)
    made = first.stat().st_mtime_ns
    assert paths.data_folder(dataset, "", images_per_class=2) == first
    assert first.stat().st_mtime_ns == made


def test_a_second_call_finds_the_runs_finished(trained):
    sweep, folder, rows = trained
    assert list(rows["method"]) == ["SMP", "cross-entropy"]
    assert list(rows["alpha"]) == [0.5, 0.0]
    again = full_runs.run_trials(sweep, folder, **HOW)
    assert again["seconds"].tolist() == rows["seconds"].tolist()  # nothing was trained anew
    assert all(value > 0 for value in full_runs.measure_rates(Settings(**BASE), 3, "cpu"))


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
    table = full_runs.accuracies(rows, 100)
    assert table.loc["SMP"].tolist() == ["50.0 ± 9.8", "one seed: from 100 test images alone"]
    assert table.loc["a", "the interval is over"] == "2 seeds"


@pytest.mark.parametrize(("name", "epochs", "drop"), [("clothing1m", 15, 5), ("food101n", 30, 10)])
def test_the_full_runs_are_the_papers(name, epochs, drop):
    sweep = read_sweep(SWEEPS / f"{name}_full.yaml")
    paper = {"p": 8, "m": 1280, "alpha": 0.5, "network": "resnet50", "weights": "imagenet", "epochs": epochs}
    paper |= {"learning_rate": 0.002, "learning_rate_drop": drop, "batch_size": 128, "weight_decay": 0.005}
    assert paper.items() <= sweep.base.items()
    assert {"cross-entropy": {"alpha": 0.0}, "SMP": {}}.items() <= sweep.methods.items()


def test_finished_runs_are_handed_over_with_their_figures(trained):
    explorer = RunsExplorer(trained[2])
    told = sorted((one["knobs"]["alpha"], len(one["curves"]["test_accuracy"])) for one in explorer.runs)
    assert told == [(0.0, 2), (0.5, 2)]
    assert explorer.values["alpha"] == 0.5
