"""Lesson 07: each injected bug does what its story says, fails its check, and leaves rows that survive a broken run."""

import dataclasses
import io
import json

import pandas as pd
import pytest
import torch
import yaml
from dsl_lessons.injected_bugs import faulty, figures, runs, tables
from dsl_lessons.injected_bugs.catalog import GROUPS, MANY_CLASSES, VARIANTS, named
from dsl_lessons.injected_bugs.checks import CHECKS, verdicts
from dsl_lessons.injected_bugs.data import digits_by_style, shift
from dsl_lessons.injected_bugs.picker import Picker
from dsl_lessons.injected_bugs.trial import Trial
from dsl_lessons.paths import NOTEBOOKS, RESULTS
from dsl_lessons.tables import against, signed

from dsl_teach import Settings, load_dataset
from dsl_teach.metrics import chance_changed
from dsl_teach.seeds import stream
from dsl_teach.training.correction import correct

QUICK = Settings(epochs=3, correction_start=1, width=4, batch_size=128, learning_rate_drop=2)


@pytest.fixture(scope="module")
def data():
    return load_dataset(QUICK)


@pytest.fixture(scope="module")
def rows(data):
    names = ("cross-entropy", "SMP", "kept by place", "tests trained on")
    return pd.DataFrame([runs.row_of(name, data, QUICK.replace(seed=seed)) for seed in (0, 1) for name in names])


def trial_of(name, data, settings=QUICK):
    return VARIANTS[name].inject(Trial.begin(data, settings.replace(**VARIANTS[name].changes)))


def timeless(history):
    return [dataclasses.replace(record, seconds_training=0, seconds_correction=0) for record in history]


def test_pieces_that_are_not_exchanged_are_the_librarys(data):
    trial = Trial.begin(data, QUICK)
    given = (trial.network, trial.train, QUICK, 0)
    expected = correct(*given, clean_labels=data.clean_labels)
    found = faulty.correcting()(*given, clean_labels=data.clean_labels)
    assert torch.equal(found.labels, expected.labels)
    assert found.report == expected.report
    for name in ("index", "embeddings", "count", "passed", "filled"):
        assert torch.equal(getattr(found.prototypes, name), getattr(expected.prototypes, name))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("SMP", "start 1")])  # QUICK starts at 1
def test_every_variant_changes_the_run(name, data):
    assert timeless(trial_of(name, data).fit().history) != timeless(trial_of("SMP", data).fit().history)


def test_names_groups_and_comparisons():
    assert sum(map(len, GROUPS.values())) == len(VARIANTS)
    assert {variant.against for variant in VARIANTS.values()} | set(MANY_CLASSES) <= set(VARIANTS)
    assert named(["all"]) == list(VARIANTS)
    with pytest.raises(ValueError, match="no variant 'p = 3'"):
        named(["p = 3"])


def test_labels_kept_by_place_are_the_right_labels_on_other_images(data):
    trial = trial_of("kept by place", data)
    right = correct(trial.network, trial.train, QUICK, 0).labels
    moved = trial.correct(trial.network, trial.train, QUICK, 0, clean_labels=data.clean_labels)
    assert torch.equal(moved.labels.bincount(minlength=10), right.bincount(minlength=10))
    assert moved.report.changed == pytest.approx(chance_changed(data.noisy_labels, right, 10), abs=0.05)


@pytest.mark.parametrize(("name", "some_pass"), [("largest eta", True), ("eta from itself", False)])
def test_prototypes_from_beyond_the_gate_fill_every_place(data, name, some_pass):
    trial = trial_of(name, data)
    found = trial.correct(trial.network, trial.train, QUICK.replace(eta_max=0.995), 0).prototypes
    assert bool(found.passed.any()) == some_pass
    assert found.filled.tolist() == [QUICK.p] * 10


def test_even_shares_leave_every_label_and_train_on_all_classes_alike(data):
    trial = trial_of("even shares", data)
    correction = trial.correct(trial.network, trial.train, QUICK, 0)
    assert correction.report.changed == 0
    assert correction.labels.shape == (len(data), 10)
    assert torch.unique(correction.labels).tolist() == pytest.approx([0.1])


def test_moving_labels_are_recorded_as_they_were_trained_on(data):
    trial, unrest = trial_of("moving labels", data), runs.Unrest()
    result = trial.fit(unrest)
    assert [share and share > 0 for share in unrest.shares] == [None, None, True]
    given_last = trial.correct(trial.network, trial.train, trial.settings, 3, clean_labels=data.clean_labels)
    assert torch.equal(result.correction.labels, given_last.labels)  # the last correction was not moved
    shown = trial_of("shifted images", data).fit().history
    assert result.history[1].label_accuracy != shown[1].label_accuracy
    assert result.history[1].passed == shown[1].passed  # both began with the same correction


@pytest.mark.parametrize(("name", "wrong"), [("tests trained on", 0), ("tests, wrong labels", 0.4)])
def test_half_of_the_test_images_stand_in_the_training_set(data, name, wrong):
    trial = trial_of(name, data)
    assert torch.equal(trial.train.images[len(data) :], data.test_images[::2])
    found = (trial.train.noisy_labels != trial.clean_labels)[len(data) :].double().mean()
    assert float(found) == pytest.approx(wrong, abs=0.1 if wrong else 0)


def test_ten_times_the_rate_in_the_first_third(data):
    rates = [record.learning_rate for record in trial_of("10 × rate", data).fit().history]
    assert rates == pytest.approx([0.5, 0.05, 0.005])


def test_shifts_are_by_a_pixel_and_never_mirrored():
    image = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4) + 1
    seen = {tuple(shift(image, stream(0, "x", k))[0, 0].flatten().tolist()) for k in range(200)}
    padded = torch.nn.functional.pad(image, (1,) * 4)[0, 0]
    assert seen == {tuple(padded[t : t + 4, le : le + 4].flatten().tolist()) for t in range(3) for le in range(3)}


def test_digits_by_style_are_digits():
    many, plain = digits_by_style(QUICK, 3), load_dataset(QUICK.replace(noise_rate=0.0))
    assert many.num_classes == 30 == len(many.class_names)
    assert torch.equal(many.clean_labels // 3, plain.clean_labels)
    assert torch.equal(many.test_labels // 3, plain.test_labels)
    assert float((many.noisy_labels != many.clean_labels).double().mean()) == pytest.approx(0.4, abs=0.001)
    assert torch.equal(digits_by_style(QUICK, 1).noisy_labels, load_dataset(QUICK).noisy_labels)
    with pytest.raises(ValueError, match="styles"):
        digits_by_style(QUICK, 0)


class TestChecks:
    @pytest.mark.parametrize("name", ["SMP", "cross-entropy", "start 0", "shifted images", "p = 1", "m = 20"])
    def test_the_method_and_choices_pass_every_check(self, name):
        assert verdicts([name])[name].to_dict() == dict.fromkeys(CHECKS, "passes")

    @pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.caught_by])
    def test_a_bug_fails_the_check_that_is_meant_for_it(self, name):
        assert not CHECKS[VARIANTS[name].caught_by](VARIANTS[name])


class TestRows:
    def test_a_batch_that_was_broken_off_does_only_the_rest(self, tmp_path):
        trials = [(name, QUICK.replace(epochs=1), 1) for name in ("SMP", "kept by place")]
        first = list(runs.run_trials(trials[:1], folder=tmp_path))
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("output.pkl")}
        both = list(runs.run_trials(trials, folder=tmp_path))
        assert both[:1] == first
        assert (len(kept), len(list(tmp_path.rglob("output.pkl")))) == (1, 2)
        assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
        assert json.loads(json.dumps(both)) == both  # plain JSON

    def test_the_table_pairs_by_seed(self, rows):
        table = tables.variant_table(rows, ["SMP", "kept by place", "tests trained on", "p = 1"], ("seen", "changed"))
        assert table.index.tolist() == ["SMP", "kept by place", "tests trained on"]
        expected = tables.difference(rows.sort_values("seed", ascending=False), "kept by place")
        assert table.loc["kept by place", "difference"] == signed(expected)
        assert expected.half > against(rows, "kept by place", "SMP").half  # each seed splits the digits anew
        assert table.loc["SMP", ["difference", "seen %"]].tolist() == ["", ""]
        assert tables.difference(rows[(rows["method"] == "SMP") != (rows["seed"] == 1)], "kept by place") is None
        with pytest.raises(ValueError, match="No row belongs to any of p = 1"):
            tables.variant_table(rows, ["p = 1"])

    def test_every_figure_can_be_drawn(self, rows):
        drawn = [
            figures.curves(rows, ["kept by place", "p = 1"]),
            figures.differences(rows, {"a": ["kept by place"], "b": ["SMP", "tests trained on", "p = 1"]}),
            figures.luck({"ours": 2.0}, {"0.6": 0.6}),
            figures.many_classes(pd.concat([rows, rows.assign(classes=50)]), ["cross-entropy", "SMP"]),
        ]
        for figure in drawn:
            figure.savefig(io.BytesIO(), format="png")

    def test_each_box_changes_the_picture(self, rows):
        picker = Picker(rows, on=["kept by place"])
        assert list(picker.boxes) == ["kept by place", "tests trained on"]
        assert "shuffled pass" in picker.stories.value
        for box in picker.boxes.values():
            before = bytes(picker.image.value)
            box.value = not box.value
            assert bytes(picker.image.value) != before
            assert bytes(picker.image.value).startswith(b"\x89PNG")
        assert "image/png" in picker._repr_mimebundle_()

    def test_the_committed_rows_have_every_variant_and_every_seed(self):
        path = RESULTS / "why_reproductions_fall_short_10_seeds.json"
        results = json.loads(path.read_text(encoding="utf-8"))
        parameters = yaml.safe_load((NOTEBOOKS / "configs" / "lessons" / f"{path.stem}.yaml").read_text("utf-8"))
        assert results["made_by"] == parameters["made_by"]
        found = pd.DataFrame(results["rows"]).groupby(["classes", "suspect"])["seed"].apply(sorted).to_dict()
        wanted = [(10, name) for name in VARIANTS] + [(50, name) for name in MANY_CLASSES]
        assert found == {key: list(range(parameters["seeds"])) for key in wanted}
