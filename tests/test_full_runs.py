"""Lessons 05 and 06: the protocol, what a run costs, sliders over finished runs, and notebooks that end badly."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
import yaml
from dsl_lessons import cost, finished, full_runs, plots_full
from dsl_lessons.explorers.runs import RunsExplorer, nearest

from dsl_teach.config import Settings
from dsl_teach.data.clothing1m import Clothing1MLists
from dsl_teach.metrics import accuracy

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "notebooks" / "configs"
QUICK = {"network": "strided_cnn", "width": 4, "epochs": 2, "correction_start": 1, "batch_size": 8, "m": 20}


@pytest.fixture(scope="module")
def trained(small_clothing1m, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    common = Settings(dataset="clothing1m", data_root=str(small_clothing1m), **QUICK)
    return folder, [full_runs.train(common.replace(alpha=alpha), folder) for alpha in (0.5, 0.0)]


def test_stand_ins_pass_and_other_sizes_are_refused(small_clothing1m, small_food101n, tmp_path):
    assert full_runs.require_clothing1m(small_clothing1m)["noisy_train_key_list.txt"] == 30
    assert sum(full_runs.require_food(small_food101n, small_food101n).values()) == 51 + 10
    for source, name in ((small_clothing1m, "STAND_IN.txt"), (small_food101n, "*/STAND_IN.txt")):
        copy = tmp_path / source.name
        shutil.copytree(source, copy)
        for mark in copy.glob(name):
            mark.unlink()
    with pytest.raises(ValueError, match=r"noisy_train_key_list\.txt names 30 images, but .* are from 1,000,000"):
        full_runs.require_clothing1m(tmp_path / small_clothing1m.name)
    with pytest.raises(ValueError, match=r"imagelist\.tsv names 51 images, but .* are from 310,009"):
        full_runs.require_food(tmp_path / small_food101n.name, tmp_path / small_food101n.name)


def test_a_test_image_in_the_training_list_is_refused(small_clothing1m, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_clothing1m, copy)
    stolen = (copy / "clean_test_key_list.txt").read_text().splitlines()[0]
    keys = copy / "noisy_train_key_list.txt"
    keys.write_text(keys.read_text() + "\n" + stolen)
    with pytest.raises(ValueError, match="stand in the training and in the test list"):
        full_runs.require_clothing1m(copy)


def test_a_missing_folder_is_named_and_a_stand_in_is_drawn_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_root names nowhere, and there is no such folder"):
        full_runs.find_data("clothing1m", "nowhere", stand_in=tmp_path / "x")
    first = full_runs.find_data("clothing1m", "", stand_in=tmp_path / "x", images_per_class=2)
    made = (first / "STAND_IN.txt").stat().st_mtime
    assert full_runs.find_data("clothing1m", "", stand_in=tmp_path / "x", images_per_class=2) == first
    assert (first / "STAND_IN.txt").stat().st_mtime == made


def test_both_labels_are_of_images_that_nobody_trains_on(small_clothing1m):
    held, lists = full_runs.both_labels(small_clothing1m), Clothing1MLists(small_clothing1m)
    assert len(held.files) > 0
    assert not set(held.files.paths) & set(lists.keys("noisy_train"))
    for path, noisy, clean in zip(held.files.paths, held.noisy_labels, held.clean_labels, strict=True):
        assert (lists.noisy[path], lists.clean[path]) == (int(noisy), int(clean))


def test_prototypes_vote_on_training_images_as_the_correction_did(trained):
    _, (smp, _) = trained
    assert torch.equal(full_runs.vote(smp, smp.data.images), smp.result.correction.labels)


def test_judged_counts_what_it_says(trained, small_clothing1m):
    _, (smp, plain) = trained
    held = full_runs.both_labels(small_clothing1m)
    told = full_runs.judged(smp, held)
    assert told["given labels"] == accuracy(held.noisy_labels, held.clean_labels)
    assert told["labels by the prototypes"] == accuracy(full_runs.vote(smp, held.files), held.clean_labels)
    tested = full_runs.judged(plain, full_runs.tested_images(plain.data))
    assert tested["network's answers"] == plain.result.history[-1].test_accuracy
    assert "labels by the prototypes" not in tested
    with pytest.raises(ValueError, match="With alpha = 0 there is no correction"):
        full_runs.vote(plain, held.files)


def test_a_finished_run_is_taken_up_and_read(trained):
    folder, (smp, _) = trained
    again = full_runs.train(smp.settings, folder, on_epoch=lambda record: pytest.fail("it was trained anew"))
    assert again.result.history == smp.result.history
    rows = finished.read_rows(folder)
    assert sorted(rows["method"]) == ["SMP", "cross-entropy"]
    row = rows[rows["method"] == "SMP"].iloc[0]
    assert row["test_accuracy"] == finished.row_of(smp)["test_accuracy"] == smp.result.history[-1].test_accuracy
    assert all("stand-in drawn by the project, not Clothing1M" in text for text in rows["made_from"])


def test_labels_known_only_where_they_are_right_give_no_share_of_right_ones(small_food101n, tmp_path):
    place = {"data_root": str(small_food101n), "test_root": str(small_food101n), "max_unreadable": 0.2}
    run = full_runs.train(Settings(dataset="food101n", **place, **QUICK), tmp_path)
    rows = [finished.row_of(run), finished.read_rows(tmp_path).iloc[0]]
    assert [row["label_accuracy"] for row in rows] == [None, None]
    told = full_runs.verified_report(run)
    kept = run.result.correction.labels == run.data.noisy_labels
    assert told["right ones kept"] == pytest.approx(float(kept[run.data.verified == 1].double().mean()))
    assert told["wrong ones changed"] == pytest.approx(float((~kept[run.data.verified == 0]).double().mean()))
    assert told["labels that agree"] == pytest.approx(1 - rows[0]["changed"])


def test_sliders_show_the_nearest_run_at_once(trained):
    explorer = RunsExplorer(finished.read_rows(trained[0]))
    assert explorer.values["alpha"] == 0.5
    explorer.values = explorer.values | {"alpha": 0.1}
    assert explorer.problem == ""
    assert explorer.summary.startswith("cross-entropy, seed 0")
    assert "One of 2 finished runs" in explorer.summary
    assert ElementTree.fromstring(explorer.picture).tag.endswith("svg")
    assert "stand-in" in explorer.picture
    with pytest.raises(ValueError, match="There is no finished run"):
        RunsExplorer(pd.DataFrame())


def test_nearest_by_hand():
    runs = [{"p": p, "m": 10, "alpha": a, "correction_start": 1} for p, a in ((1, 0.5), (8, 0.5), (8, 0.2))]
    assert nearest(runs, {"p": 3, "m": 10, "alpha": 0.5, "correction_start": 1}) == 0
    assert nearest(runs, {"p": 6, "m": 10, "alpha": 0.3, "correction_start": 1}) == 2


def test_work_by_hand():
    settings = Settings(epochs=15, correction_start=5)
    work = cost.work_of(settings, train=1000, test=10)
    assert work == cost.Work(15 * 1000, 11 * 1000 + 15 * 10)  # corrected after 5, 6, ..., 15 epochs
    assert cost.work_of(settings.replace(alpha=0), train=1000, test=10).looked_at == 150
    assert cost.work_of(settings.replace(correct_every=4), train=1000, test=10).looked_at == 4 * 1000 + 150
    assert cost.hours(cost.Work(7200, 3600), cost.Rates(2, 10)) == pytest.approx(1.1)
    assert cost.hours(cost.Work(7200, 3600), cost.Rates(2, 10), gpus=2) == pytest.approx(0.55)
    assert cost.rate_needed(cost.Work(7200, 3600), 2) == 1.5


def test_gpu_memory_counts_what_it_names():
    told = cost.gpu_memory(Settings(network="strided_cnn", width=4, batch_size=2), 3, train=1024)
    network = cost.empty_network(Settings(network="strided_cnn", width=4), 3)
    assert told["embeddings of all training images"] == "64 KiB"  # 1024 rows of 16 float32
    assert (
        told["weights, gradients, momentum"] == f"{3 * 4 * sum(p.numel() for p in network.parameters()) / 1024:.0f} KiB"
    )


def test_rates_and_reading_are_measured(small_clothing1m):
    rates = cost.measure_rates(Settings(network="strided_cnn", width=4), 3, batch=2, steps=1)
    assert 0 < rates.training < rates.looking * 5
    reading = cost.measure_reading(full_runs.both_labels(small_clothing1m).files, short_side=40)
    assert 0 < reading.bytes_prepared < reading.bytes
    assert reading.seconds > 0


def test_every_figure_and_table_says_what_it_was_made_from(trained):
    _, (smp, _) = trained
    names, labels, words = smp.data.class_names, smp.data.noisy_labels, smp.data.made_from
    figures = [
        plots_full.class_shares({"a": labels}, names, words),
        plots_full.gallery(smp.data.images, ["x"], [0], words),
        plots_full.confusion({"a": (labels, labels)}, names, words),
        plots_full.change_by_class([0.0] * 3, [1.0] * 3, names, words),
        plots_full.run_curves(finished.read_rows(trained[0]), words),
    ]
    assert {figure.get_supxlabel() for figure in figures} == {f"Made from: {words}"}
    table = plots_full.Told(pd.DataFrame({"a": [1]}), "a <stand-in>")
    assert repr(table).endswith("Made from: a <stand-in>")
    assert "a &lt;stand-in&gt;" in table._repr_html_()


def test_a_single_run_says_that_its_interval_is_of_the_test_set_alone():
    rows = pd.DataFrame({"method": ["SMP", "a", "a"], "test_accuracy": [0.5, 0.4, 0.6]})
    frame = plots_full.beside_the_paper({"paper": {"SMP": "74.45"}}, rows, 100, "x").frame
    assert frame.loc["these runs", "SMP"] == "50.0 ± 9.8 (1 seed; from 100 test images alone)"
    assert frame.loc["these runs", "a"].endswith("(2 seeds)")
    assert frame.loc["paper", "SMP"] == "74.45"


def test_paired_gains_by_hand():
    figures = [("a", 0, 0.5), ("b", 0, 0.4), ("a", 1, 0.7), ("b", 1, 0.5)]
    rows = pd.DataFrame([{"case": "x", "method": m, "seed": s, "test_accuracy": v} for m, s, v in figures])
    assert plots_full.paired_gains(rows, [("a", "b")]).loc["x", "a − b"] == "+15.0 ± 63.5"  # t = 12.706


def test_what_lesson_05_says_of_class_shares_is_what_the_rows_say():
    rows = pd.DataFrame(json.loads((ROOT / "notebooks/results/class_shares_digits.json").read_text())["rows"])
    pairs = [("balanced sampling", "cross-entropy"), ("SMP", "cross-entropy"), ("SMP", "balanced sampling")]
    gains = plots_full.paired_gains(
        rows, [*pairs, ("SMP on balanced samples", "balanced sampling"), ("class means", "SMP")]
    )
    cells = nbformat.read(ROOT / "notebooks" / "05_clothing1m.ipynb", 4).cells
    (text,) = [cell.source.replace("\n", " ") for cell in cells if "**How to read it.**" in cell.source]
    up, down = (gains.loc[f"rarest 15 %, to {way}"] for way in ("frequent", "rare"))
    for said in (*up.iloc[:3], *down.iloc[:2]):
        assert said.removeprefix("+").replace("-", "−") in " ".join(text.split())
    means = {name: [float(said.split()[0]) for said in column] for name, column in gains.items()}
    both = means["SMP on balanced samples − balanced sampling"]
    assert f"by {min(both)} to {max(both)} points" in text
    least, most = (gains["class means − SMP"].iloc[f(means["class means − SMP"])] for f in (_argmin, _argmax))
    assert f"from {least[1:]} to {most[1:]}" in text
    assert sorted(rows["seed"].unique()) == list(range(10))


def test_what_lesson_05_says_of_class_shares_on_cifar_is_what_the_rows_say():
    rows = pd.DataFrame(json.loads((ROOT / "notebooks/results/class_shares_cifar10.json").read_text())["rows"])
    pairs = [("balanced sampling", "cross-entropy"), ("SMP", "cross-entropy")]
    gains = plots_full.paired_gains(rows, [*pairs, ("SMP on balanced samples", "balanced sampling")])
    cells = nbformat.read(ROOT / "notebooks" / "05_clothing1m.ipynb", 4).cells
    (text,) = [" ".join(cell.source.split()) for cell in cells if "**How to read it.**" in cell.source]
    text = text[text.index("In the rows of CIFAR-10") :]
    for case in ("rarest 15 %, to frequent", "rarest 15 %, to rare"):
        for said in gains.loc[case].iloc[:2]:
            assert said.removeprefix("+").replace("-", "−") in text
    both = sorted(float(said.split()[0]) for said in gains.iloc[:, 2])
    assert f"only {both[0]} to {both[-1]} points over" in text
    smp = rows[(rows["method"] == "SMP") & rows["case"].str.endswith("to frequent")]
    assert f"right in {100 * smp['label_accuracy'].mean():.0f} % and" in text
    assert f"the given ones in {100 * smp['noisy_accuracy'].mean():.0f} %" in text
    assert sorted(rows["seed"].unique()) == list(range(3))


def _argmin(values):
    return values.index(min(values))


def _argmax(values):
    return values.index(max(values))


@pytest.mark.parametrize(("name", "epochs", "drop"), [("clothing1m", 15, 5), ("food101n", 30, 10)])
def test_the_full_runs_are_the_papers(name, epochs, drop):
    smp, plain = (
        yaml.safe_load((CONFIGS / f"{name}_{method}.yaml").read_text()) for method in ("smp", "cross_entropy")
    )
    paper = {"p": 8, "m": 1280, "alpha": 0.5, "network": "resnet50", "weights": "imagenet", "epochs": epochs}
    paper |= {"learning_rate": 0.002, "learning_rate_drop": drop, "batch_size": 128, "weight_decay": 0.005}
    found = smp | smp["more_settings"]
    assert {key: found[key] for key in paper} == paper
    assert {key for key in smp if smp[key] != plain[key]} == {"alpha", "output_folder", "made_by"}
    (notebook,) = (ROOT / "notebooks").glob(f"0?_{name}.ipynb")
    first = next(
        cell.source for cell in nbformat.read(notebook, 4).cells if "parameters" in cell.metadata.get("tags", [])
    )
    assert [key for key in smp if f"\n{key} = " not in first] == [], (
        "papermill would set what the notebook does not read"
    )
    settings = full_runs.full_settings(CONFIGS / f"{name}_smp.yaml", dataset="clothing1m", data_root="x")
    assert (settings.m, settings.momentum, settings.epochs) == (1280, 0.9, epochs)


def papermill(notebook: str, output: Path, **parameters: object) -> list[str]:
    words = [sys.executable, "-m", "papermill", notebook, str(output), "--cwd", ".", "--no-progress-bar"]
    for name, value in parameters.items():
        words += ["-p", name, str(value)]
    return words


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"p": 0}, "p must be at least 1, but it is 0"),
        ({"data_root": "no_such_folder"}, "data_root names no_such_folder, and there is no such folder"),
    ],
)
def test_a_notebook_that_cannot_run_says_why_and_is_kept(tmp_path, parameters, sentence):
    output = tmp_path / "out.ipynb"
    command = papermill("05_clothing1m.ipynb", output, output_folder=tmp_path / "x", images_per_class=2, **parameters)
    done = subprocess.run(command, cwd=ROOT / "notebooks", capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert sentence in output.read_text().replace('\\"', '"')


def test_a_killed_notebook_is_continued_to_the_same_results(tmp_path):
    quick = {"images_per_class": 4, "epochs": 3, "seeds": 2, "network": "strided_cnn", "width": 4}

    def command(name):
        return papermill("05_clothing1m.ipynb", tmp_path / f"{name}.ipynb", output_folder=tmp_path / name, **quick)

    unbroken = subprocess.run(command("whole"), cwd=ROOT / "notebooks", capture_output=True, text=True, timeout=600)
    assert unbroken.returncode == 0, unbroken.stderr
    with subprocess.Popen(command("broken"), cwd=ROOT / "notebooks", stderr=subprocess.DEVNULL) as job:
        while not list((tmp_path / "broken").glob("runs/*/checkpoints/*.pt")):
            assert job.poll() is None
            time.sleep(0.02)
        job.send_signal(signal.SIGKILL)
    time.sleep(5)  # its kernel notices and ends
    assert not (tmp_path / "broken" / "results.json").exists()
    again = subprocess.run(command("broken"), cwd=ROOT / "notebooks", capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    whole, broken = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "broken"))
    for name in ("seconds", "peak_memory_mb"):
        for row in whole["rows"] + broken["rows"]:
            del row[name]
    assert broken["rows"] == whole["rows"]
    assert broken["judged"] == whole["judged"]
