"""The helpers and figures of the lessons: noise, votes and tables by hand; every figure can be drawn."""

from __future__ import annotations

import io

import pytest
import torch
from dsl_lessons import lessons, plots_lessons

from dsl_teach import Settings, interval, load_dataset
from dsl_teach.data.toy import toy_clusters
from dsl_teach.noise import noise_report
from dsl_teach.training.runs import run

QUICK = Settings(dataset="toy_clusters", network="mlp", width=8, epochs=3, correction_start=1, p=2)


@pytest.fixture(scope="module")
def toys():
    return lessons.noisy_clusters(seed=0, noise_rate=0.3, samples_per_class=40)


@pytest.fixture(scope="module")
def fitted(toys):
    return lessons.fit_to(toys, QUICK)


def test_clusters_are_the_same_for_a_seed_and_as_noisy_as_asked(toys):
    again = lessons.noisy_clusters(seed=0, noise_rate=0.3, samples_per_class=40)
    assert torch.equal(again.noisy_labels, toys.noisy_labels)
    assert int((toys.noisy_labels != toys.clean_labels).sum()) == 36


def test_dealing_out_anew_keeps_the_matrix_and_moves_the_labels(toys):
    dealt = lessons.same_matrix_by_chance(toys.noisy_labels, toys.clean_labels, seed=0)
    before, after = (noise_report(toys.clean_labels, labels, 3).counts for labels in (toys.noisy_labels, dealt))
    assert torch.equal(before, after)
    assert not torch.equal(dealt, toys.noisy_labels)
    assert torch.equal(dealt, lessons.same_matrix_by_chance(toys.noisy_labels, toys.clean_labels, seed=0))


def test_pair_flips_go_to_the_next_class():
    flipped = lessons.pair_flipped(QUICK, 0.25)
    wrong = flipped.noisy_labels != flipped.clean_labels
    assert int(wrong.sum()) == 150
    assert torch.equal(flipped.noisy_labels[wrong], (flipped.clean_labels[wrong] + 1) % 3)
    assert flipped.made_from.endswith("25% pair flips")
    assert "input-dependent" not in flipped.made_from


def test_the_neighbours_vote_by_hand():
    data = toy_clusters(seed=0, num_classes=2, modes=1, samples_per_class=2, overlap=0.1)
    labels = data.noisy_labels.clone()  # classes take turns: samples 0 and 2, samples 1 and 3
    assert lessons.neighbour_vote(data, k=1).tolist() == labels[[2, 3, 0, 1]].tolist()


def test_fit_to_equals_run():
    ours, theirs = lessons.fit_to(load_dataset(QUICK), QUICK), run(QUICK)
    assert [r.test_accuracy for r in ours.result.history] == [r.test_accuracy for r in theirs.result.history]
    assert torch.equal(ours.result.correction.labels, theirs.result.correction.labels)


def test_rows_and_intervals(toys):
    many = [(toys, QUICK.replace(seed=seed, alpha=alpha)) for alpha in (0.0, 0.5) for seed in (0, 1)]
    seen = []
    runs = lessons.fit_many(many, on_run=seen.append)
    assert len(seen) == 4
    rows = lessons.run_rows(runs)
    table = lessons.with_intervals(rows, "alpha")
    expected = interval([100 * one.result.history[-1].test_accuracy for one in runs[2:]])
    assert table.loc[0.5, "test accuracy %"] == str(expected)
    assert table.loc[0.0, "corrected labels right %"] == ""
    assert rows["label_curve"][2][0] is None
    first = lessons.first_correction(rows[rows["alpha"] > 0])
    assert first[0] == pytest.approx(runs[2].result.history[1].label_accuracy, abs=1e-4)


def test_the_share_of_right_prototypes(fitted):
    index = fitted.result.correction.prototypes.index.flatten().tolist()
    right = [bool(fitted.data.noisy_labels[i] == fitted.data.clean_labels[i]) for i in index]
    assert lessons.prototypes_right(fitted) == pytest.approx(sum(right) / len(right))
    with pytest.raises(ValueError, match="correction"):
        lessons.prototypes_right(lessons.fit_to(fitted.data, QUICK.replace(alpha=0.0)))


def test_every_figure_can_be_drawn(toys, fitted):
    points, clean, noisy = lessons.points_of(toys), toys.clean_labels, toys.noisy_labels
    rows = lessons.run_rows([fitted, lessons.fit_to(toys, QUICK.replace(seed=1))])
    figures = [
        plots_lessons.labelled_points(points, {"a": clean, "b": noisy}, clean),
        plots_lessons.changed_points(points, noisy, fitted.result.correction.labels, clean),
        plots_lessons.memorising(fitted.result.history, 0.3, 3),
        plots_lessons.decision_maps({"one": fitted.network}, points, noisy, clean),
        plots_lessons.noise_by_margin(torch.arange(120), {"a": noisy != clean, "b": clean == 0}),
        plots_lessons.matrices({"T": torch.eye(3)}),
        plots_lessons.mended_and_spoilt(fitted),
        plots_lessons.mean_curves(rows, "alpha", "test_curve", ylabel="%"),
        plots_lessons.interval_points(rows, "alpha", reference=rows),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="png")
