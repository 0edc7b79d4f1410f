"""Helpers and figures of lessons 00 to 05: noise, votes, shares and labels by hand; every figure can be drawn."""

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from dsl_lessons import comparison, explain, figures, photographs, self_learning, tables, toy
from dsl_lessons.methods import methods
from dsl_lessons.movie import movie
from dsl_lessons.parallel import run_many

from dsl_teach import NoisyDataset, Settings, load_dataset, run
from dsl_teach.data.toy import toy_clusters
from dsl_teach.noise import noise_report
from dsl_teach.prototypes import cosine_similarity
from tools.movie import FIGURE, saved_movie

QUICK = Settings(dataset="toy_clusters", network="mlp", width=8, epochs=3, correction_start=1, p=2)
DIGITS = Settings(width=4, batch_size=256, epochs=2, correction_start=1, learning_rate_drop=0)


@pytest.fixture(scope="module")
def toys():
    return toy.noisy_clusters(seed=0, noise_rate=0.3, samples_per_class=40)


@pytest.fixture(scope="module")
def fitted(toys):
    return run(QUICK, toys)


@pytest.fixture(scope="module")
def digits_run():
    return run(DIGITS)


def test_dealing_out_anew_keeps_the_matrix_and_moves_the_labels(toys):
    assert int((toys.noisy_labels != toys.clean_labels).sum()) == 36
    dealt = toy.same_matrix_by_chance(toys.noisy_labels, toys.clean_labels, seed=0)
    before, after = (noise_report(toys.clean_labels, labels, 3).counts for labels in (toys.noisy_labels, dealt))
    assert torch.equal(before, after)
    assert not torch.equal(dealt, toys.noisy_labels)
    assert torch.equal(dealt, toy.same_matrix_by_chance(toys.noisy_labels, toys.clean_labels, seed=0))


def test_the_neighbours_vote_by_hand():
    data = toy_clusters(seed=0, num_classes=2, modes=1, samples_per_class=2, overlap=0.1)  # classes take turns
    assert toy.neighbour_vote(data, k=1).tolist() == data.noisy_labels[[2, 3, 0, 1]].tolist()


def test_pair_flips_go_to_the_next_class():
    flipped = self_learning.pair_flipped(QUICK, 0.25)
    wrong = flipped.noisy_labels != flipped.clean_labels
    assert int(wrong.sum()) == 150
    assert torch.equal(flipped.noisy_labels[wrong], (flipped.clean_labels[wrong] + 1) % 3)
    assert "input-dependent" not in flipped.made_from


@pytest.mark.slow
def test_the_number_of_workers_changes_no_figure():
    many, told = [DIGITS.replace(seed=seed) for seed in (0, 1)], []
    alone, beside = run_many(many, workers=1), run_many(many, workers=2, on_run=told.append)
    assert [id(done) for done in told] == [id(done) for done in beside]
    for one, other in zip(alone, beside, strict=True):
        assert one.settings == other.settings
        assert one.result.history[-1].loss == other.result.history[-1].loss
        assert torch.equal(one.result.correction.labels, other.result.correction.labels)


def test_rows_of_runs_on_data_of_ones_own(toys):
    runs = run_many([(QUICK.replace(seed=seed, alpha=alpha), toys) for alpha in (0.0, 0.5) for seed in (0, 1)])
    rows = tables.run_rows(runs, [{"method": "x"}] * 4)
    assert rows["test_accuracy"].tolist() == [one.result.history[-1].test_accuracy for one in runs]
    assert rows[["alpha", "seed"]].values.tolist() == [[0.0, 0], [0.0, 1], [0.5, 0], [0.5, 1]]
    assert set(rows["method"]) == {"x"}
    assert torch.equal(runs[2].result.correction.labels, run(QUICK, toys).result.correction.labels)


def test_the_share_of_right_prototypes(fitted):
    index = fitted.result.correction.prototypes.index.flatten().tolist()
    right = [bool(fitted.data.noisy_labels[i] == fitted.data.clean_labels[i]) for i in index]
    assert self_learning.prototypes_right(fitted) == pytest.approx(sum(right) / len(right))
    with pytest.raises(ValueError, match="correction"):
        self_learning.prototypes_right(run(QUICK.replace(alpha=0.0), fitted.data))


def test_galleries_show_what_their_titles_say(digits_run):
    data, labels = digits_run.data, digits_run.result.correction.labels
    figure = self_learning.label_gallery(data, labels, count=5)
    for part, name in zip(figure.subfigs, ("Fixed", "Broken"), strict=True):
        assert part.get_suptitle().startswith(name)
        assert all("→" in axes.get_title() for axes in part.axes)
    wrong = self_learning.drawn(data.noisy_labels != data.clean_labels, 10, seed=0)
    assert len(wrong) == 10
    assert (data.noisy_labels[wrong] != data.clean_labels[wrong]).all()


def test_pixels_are_the_same_in_memory_and_on_disk(small_clothing1m, digits_run):
    data = load_dataset(Settings(dataset="clothing1m", data_root=str(small_clothing1m), trust=True))
    found = figures.pixels(data.images, [3, 0])
    assert [image.shape for image in found] == [(3, 112, 112)] * 2
    assert torch.equal(found[1], figures.pixels(data.images, [0])[0])
    assert torch.equal(figures.pixels(digits_run.data.images, [7])[0], digits_run.data.images[7])


def test_without_cifar_the_lesson_goes_on_with_digits_and_says_how_to_get_it(tmp_path):
    cifar = DIGITS.replace(dataset="cifar10", data_root=str(tmp_path), network="strided_cnn", subset=100)
    opened = comparison.open_cifar_or_digits(cifar)
    assert opened.data.name == "digits"
    assert (opened.settings.dataset, opened.settings.network, opened.settings.width) == ("digits", "small_cnn", 4)
    assert "data_scripts/download.py cifar10" in opened.said
    with pytest.raises(FileNotFoundError):
        comparison.open_cifar_or_digits(cifar.replace(labels_file="no_such_labels.npz"))


def test_a_plan_gives_every_method_the_same_data_and_only_its_own_changes():
    plans = comparison.plan(DIGITS, ["cross-entropy", "GCE", "SMP"], 2)
    assert plans[0][2] is plans[2][2] is not plans[3][2]
    assert all(settings == DIGITS.replace(seed=settings.seed, **methods()[name]) for name, settings, _ in plans)


def test_differences_are_coloured_by_their_verdict():
    lines = [("SMP", 0, 0.7), ("SMP", 1, 0.8), ("a", 0, 0.5), ("a", 1, 0.6), ("b", 0, 0.3), ("b", 1, 0.9)]
    rows = pd.DataFrame(lines, columns=["method", "seed", "test_accuracy"])
    found = comparison.differences_of(rows, baseline="a", methods=["SMP", "b"])
    axes = comparison.differences(found, "title", baseline="a").axes[0]
    assert [line.lines[0].get_color() for line in axes.containers] == [figures.RIGHT, figures.NEUTRAL]


def test_gains_stand_over_the_share_that_cross_entropy_memorised():
    lines = [("SMP", 0, 0.6, 0.1), ("SMP", 1, 0.7, 0.1), ("cross-entropy", 0, 0.5, 0.3), ("cross-entropy", 1, 0.5, 0.5)]
    rows = pd.DataFrame(lines, columns=["method", "seed", "test_accuracy", "memorised"])
    both = pd.concat([rows.assign(case=f"idn_40, {view}, 30 epochs") for view in ("plain", "augmented")])
    axes = comparison.gain_against_memorised(both, {"elsewhere": -4.0}).axes[0]
    marks = [container.lines[0] for container in axes.containers]
    assert [mark.get_xydata().round(6).tolist() for mark in marks] == [[[40, 15]]] * 2
    assert [mark.get_marker() for mark in marks] == ["o", "^"]
    assert "elsewhere" in [text.get_text() for text in axes.texts]


def test_every_figure_can_be_drawn(toys, fitted):
    points, clean, noisy = toy.points_of(toys), toys.clean_labels, toys.noisy_labels
    rows = tables.run_rows([fitted, run(QUICK.replace(seed=1), toys)], [{"case": "$x$", "method": "SMP"}] * 2)
    sight, k = explain.sight_of(fitted), toys.class_names
    drawn = [
        toy.five_vectors([0, 90], "AB"),
        toy.labelled_points(points, {"a": clean, "b": noisy}, clean),
        toy.changed_points(points, noisy, fitted.result.correction.labels, clean),
        toy.decision_maps({"one": fitted.network}, points, noisy, clean),
        self_learning.memorising(fitted.result.history, 0.3, 3),
        self_learning.fixed_and_broken(fitted),
        comparison.labels_before_and_after(rows),
        comparison.labels_before_and_after(pd.concat([rows, rows.assign(method="SMP, head")])),
        figures.curves(rows, mark={"here": [1.5, 2.5]}, sharey=True),
        figures.curves(rows.drop(columns="case"), by="alpha", column="label_curve", label="alpha {}"),
        figures.intervals(rows, "alpha", {"test_accuracy": "a", "label_accuracy": "b"}, reference=rows),
        figures.intervals(rows, "case", {"test_accuracy": "a"}, by="method"),
        figures.matrices({"T": torch.eye(3), "U": torch.full((3, 3), 1 / 3)}, k),
        figures.bars({"a": [0.1, 0.2, 0.3], "b": [0.2, 0.1, 0.0]}, k, ylabel="%"),
        figures.prototype_map(sight.embeddings, noisy, sight.prototypes, k, clean),
    ]
    for figure in drawn:
        figures.stamped(figure, "a synthetic data set").savefig(io.BytesIO(), format="png", dpi=40)
        assert figure.get_supxlabel() == "Made from: a synthetic data set"


@pytest.fixture(scope="module")
def shoes():
    images = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given, true = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1])
    return NoisyDataset("drawn", images[:4], given, ("hat", "shoe"), images[4:], torch.tensor([0, 1]), true)


def test_the_nearest_other_sample_is_no_sample_itself():
    embeddings = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    for i, found in enumerate(photographs.nearest_others(embeddings).tolist()):
        cosines = cosine_similarity(embeddings)[i].tolist()
        assert max((cosine, j) for j, cosine in enumerate(cosines) if j != i)[1] == found


def test_the_gallery_names_true_classes(shoes):
    figure = photographs.nearest_gallery(shoes, [0, 2], {"nearest": torch.tensor([1, 2, 3, 0])})
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert [[axes.get_title() for axes in part.axes] for part in figure.subfigs] == [["hat", "hat"], ["shoe", "shoe"]]


def test_what_scores_would_do_to_labels(shoes):
    scores = torch.nn.functional.one_hot(torch.tensor([0, 0, 0, 0]), 2)
    told = photographs.labels_by({"all hats": scores}, shoes).loc["all hats"]
    assert told.tolist() == ["50.0", "25.0", "25.0", "50.0"]


def test_the_picture_of_an_own_vote_says_what_the_formula_says():
    x, y, i = np.array([-3.0, -1, 0, 2, 4]), np.array([0.0, 0, 1, 1, 0]), 4
    rows = np.stack([x, np.ones(5)], axis=1)
    weights = rows[i] @ np.linalg.inv(rows.T @ rows) @ rows.T
    with_it = weights @ y
    without = (with_it - weights[i] * y[i]) / (1 - weights[i])
    (axes,) = photographs.own_vote(x, y, i).axes
    said = [float(re.search(r"says (-?[\d.]+)", text.get_text()).group(1)) for text in axes.get_legend().get_texts()]
    assert said == pytest.approx([with_it, without], abs=0.005)


def test_every_point_and_prototype_is_drawn_and_each_correction_has_its_words():
    data = toy.noisy_clusters(seed=0, noise_rate=0.4, samples_per_class=20)
    shown = movie(data, Settings(network="mlp", width=8, p=2, epochs=4, correction_start=2, learning_rate_drop=0))
    tree = ElementTree.fromstring(shown.svg)
    assert len(tree.findall("{*}circle")) == 60
    assert len(tree.findall("{*}path")) == 3 * 2
    words = [text.text for text in tree.findall("{*}text")]
    assert words[0] == "given labels: 60% right"
    assert [re.findall(r"epoch (\d)", text) for text in words[1:]] == [["2"], ["3"], ["4"]]


def test_the_readme_shows_the_picture_of_the_lesson():
    assert FIGURE.read_text(encoding="utf-8") == saved_movie()
    assert FIGURE.stat().st_size < 500_000
