"""The explorers without a browser: every callback, at the ends of every slider; pictures that are well-formed."""

from __future__ import annotations

import itertools
import shlex
import threading
import xml.etree.ElementTree as ElementTree

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
    toy_labels,
)
from dsl_lessons.explorers.shell import batch_command
from dsl_lessons.explorers.table import TableExplorer, entries, nearest
from dsl_lessons.explorers.training import TrainingExplorer, training_sliders

from dsl_teach import Settings, load_dataset
from dsl_teach.data.toy import toy_clusters, toy_moons
from dsl_teach.prototypes import correct_labels, select_prototypes
from dsl_teach.seeds import stream

SMALL = Settings(network="mlp", width=8, m=40, epochs=6, correction_start=2, learning_rate_drop=0)


def corners(sliders):
    """Every combination of the two ends of every slider, as JSON gives them."""
    ends = [[(slider.name, slider.least), (slider.name, slider.most)] for slider in sliders]
    for combination in itertools.product(*ends):
        yield {name: int(value) if float(value).is_integer() else value for name, value in combination}


@pytest.fixture(scope="module")
def explorer():
    return PrototypeExplorer(toy_clusters(seed=0, modes=4), Settings(m=200))


@pytest.fixture
def training():
    made = TrainingExplorer(toy_clusters(seed=0, samples_per_class=40), SMALL)
    yield made
    made.stop()
    made.wait(60)


def test_prototype_explorer_at_the_ends_of_every_slider(explorer):
    pictures: set[str] = set()
    for values in corners(SLIDERS):
        explorer.values = values
        assert explorer.problem == ""
        assert ElementTree.fromstring(explorer.picture).tag.endswith("svg")
        assert all(f"-p {name} {value:g}" in explorer.command for name, value in values.items())
        assert len(pictures | {explorer.picture}) == len(pictures) + 1
        pictures.add(explorer.picture)
    bundle, _ = explorer._repr_mimebundle_()
    assert bundle["image/svg+xml"] == explorer.picture
    assert "0x" not in bundle["text/plain"]  # no address


def test_the_explorer_shows_what_the_library_chooses():
    data, s = toy_clusters(seed=1, modes=4), Settings(p=5, m=60, seed=1)
    view = explore_prototypes(data, s)
    labels = toy_labels(data, s.noise_rate, seed=s.seed)
    found = select_prototypes(data.images, labels, num_classes=3, p=5, m=60, generator=stream(s.seed, "sample"))
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


def test_an_error_in_a_callback_is_shown_and_raised(explorer):
    before = dict(explorer.values)
    with pytest.raises(ValueError, match="quantile must be"):
        explorer.values = before | {"quantile": 7}
    assert "quantile must be" in explorer.problem
    explorer.values = before
    assert explorer.problem == ""
    with pytest.raises(ValueError, match="no points in the plane"):
        PrototypeExplorer(load_dataset(Settings()), Settings())


def test_training_explorer_at_the_ends_of_every_slider(training):
    for values in corners(training_sliders(SMALL)):
        training.values = values
        training._press(training, {"button": "train"}, [])
        training.wait(60)
        assert training.summary.startswith("Finished: 6 of 6 epochs")
        assert ElementTree.fromstring(training.picture).tag.endswith("svg")
        assert training.enabled == ["train"]
    first = training.view.history
    training.train()
    training.wait(60)
    assert training.view.before == first
    assert "the run before" in training.picture


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
    assert 3 <= len(training.view.history) < 100_000
    assert training.summary.startswith("Stopped")


def test_an_error_in_training_reaches_the_reader():
    training = TrainingExplorer(toy_clusters(seed=0), SMALL.replace(learning_rate=1e30))
    training.train()
    with pytest.raises(FloatingPointError, match="diverged"):
        training.wait(60)
    assert training.problem == str(training.error)
    assert training.summary.startswith("Ended by an error")
    assert training.enabled == ["train"]


def test_text_in_a_picture_is_escaped_and_in_a_command_quoted():
    text = drawing.words(0, 0, "<script>a & b</script>", fill='"red"')
    assert ElementTree.fromstring(text).text == "<script>a & b</script>"
    assert "<script" not in drawing.picture(9, 9, [], description="<script>")
    command = batch_command("my lesson.ipynb", {"p": 8, "noise_rate": 0.1 + 0.2, "name": "a'; rm -rf b"})
    make, run = command.split(" && ")
    assert shlex.split(make) == ["mkdir", "-p", "../runs"]
    assert shlex.split(run)[:3] == ["papermill", "my lesson.ipynb", "../runs/my lesson.ipynb"]
    assert shlex.split(run)[3:] == ["-p", "p", "8", "-p", "noise_rate", "0.3", "-p", "name", "a'; rm -rf b"]


def test_the_table_answers_at_once_and_training_runs_for_real_beside_it():
    rows = pd.DataFrame(
        {"p": p, "m": 40, "alpha": alpha, "correction_start": start, "seed": seed,
         "test_accuracy": 0.6 + alpha / 10 + p / 1000, "test_curve": [0.1, 0.6], "label_curve": [None, 0.5]}
        for p in (1, 8) for alpha in (0.25, 0.5) for start in (0, 5) for seed in (0, 1)
    )  # fmt: skip
    found = entries(rows)
    assert all(nearest(found, entry.knobs) is entry for entry in found)
    closest = nearest(found, {"p": 6, "m": 100, "alpha": 0.4, "correction_start": 1})
    assert closest.knobs == {"p": 8, "m": 40, "alpha": 0.5, "correction_start": 0}
    data = toy_clusters(seed=0, samples_per_class=40)
    explorer = TableExplorer(rows, data, SMALL.replace(correction_start=5), made_by="a.yaml", notebook="04.ipynb")
    assert explorer.summary.startswith("Computed beforehand for p = 8, m = 40, alpha = 0.5, correction_start = 5:")
    explorer.values = explorer.values | {"alpha": 0.3}
    assert "alpha = 0.25, correction_start = 5, the nearest in the table" in explorer.summary
    explorer.press("train")
    explorer.wait(60)
    assert "Your run: Finished: 6 of 6 epochs" in explorer.summary
    assert ElementTree.fromstring(explorer.picture)[0].text == explorer.summary
    with pytest.raises(ValueError, match=r"digits_knobs\.yaml"):
        entries(pd.DataFrame())
