"""The explorers without a browser: every callback, at the ends of every slider; pictures that are well-formed."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
import torch
from dsl_lessons.explorers import drawing
from dsl_lessons.explorers.prototypes import (
    SLIDERS,
    PrototypeExplorer,
    explore_prototypes,
    prototype_picture,
    prototype_summary,
    stretch,
    toy_labels,
)
from dsl_lessons.explorers.shell import Slider, batch_command
from dsl_lessons.explorers.table import TableExplorer, entries, nearest
from dsl_lessons.explorers.training import TrainingExplorer, training_sliders

from dsl_teach import Settings, load_dataset
from dsl_teach.data.toy import toy_clusters, toy_moons
from dsl_teach.prototypes import correct_labels, select_prototypes
from dsl_teach.seeds import stream
from tests.jupyter_page import write_notebook

SMALL = Settings(network="mlp", width=8, m=40, epochs=6, correction_start=2, learning_rate_drop=0)


def corners(sliders):
    """Every combination of the two ends of every slider."""
    ends = [[(slider.name, slider.least), (slider.name, slider.most)] for slider in sliders]
    return [dict(combination) for combination in itertools.product(*ends)]


@pytest.fixture(scope="module")
def explorer():
    return PrototypeExplorer(toy_clusters(seed=0, modes=4), Settings(m=200))


@pytest.fixture
def training():
    made = TrainingExplorer(toy_clusters(seed=0, samples_per_class=40), SMALL)
    yield made
    made.stop()
    made.wait(60)


@pytest.mark.parametrize("values", corners(SLIDERS), ids=lambda values: " ".join(f"{v:g}" for v in values.values()))
def test_prototype_explorer_at_the_ends_of_every_slider(explorer, values):
    explorer.values = {name: int(v) if float(v).is_integer() else v for name, v in values.items()}  # as JSON gives them
    assert explorer.problem == ""
    assert ElementTree.fromstring(explorer.picture).tag.endswith("svg")
    for name, value in values.items():
        assert f"-p {name} {value:g}" in explorer.command


@pytest.mark.parametrize("name", [slider.name for slider in SLIDERS])
def test_each_slider_changes_the_picture(name):
    explorer = PrototypeExplorer(toy_clusters(seed=0, modes=4), Settings(m=150))
    before = explorer.picture
    slider = next(slider for slider in SLIDERS if slider.name == name)
    explorer.values = explorer.values | {name: slider.least}
    assert explorer.picture != before


def test_the_explorer_shows_what_the_library_chooses():
    data, s = toy_clusters(seed=1, modes=4), Settings(p=5, m=60, seed=1)
    view = explore_prototypes(data, s)
    labels = toy_labels(data, s.noise_rate, seed=s.seed)
    found = select_prototypes(
        data.images, labels, num_classes=3, p=5, m=60, generator=stream(s.seed, "sample"), quantile=0.6, eta_max=0.95
    )
    assert torch.equal(view.prototypes.index, found.index)
    assert torch.equal(view.corrected_labels, correct_labels(data.images, found, labels))
    for c, graph in enumerate(view.graphs):
        place = [graph.index.tolist().index(i) for i in found.index[c].tolist()]
        assert torch.equal(graph.rho[place], found.rho[c])
        assert torch.equal(graph.eta[place], found.eta[c])


def test_the_picture_holds_every_point_and_every_prototype():
    view = explore_prototypes(toy_moons(seed=0, samples_per_class=50), Settings(p=3, m=20))
    picture = prototype_picture(view)
    assert picture.count("h0") == 2 * 50 + 2 * 20  # all points left, those looked at right
    assert picture.count("Z") == 2 * 2 * 3  # each prototype a star in both panels
    assert ElementTree.fromstring(picture)[0].text == prototype_summary(view)


def test_text_in_a_picture_is_escaped():
    text = drawing.words(0, 0, "<script>a & b</script>", fill='"red"')
    assert ElementTree.fromstring(text).text == "<script>a & b</script>"
    assert "<script" not in drawing.picture(9, 9, [], description="<script>")


def test_a_longer_eta_lies_further_right():
    places = stretch([-1.0, 0.0, 0.5, 0.9, 0.95, 0.99, 1.0, 1.0000001])
    assert places[0] == 0
    assert places[-1] == places[-2] == 1
    assert (places[1:-1] > places[:-2]).all()


def test_points_are_needed():
    with pytest.raises(ValueError, match="no points in the plane"):
        PrototypeExplorer(load_dataset(Settings()), Settings())


def test_an_error_in_a_callback_is_shown_and_raised(explorer):
    before = dict(explorer.values)
    with pytest.raises(ValueError, match="quantile must be"):
        explorer.values = before | {"quantile": 7}
    assert "quantile must be" in explorer.problem
    explorer.values = before
    assert explorer.problem == ""


def test_an_explorer_saves_its_picture_and_no_address(explorer):
    bundle, _ = explorer._repr_mimebundle_()
    assert bundle["image/svg+xml"] == explorer.picture
    assert "0x" not in bundle["text/plain"]


@pytest.mark.parametrize("sliders", [SLIDERS, training_sliders(Settings())])
def test_sliders_carry_names_of_settings_and_labels(sliders):
    for slider in sliders:
        assert hasattr(Settings(), slider.name)
        assert slider.label.startswith(f"{slider.name}: ")
        assert slider.least < slider.most
    assert Slider("p", 1, 2, 1).label == "p: prototypes a class"


@pytest.mark.parametrize(
    "values", corners(training_sliders(SMALL)), ids=lambda v: " ".join(f"{x:g}" for x in v.values())
)
def test_training_explorer_at_the_ends_of_every_slider(training, values):
    training.values = values
    training._press(training, {"button": "train"}, [])
    training.wait(60)
    assert training.summary.startswith("Finished: 6 of 6 epochs")
    assert ElementTree.fromstring(training.picture).tag.endswith("svg")
    assert training.enabled == ["train"]


def test_stop_ends_the_run_with_its_epoch():
    training = TrainingExplorer(toy_clusters(seed=0), SMALL.replace(epochs=100_000))
    drawn = threading.Event()
    training.observe(lambda change: len(training.view.history) >= 3 and drawn.set(), "summary")
    training.train()
    assert drawn.wait(60)
    assert training.running
    assert training.enabled == ["stop"]
    training.train()  # a second press changes nothing
    training._press(training, {"button": "stop"}, [])
    training.wait(60)
    assert not training.running
    assert 3 <= len(training.view.history) < 100_000
    assert training.summary.startswith("Stopped")
    before = len(training.view.history)
    training.values = training.values | {"alpha": 0.25}
    assert len(training.view.history) == before
    assert "<polyline points=" in training.picture


def test_a_second_run_keeps_the_first_in_grey(training):
    training.train()
    training.wait(60)
    first = training.view.history
    training.values = training.values | {"alpha": 0.0}
    training.train()
    training.wait(60)
    assert training.view.before == first
    assert "the run before" in training.picture
    assert "alpha = 0" in training.picture


def test_an_error_in_training_reaches_the_reader():
    training = TrainingExplorer(toy_clusters(seed=0), SMALL.replace(learning_rate=1e30))
    training.train()
    with pytest.raises(FloatingPointError, match="diverged"):
        training.wait(60)
    assert training.problem == str(training.error)
    assert training.summary.startswith("Ended by an error")
    assert training.enabled == ["train"]


def test_the_batch_command_is_quoted():
    command = batch_command("my lesson.ipynb", {"p": 8, "noise_rate": 0.1 + 0.2, "name": "a'; rm -rf b"})
    make, run = command.split(" && ")
    assert shlex.split(make) == ["mkdir", "-p", "../runs"]
    assert shlex.split(run)[:3] == ["papermill", "my lesson.ipynb", "../runs/my lesson.ipynb"]
    assert shlex.split(run)[3:] == ["-p", "p", "8", "-p", "noise_rate", "0.3", "-p", "name", "a'; rm -rf b"]


def test_the_batch_command_runs(tmp_path, explorer):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / "02_prototypes.ipynb", "print('found', p, m, quantile, eta_max, noise_rate)")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        explorer.command, shell=True, cwd=folder, env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    values = explorer.values
    wanted = f"found {values['p']} {values['m']} {values['quantile']}"
    assert wanted in (tmp_path / "runs" / "02_prototypes.ipynb").read_text()


@pytest.fixture
def table():
    return pd.DataFrame(
        {"p": p, "m": m, "alpha": alpha, "correction_start": start, "seed": seed,
         "test_accuracy": 0.6 + alpha / 10 + p / 1000, "test_curve": [0.1, 0.6 + alpha / 10],
         "label_curve": [None, 0.5 + seed / 10]}
        for p in (1, 8) for m in (40, 1280) for alpha in (0.25, 0.5) for start in (0, 5) for seed in (0, 1)
    )  # fmt: skip


def table_explorer(table, settings):
    data = toy_clusters(seed=0, samples_per_class=40)
    return TableExplorer(table, data, settings, made_by="a.yaml", notebook="04.ipynb")


def test_the_nearest_entry_is_itself_and_else_the_one_next_to_it(table):
    found = entries(table)
    assert len(found) == 16
    for entry in found:
        assert nearest(found, entry.knobs) is entry
    knobs = {"p": 6, "m": 100, "alpha": 0.4, "correction_start": 1}
    assert nearest(found, knobs).knobs == {"p": 8, "m": 40, "alpha": 0.5, "correction_start": 0}
    assert found[0].label_curve == (None, pytest.approx(0.55))
    with pytest.raises(ValueError, match=r"digits_knobs\.yaml"):
        entries(pd.DataFrame())


def test_the_table_answers_at_once_and_training_runs_for_real_beside_it(table):
    explorer = table_explorer(table, SMALL.replace(m=1280, correction_start=5))
    assert explorer.summary.startswith("Computed beforehand for p = 8, m = 1280, alpha = 0.5, correction_start = 5:")
    before, lines = explorer.picture, explorer.picture.count("<polyline")
    explorer.values = explorer.values | {"alpha": 0.3}
    assert "alpha = 0.25, correction_start = 5, the nearest in the table" in explorer.summary
    assert explorer.picture != before
    assert "-p alpha 0.3" in explorer.command
    assert not explorer.running
    explorer.press("train")
    explorer.wait(60)
    assert "Your run: Finished: 6 of 6 epochs" in explorer.summary
    assert explorer.picture.count("<polyline") > lines
    assert ElementTree.fromstring(explorer.picture)[0].text == explorer.summary
