"""A run: whole or absent, never over another one; killed, stopped, or short of disk it goes on as if nothing were."""

import dataclasses
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from dsl_teach.config import Settings
from dsl_teach.storage import RunFolderError
from dsl_teach.training import checkpoint, loop, runs
from dsl_teach.training.checkpoint import Interrupted, check, run_folder
from dsl_teach.training.correction import correct
from dsl_teach.training.records import Callback
from dsl_teach.training.runs import run, summary
from tests.conftest import ROOT, state_of
from tests.run_driver import POINTS, SETTINGS, outcome, samples, train

STREAMED = {"correction_mode": "streamed"}


def assert_equal_to_the_last_bit(one, other):
    assert one["history"] == other["history"]
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])
    assert one["labels"] is other["labels"] is None or torch.equal(one["labels"], other["labels"])


@pytest.fixture(scope="module")
def unbroken():
    return outcome(train(None))


def make_plans():
    """Runs killed once, each kind of moment three times; one killed again and again, one with streamed correction."""
    rng, kinds = random.Random(20), list(POINTS)
    once = [(kind, rng.randrange(POINTS[kind][2])) for kind in kinds * 3]
    often = [(kind, rng.randrange(2)) for kind in kinds]
    points = [("training", 5), ("training", 6), ("correction", 0), ("checkpoint", 2)]
    plans = {str(i): {"points": [kill], "minutes": rng.choice([0, 10]), "settings": {}} for i, kill in enumerate(once)}
    plans["often"] = {"points": often, "minutes": 0, "settings": {}}
    return plans | {"streamed": {"points": points, "minutes": 0, "settings": STREAMED}}


@pytest.mark.slow
def test_killed_at_random_moments_and_continued_it_ends_bit_identical(tmp_path, unbroken):
    plans = make_plans()
    done = subprocess.run(
        [sys.executable, "-m", "tests.run_driver", str(tmp_path), json.dumps(plans)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    assert all(end[-1] == 0 for end in ends.values())
    killed = [plans[name]["points"][0][0] for name in plans if ends[name][0] == -signal.SIGKILL]
    assert len(killed) >= 20
    assert set(killed) >= set(POINTS) - {"clock"}
    assert ends["often"].count(-signal.SIGKILL) >= 5
    assert ends["streamed"] == [-signal.SIGKILL] * 4 + [0]
    for name, plan in plans.items():
        expected = outcome(train(None, SETTINGS.replace(**STREAMED))) if plan["settings"] else unbroken
        assert_equal_to_the_last_bit(torch.load(tmp_path / f"{name}.outcome", weights_only=True), expected)


class Stop(Callback):
    """Asks the run to stop after so many steps, which it does after the next one."""

    def __init__(self, steps, times=1):
        self.left, self.times = steps, times

    def on_batch_end(self, state, batch, embeddings):
        self.left -= 1
        for _ in range(self.times if self.left == 0 else 0):
            signal.raise_signal(signal.SIGTERM)


def stopped(folder, settings=SETTINGS, *, steps=9, **how):
    """A run that is asked to stop after so many steps; what it said."""
    with pytest.raises(Interrupted) as error:
        train(folder, settings, callbacks=[Stop(steps)], **how)
    return error.value


MUCH = [
    {},
    {"alpha": 0.0},
    {"correct_by": "random", "averaged_weights": 0.9, "balanced_sampling": True},
    {"loss": "elr", "mixup": 0.5, "correction_start": 0},
    {"loss": "gce", "mixup": 0.5, "correct_by": "class_means"},
    {"correct_by": "neighbours", "neighbours": 7, "loss": "elr", "averaged_weights": 0.5},
    {"loss": "elr", **STREAMED},
]
"""Everything that a run remembers from step to step, in company."""


class TestStopped:
    def test_it_saves_in_the_middle_of_an_epoch_and_says_so(self, tmp_path):
        former = signal.getsignal(signal.SIGTERM)
        error = stopped(tmp_path, minutes=10)
        assert error.number == signal.SIGTERM
        assert "SIGTERM in epoch 2, step 2" in str(error)
        assert signal.getsignal(signal.SIGTERM) == former
        assert max((tmp_path / "checkpoints").glob("*.pt")).name == "epoch-00002-step-00000002.pt"

    @pytest.mark.parametrize("changes", MUCH)
    def test_whatever_it_remembers_it_goes_on_as_if_nothing_had_happened(self, changes, tmp_path):
        settings = SETTINGS.replace(**({"epochs": 4, "correction_start": 1} | changes))
        for steps in (2, 4, 6):  # in the first, the second and the last epoch
            stopped(tmp_path, settings, steps=steps, minutes=10)
        assert_equal_to_the_last_bit(outcome(train(tmp_path, settings)), outcome(train(None, settings)))

    @pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # all steps lie before the stop
    @pytest.mark.parametrize(
        ("where", "changes", "last"),
        [
            ("first correction", {}, "epoch-00002-step-00000000.pt"),
            ("last correction", {}, "epoch-00006-step-00000000.pt"),
            ("test", {}, "epoch-00000-step-00000004.pt"),
            ("test", STREAMED, "epoch-00000-step-00000004.pt"),
        ],
    )
    def test_in_a_pass_that_does_not_train_it_stops_too(self, tmp_path, monkeypatch, where, changes, last):
        def asked(function, when):
            def asking(*args, **kwargs):
                if when(args):
                    signal.raise_signal(signal.SIGTERM)
                return function(*args, **kwargs)

            return asking

        settings, epochs = SETTINGS.replace(**changes), {"first correction": 2, "last correction": 6}
        mine = asked(correct, lambda args: args[3] == epochs.get(where))
        with monkeypatch.context() as patch:
            patch.setattr(loop, "evaluate", asked(loop.evaluate, lambda args: where == "test"))
            with pytest.raises(Interrupted, match="Stopped by SIGTERM"):
                train(tmp_path, settings, correct=mine, minutes=10)
        assert max((tmp_path / "checkpoints").glob("*.pt")).name == last
        assert_equal_to_the_last_bit(outcome(train(tmp_path, settings)), outcome(train(None, settings)))

    def test_a_second_signal_stops_at_once(self, tmp_path, unbroken):
        with pytest.raises(Interrupted, match="at once"):
            train(tmp_path, callbacks=[Stop(9, times=2)], minutes=10)
        assert max((tmp_path / "checkpoints").glob("*.pt")).name == "epoch-00002-step-00000000.pt"
        assert_equal_to_the_last_bit(outcome(train(tmp_path)), unbroken)

    def test_one_while_the_data_are_read_stops_before_anything_is_trained(self, tmp_path, monkeypatch):
        monkeypatch.setattr(runs, "fingerprint", lambda data: signal.raise_signal(signal.SIGHUP))
        with pytest.raises(Interrupted, match="SIGHUP before training began"):
            train(tmp_path)
        assert not list(tmp_path.rglob("*.pt"))

    def test_one_at_the_very_end_is_heard_and_the_result_kept(self, tmp_path, monkeypatch, unbroken):
        with monkeypatch.context() as patch:
            patch.setattr(runs, "summary", lambda finished: signal.raise_signal(signal.SIGTERM) or summary(finished))
            with pytest.raises(Interrupted, match="when the run was finished"):
                train(tmp_path)
        assert (tmp_path / "result.json").exists()
        assert_equal_to_the_last_bit(outcome(train(tmp_path)), unbroken)


class TestCheckpoints:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"", lambda content: content[:-1],
            lambda content: content[:999] + bytes([content[999] ^ 1]) + content[1000:],
        ],
    )  # fmt: skip
    def test_a_damaged_one_is_put_aside_and_the_one_before_continues(self, tmp_path, unbroken, damage):
        stopped(tmp_path)
        assert check(tmp_path) == []
        last = max((tmp_path / "checkpoints").glob("*.pt"))
        last.write_bytes(damage(last.read_bytes()))
        assert len(check(tmp_path)) == 1
        with pytest.warns(UserWarning, match=rf"{last.name} is damaged.*continues from the one before"):
            continued = outcome(train(tmp_path))
        assert_equal_to_the_last_bit(continued, unbroken)
        assert last.with_suffix(".damaged").exists()
        assert "put aside" in check(tmp_path)[0]

    def test_where_all_are_damaged_nothing_is_begun_anew(self, tmp_path):
        stopped(tmp_path)
        for path in (tmp_path / "checkpoints").glob("*.pt"):
            path.write_bytes(b"")
        with (
            pytest.warns(UserWarning, match="is damaged"),
            pytest.raises(RunFolderError, match=r"No checkpoint in .* can be read"),
        ):
            train(tmp_path)

    @pytest.mark.parametrize(
        ("owner", "name", "error"),
        [
            (Path, "read_bytes", PermissionError(errno.EACCES, "Permission denied")),
            (Path, "read_bytes", OSError(errno.EIO, "Input/output error")),
            (Path, "read_bytes", MemoryError()),
            (checkpoint.torch, "load", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")),
            (checkpoint.torch, "load", torch.OutOfMemoryError("CUDA out of memory.")),
        ],
    )
    def test_one_that_cannot_be_read_now_is_no_damaged_one(self, tmp_path, monkeypatch, unbroken, owner, name, error):
        stopped(tmp_path)
        before = sorted((tmp_path / "checkpoints").glob("*.pt"))

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, Mock(side_effect=error))
            with pytest.raises(RunFolderError, match="cannot be read now"):
                train(tmp_path)
        assert sorted((tmp_path / "checkpoints").glob("*.pt")) == before
        assert_equal_to_the_last_bit(outcome(train(tmp_path)), unbroken)

    def test_a_full_disk_leaves_the_former_one_usable(self, tmp_path, monkeypatch, unbroken):
        save, room = torch.save, 7

        def full(content, file):
            nonlocal room
            room -= 1
            if room < 0:
                file.write(b"half of it")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            save(content, file)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.torch, "save", full)
            with pytest.raises(RunFolderError, match=r"checkpoint of epoch 1 .*No space left on device.* make room"):
                train(tmp_path)
        assert not list(tmp_path.rglob("*.part"))
        assert_equal_to_the_last_bit(outcome(train(tmp_path)), unbroken)

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
    def test_a_disk_that_is_really_full(self, tmp_path, unbroken):
        mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(tmp_path)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        try:
            with pytest.raises(OSError, match="No space left"):
                train(tmp_path)
            subprocess.run(["mount", "-o", "remount,size=20m", str(tmp_path)], check=True)
            assert_equal_to_the_last_bit(outcome(train(tmp_path)), unbroken)
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)


class TestFolder:
    @pytest.mark.parametrize("changes", [{}, {"averaged_weights": 0.9}])
    def test_a_finished_run_is_not_trained_again(self, tmp_path, changes):
        settings = SETTINGS.replace(**changes)
        first = outcome(train(tmp_path, settings, minutes=10))
        again = train(tmp_path, settings, callbacks=[Stop(1)])  # one step would stop it
        assert_equal_to_the_last_bit(outcome(again), first)

    @pytest.mark.parametrize("changes", [{}, STREAMED])
    def test_corrected_labels_are_there_for_every_correction_by_index(self, tmp_path, changes):
        made = {}

        def mine(network, train, settings, epoch, **known):
            done = correct(network, train, settings, epoch, **known)
            made[f"epoch-{epoch:05d}.pt"] = done.labels.clone()
            return done

        train(tmp_path, SETTINGS.replace(**changes), minutes=10, correct=mine)
        found = {path.name: torch.load(path, weights_only=True) for path in (tmp_path / "labels").glob("*.pt")}
        assert sorted(found) == sorted(made) == [f"epoch-0000{epoch}.pt" for epoch in (2, 3, 4, 5, 6)]
        assert all(torch.equal(found[name], made[name]) for name in made)
        assert len((tmp_path / "history.jsonl").read_text().splitlines()) == SETTINGS.epochs

    def test_moved_data_are_the_same_run(self, tmp_path, unbroken):
        before = SETTINGS.replace(dataset="image_folder", data_root="here", test_root="here too", augment=True)
        after = before.replace(data_root="there", test_root="there too")
        stopped(tmp_path, before)
        assert_equal_to_the_last_bit(outcome(train(tmp_path, after)), unbroken)
        assert run_folder(tmp_path, before) == run_folder(tmp_path, after)
        assert run_folder(tmp_path, before) != run_folder(tmp_path, before.replace(seed=1))
        with pytest.raises(RunFolderError, match="other settings"):
            train(tmp_path, after.replace(seed=1))


class TestIdentity:
    """A run goes on with its own settings, data and checkpoints, or not at all."""

    @pytest.mark.parametrize(
        ("settings", "change", "sentence"),
        [
            ({}, lambda d: {"noisy_labels": d.noisy_labels.roll(1)}, "noisy labels of training images"),
            ({}, lambda d: {"images": d.images + 1}, "contents of training images"),
            ({}, lambda d: {"test_images": d.test_images + 1}, "contents of test images"),
            ({}, lambda d: {"class_names": ("a", "b", "c")}, "classes were dark, grey, bright and are now a, b, c"),
            ({"alpha": 0.9}, lambda d: {}, r"other settings: alpha was 0\.5 and is 0\.9"),
        ],
    )
    def test_other_settings_or_data_are_refused_and_the_first_difference_named(
        self, tmp_path, settings, change, sentence
    ):
        stopped(tmp_path)
        before, data = state_of(tmp_path / "checkpoints"), samples()
        with pytest.raises(RunFolderError, match=sentence):
            train(tmp_path, SETTINGS.replace(**settings), data=dataclasses.replace(data, **change(data)))
        assert state_of(tmp_path / "checkpoints") == before

    def test_a_folder_that_does_not_say_which_data_is_refused(self, tmp_path):
        stopped(tmp_path)
        (tmp_path / "data.json").unlink()
        with pytest.raises(RunFolderError, match="Nothing in it says on which"):
            train(tmp_path)

    @pytest.mark.parametrize(("changes", "sentence"), [({"seed": 1}, "seed was 1 and is 0"), ({}, "other data")])
    def test_a_checkpoint_of_another_run_is_refused(self, tmp_path, changes, sentence):
        stopped(tmp_path / "mine")
        data = samples()
        other = data if changes else dataclasses.replace(data, images=data.images + 1)
        stopped(tmp_path / "other", SETTINGS.replace(**changes), data=other)
        for path in (tmp_path / "other" / "checkpoints").iterdir():
            (tmp_path / "mine" / "checkpoints" / path.name).write_bytes(path.read_bytes())
        with pytest.raises(RunFolderError, match=f"is of another run: .*{sentence}"):
            train(tmp_path / "mine")

    def test_another_version_is_said_and_not_refused(self, tmp_path, monkeypatch, unbroken):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "__version__", "0.1.0")
            stopped(tmp_path)
        with pytest.warns(UserWarning, match=r"written by version 0\.1\.0"):
            assert_equal_to_the_last_bit(outcome(train(tmp_path)), unbroken)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "trial" / "run"
    train(folder, SETTINGS.replace(epochs=2, correction_start=1), minutes=10)
    return folder


FILES = ["settings.yaml", "data.json", "result.json", "corrected_labels.pt", "history.jsonl"]


class TestCheck:
    @pytest.fixture
    def folder(self, finished, tmp_path):
        return shutil.copytree(finished, tmp_path / "sweep" / "trial" / "run")

    def test_what_is_whole_is_so_from_each_folder_above(self, folder):
        assert [check(inner) for inner in (folder, folder.parent, folder.parent.parent)] == [[], [], []]
        with pytest.raises(RunFolderError, match="holds no run"):
            check(folder / "labels")

    @pytest.mark.parametrize("name", [*FILES, "SHA256SUMS", "checkpoints/SHA256SUMS"])
    def test_a_file_that_is_damaged_or_gone_is_named(self, folder, name):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
        assert check(folder.parent)
        (folder / name).unlink()
        assert any(name in sentence for sentence in check(folder.parent))

    def test_without_any_checkpoint_it_says_so(self, folder):
        shutil.rmtree(folder / "checkpoints")
        assert any("checkpoints/SHA256SUMS is missing" in sentence for sentence in check(folder))


QUICK = Settings(epochs=2, correction_start=1, width=4, batch_size=256)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return folder, run(QUICK, folder=folder)


def test_a_run_leaves_everything_needed_to_read_it_again(digits_run):
    folder, done = digits_run
    assert Settings.from_yaml(folder / "settings.yaml") == done.settings == QUICK
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in history] == [0, 1]
    assert [record["loss"] for record in history] == [record.loss for record in done.result.history]
    labels = torch.load(folder / "corrected_labels.pt", weights_only=True)
    assert torch.equal(labels, done.result.correction.labels)
    result = json.loads((folder / "result.json").read_text())
    assert result == summary(done)
    assert result["test_accuracy"] == history[-1]["test_accuracy"]
    assert "digits" in result["made_from"]
    [environment] = [json.loads(line) for line in (folder / "environment.jsonl").read_text().splitlines()]
    assert (environment["device"], environment["precision"], environment["processes"]) == ("cpu", "float32", "1")
    assert not list(folder.rglob("*.part"))


def test_a_folder_that_cannot_be_written_to_stops_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(runs, "load_dataset", lambda settings: pytest.fail("data were loaded all the same"))
    with pytest.raises(RunFolderError, match=r"file.digits cannot be written to \(.*\). Name another folder"):
        run(QUICK, folder=tmp_path / "file" / "digits")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_data_of_ones_own_are_trained_on_and_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "load_dataset", lambda settings: pytest.fail("other data were loaded"))
    data = samples()
    done = run(SETTINGS.replace(epochs=1, correction_start=0), data)
    assert done.data is data
    assert (done.network.num_classes, len(done.result.correction.labels)) == (3, len(data))
    assert not list(tmp_path.iterdir())


def test_callbacks_follow_a_run_also_where_it_is_continued(tmp_path):
    progress, seen = Callback(), []
    progress.on_train_begin = progress.on_batch_end = lambda state, *batch: seen.append(state.progress)
    with pytest.raises(Interrupted):
        run(SETTINGS, samples(), folder=tmp_path, callbacks=[progress, Stop(6)])
    run(SETTINGS, samples(), folder=tmp_path, callbacks=[progress])
    assert seen == [step / 4 for step in range(25)]


def test_importing_the_package_or_a_public_name_imports_nothing_slow():
    """Beside torch, which itself must not be needed for the name alone."""
    program = """import sys, dsl_teach
assert "torch" not in sys.modules
for name in dsl_teach.__all__: getattr(dsl_teach, name)
print(*{"torchvision", "sklearn", "scipy", "pandas", "matplotlib", "joblib"} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
