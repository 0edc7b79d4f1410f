"""The suspects of lesson 07: without one the loop is fit; each does what its story says; rows survive a broken run."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dsl_lessons import lessons
from dsl_lessons.suspects import plots, runs, tables, wrong
from dsl_lessons.suspects.catalog import GROUPS, MANY_CLASSES, SUSPECTS, named
from dsl_lessons.suspects.data import digits_by_style, half_of_the_test_trained_on, shift
from dsl_lessons.suspects.switchboard import switchboard
from dsl_lessons.suspects.trials import new_network, try_suspect, usual_parts

from dsl_teach import Settings, load_dataset, paired_difference
from dsl_teach.metrics import chance_changed
from dsl_teach.prototypes import select_prototypes
from dsl_teach.seeds import stream
from dsl_teach.training.loop import correct
from tests.tiny_cifar import write_cifar100

ROOT = Path(__file__).parent.parent
QUICK = Settings(epochs=3, correction_start=1, width=4, batch_size=128, learning_rate_drop=2)


@pytest.fixture(scope="module")
def data():
    return load_dataset(QUICK)


@pytest.fixture(scope="module")
def right(data):
    return try_suspect(SUSPECTS["SMP"], data, QUICK)


@pytest.fixture(scope="module")
def rows(data):
    trials = [
        try_suspect(SUSPECTS[name], data, QUICK.replace(seed=seed))
        for seed in (0, 1)
        for name in ("cross-entropy", "SMP", "kept by place", "tests trained on")
    ]
    return pd.DataFrame([runs.row_of(trial) for trial in trials])


def curve(trial):
    return [record.test_accuracy for record in trial.run.result.history]


def test_without_a_suspect_the_loop_is_fit(data, right):
    theirs = lessons.fit_to(data, QUICK).result
    timeless = {"seconds_training": 0, "seconds_correction": 0}
    for ours, other in zip(right.run.result.history, theirs.history, strict=True):
        assert dataclasses.replace(ours, **timeless) == dataclasses.replace(other, **timeless)
    assert torch.equal(right.run.result.correction.labels, theirs.correction.labels)


def test_pieces_that_are_not_exchanged_are_the_library_s(data):
    network, train = new_network(data, QUICK), usual_parts(data, QUICK).train
    expected = correct(network, train, QUICK, 0, clean_labels=data.clean_labels)
    phase = wrong.correcting(select=wrong.selecting())
    found = phase(network, train, QUICK.replace(), 0, clean_labels=data.clean_labels)
    assert torch.equal(found.labels, expected.labels)
    assert found.report == expected.report
    for name in ("index", "embeddings", "passed", "filled"):
        assert torch.equal(getattr(found.prototypes, name), getattr(expected.prototypes, name))


@pytest.mark.parametrize("name", [name for name in SUSPECTS if name != "SMP"])
def test_every_suspect_changes_the_run(name, data, right):
    suspect = SUSPECTS[name]
    trial = try_suspect(suspect, data, QUICK)
    if suspect.changes == {"correction_start": 1}:
        assert curve(trial) == curve(right)  # QUICK starts there
    else:
        assert (curve(trial), trial.run.result.correction) != (curve(right), right.run.result.correction)


def test_names_groups_and_comparisons():
    assert sum(map(len, GROUPS.values())) == len(SUSPECTS)
    assert {suspect.against for suspect in SUSPECTS.values()} <= set(SUSPECTS)
    assert set(MANY_CLASSES) <= set(SUSPECTS)
    assert named(["all"]) == list(SUSPECTS.values())
    with pytest.raises(ValueError, match="no suspect 'p = 3'"):
        named(["p = 3"])


@pytest.mark.parametrize("suspect", [s for s in SUSPECTS.values() if s.caught_by], ids=lambda s: s.name)
def test_the_test_that_catches_a_suspect_exists(suspect):
    path, _, name = suspect.caught_by.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_labels_kept_by_place_are_the_right_labels_on_other_images(data):
    network, train = new_network(data, QUICK), usual_parts(data, QUICK).train
    expected = correct(network, train, QUICK, 0).labels
    moved = wrong.by_place_in_the_pass(network, train, QUICK, 0, clean_labels=data.clean_labels)
    assert torch.equal(moved.labels.bincount(minlength=10), expected.bincount(minlength=10))
    assert moved.report.changed == pytest.approx(chance_changed(data.noisy_labels, expected, 10), abs=0.05)
    written = wrong.order_of(train, stream(0, "relabelling pass", 0))
    read = wrong.order_of(train, stream(0, "shuffle", 0))
    assert torch.equal(moved.labels[read], expected[written])


def test_prototypes_by_the_largest_eta_are_those_the_gate_keeps_out(data):
    embeddings, train = lessons.points_of(data), usual_parts(data, QUICK).train
    how = {"num_classes": 10, "m": 1280, "p": 4, "eta_max": 0.95, "quantile": 0.6, "diagonal": True}
    how |= {"fill_up": True, "cut_ties": "eta"}
    select = wrong.selecting(pick=wrong.largest_eta)
    found = select(embeddings, train.noisy_labels, generator=stream(0, "x"), **how)
    assert found.filled.tolist() == [4] * 10
    never = wrong.selecting(eta_of=wrong.eta_from_itself)
    found = never(embeddings, train.noisy_labels, generator=stream(0, "x"), **how)
    plain = select_prototypes(embeddings, train.noisy_labels, generator=stream(0, "x"), **how)
    assert int(found.passed.sum()) == 0 < int(plain.passed.sum())


def test_the_best_prototype_wins_alone():
    points = torch.tensor([[1.0, 0], [0, 1], [0.1, 1], [0.8, 0.6], [0.7, 0.7], [0.6, 0.8]])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    prototypes = select_prototypes(points, labels, num_classes=2, p=3, m=3)
    assert wrong.by_best_prototype(points, prototypes, labels).tolist() == labels.tolist()  # each is its own


def test_even_shares_leave_every_label_and_train_on_all_classes_alike(data):
    network, train = new_network(data, QUICK), usual_parts(data, QUICK).train
    correction = wrong.even_shares(network, train, QUICK, 0, clean_labels=data.clean_labels)
    assert torch.equal(correction.labels, data.noisy_labels)
    assert correction.report.changed == 0
    assert torch.unique(correction.of(torch.arange(5))).tolist() == pytest.approx([0.1])


def test_moving_labels_do_not_disturb_the_right_ones(data):
    trial = try_suspect(SUSPECTS["moving labels"], data, QUICK)
    assert trial.unrest[-1] > 0
    assert trial.run.result.history[-1].label_accuracy != trial.run.result.correction.report.label_accuracy


def test_ten_times_the_rate_in_the_first_third(data):
    rates = [r.learning_rate for r in try_suspect(SUSPECTS["10 × rate"], data, QUICK).run.result.history]
    assert rates == pytest.approx([0.5, 0.05, 0.005])


def test_half_of_the_test_images_stand_in_the_training_set(data):
    parts = half_of_the_test_trained_on(data, QUICK, noisy=True)
    assert len(parts.train.images) == len(data) + 225
    assert {name: len(part.images) for name, part in parts.test_parts.items()} == {"seen": 225, "unseen": 225}
    assert torch.equal(parts.train.images[len(data) :], parts.test_parts["seen"].images)
    wrong_labels = parts.train.noisy_labels[len(data) :] != parts.clean_labels[len(data) :]
    assert 0.3 < float(wrong_labels.double().mean()) < 0.5
    right = half_of_the_test_trained_on(data, QUICK)
    assert torch.equal(right.train.noisy_labels[len(data) :], right.clean_labels[len(data) :])


def test_shifts_are_by_a_pixel_and_never_mirrored():
    image = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4) + 1
    seen = {tuple(shift(image, stream(0, "x", k))[0, 0].flatten().tolist()) for k in range(200)}
    padded = torch.nn.functional.pad(image, (1,) * 4)[0, 0]
    expected = {tuple(padded[t : t + 4, left : left + 4].flatten().tolist()) for t in range(3) for left in range(3)}
    assert seen == expected


def test_digits_by_style_are_digits():
    many, plain = digits_by_style(QUICK, 3), load_dataset(QUICK.replace(noise_rate=0.0))
    assert many.num_classes == 30 == len(many.class_names)
    assert torch.equal(many.clean_labels // 3, plain.clean_labels)
    assert torch.equal(many.test_labels // 3, plain.test_labels)
    assert float((many.noisy_labels != many.clean_labels).double().mean()) == pytest.approx(0.4, abs=0.001)
    assert torch.equal(digits_by_style(QUICK, 3).noisy_labels, many.noisy_labels)
    one = digits_by_style(QUICK, 1)
    assert torch.equal(one.noisy_labels, load_dataset(QUICK).noisy_labels)
    with pytest.raises(ValueError, match="styles"):
        digits_by_style(QUICK, 0)


def test_rows_are_kept_and_a_broken_run_goes_on(tmp_path, monkeypatch):
    jobs = [runs.Job(SUSPECTS[name], QUICK) for name in ("SMP", "kept by place")]
    seen = []
    first = runs.run_jobs(jobs, folder=tmp_path, on_row=seen.append)
    assert [row["suspect"] for row in seen] == ["SMP", "kept by place"]
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len([line for line in lines if line]) == 2
    (tmp_path / "rows.jsonl").write_text("\n".join(lines)[:-40])  # killed while it wrote
    ran = []
    monkeypatch.setattr(runs, "try_suspect", lambda *args: ran.append(args[0].name) or try_suspect(*args))
    second = runs.run_jobs(jobs, folder=tmp_path)
    assert ran == ["kept by place"]
    pd.testing.assert_frame_equal(first, second)
    runs.run_jobs(jobs, folder=tmp_path)
    assert ran == ["kept by place"]


def test_a_job_is_known_by_everything_its_row_depends_on():
    job = runs.Job(SUSPECTS["SMP"], QUICK)
    others = [
        runs.Job(SUSPECTS["start 0"], QUICK),
        runs.Job(SUSPECTS["SMP"], QUICK.replace(seed=1)),
        runs.Job(SUSPECTS["SMP"], QUICK, styles=3),
    ]
    assert len({job.key, *(other.key for other in others)}) == 4


def test_cifar100_goes_the_same_way(tmp_path):
    write_cifar100(tmp_path)
    settings = QUICK.replace(dataset="cifar100", data_root=str(tmp_path), official_files=False, epochs=1)
    rows = runs.run_jobs([runs.Job(SUSPECTS["SMP"], settings)], folder=tmp_path)
    assert rows["classes"].tolist() == [100]


def test_the_table_pairs_by_seed(rows):
    table = tables.suspect_table(rows, ["SMP", "kept by place", "tests trained on", "p = 1"], ("seen", "changed"))
    assert table.index.tolist() == ["SMP", "kept by place", "tests trained on"]
    ours, theirs = (
        (100 * rows[rows["suspect"] == name].sort_values("seed")["test_accuracy"]).tolist()
        for name in ("kept by place", "SMP")
    )
    expected = paired_difference(ours, theirs)
    assert table.loc["kept by place", "difference"] == f"{expected.mean:+.1f} ± {expected.half:.1f}"
    assert table.loc["SMP", "difference"] == ""
    assert table.loc["SMP", "seen %"] == ""
    spread = tables.spread(rows, "kept by place", "SMP")
    assert spread == pytest.approx(np.std(np.subtract(ours, theirs), ddof=1))
    other_seed = rows[(rows["suspect"] == "SMP") | (rows["seed"] == 5)]
    with pytest.raises(ValueError, match="share no seed"):
        tables.difference(other_seed, "kept by place")
    with pytest.raises(ValueError, match="No row belongs to any of p = 1"):
        tables.suspect_table(rows, ["p = 1"])


def test_rows_are_plain_json(rows, data):
    row = runs.row_of(try_suspect(SUSPECTS["cross-entropy"], data, QUICK))
    assert json.loads(json.dumps(row)) == row
    assert row["label_accuracy"] is None
    assert len(row["test_curve"]) == QUICK.epochs


def test_every_figure_can_be_drawn(rows):
    many = pd.concat([rows, rows.assign(classes=50)])
    drawn = [
        plots.suspect_curves(rows, ["kept by place", "p = 1"]),
        plots.differences(rows, {"a": ["kept by place"], "b": ["SMP", "tests trained on", "p = 1"]}),
        plots.seeds_apart(rows, ["cross-entropy", "SMP"]),
        plots.luck({"ours": 2.0}, {"0.6": 0.6}, draws=500),
        plots.many_classes(many, ["cross-entropy", "SMP"]),
        plots.chance_levels([0.9], [[0.89, 0.91]], ["digits"]),
    ]
    for figure in drawn:
        figure.savefig(io.BytesIO(), format="png")


def test_each_box_of_the_switchboard_changes_the_picture(rows):
    board = switchboard(rows, on=["kept by place"])
    assert board.on == ["kept by place"]
    assert set(board.boxes) == {"kept by place", "tests trained on"}
    for box in board.boxes.values():
        before = bytes(board.image.value)
        box.value = not box.value
        assert bytes(board.image.value) != before
        assert bytes(board.image.value).startswith(b"\x89PNG")
    assert "image/png" in board._repr_mimebundle_()
    assert repr(board) == "Switchboard(tests trained on)"
    assert "right label" in board.stories.value
    board.boxes["tests trained on"].value = False
    assert "as it should be" in board.stories.value
