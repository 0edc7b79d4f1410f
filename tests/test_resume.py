"""A run that is killed, stopped, or short of disk goes on as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dsl_teach.training import checkpoint as folders
from dsl_teach.training.checkpoint import RunFolder, RunFolderError, write_whole
from dsl_teach.training.keeper import Interrupted, RunKeeper
from tests.run_driver import SETTINGS, outcome, train

ROOT = Path(__file__).parent.parent
POINTS = {"training": 22, "embedding": 4, "correction": 4, "keeping": 5, "checkpoint": 8, "renaming": 20, "clock": 150}
"""Where a run can be killed, and how often it comes by there (of the clock: milliseconds)."""

STREAMED = {"correction_mode": "streamed", "correct_every": 2}


def outcomes_equal(one, other):
    same_weights = all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])
    return same_weights and one["history"] == other["history"] and torch.equal(one["labels"], other["labels"])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return outcome(*train(tmp_path_factory.mktemp("unbroken") / "run", minutes=10))


def random_kills(count, rng, most=1000):
    """Kill points, each kind in turn, at random calls; the clock kills too, anywhere at all."""
    kinds = list(POINTS)
    return [(kinds[i % len(kinds)], rng.randrange(min(most, POINTS[kinds[i % len(kinds)]]))) for i in range(count)]


def make_plans():
    """24 runs killed once, one killed again and again, one with streamed correction."""
    rng = random.Random(20)
    kills = random_kills(24, rng)
    plans = {f"{i}": {"points": [kill], "minutes": rng.choice([0, 10]), "settings": {}} for i, kill in enumerate(kills)}
    plans["often"] = {"points": random_kills(12, rng, most=2), "minutes": 0, "settings": {}}
    points = [("training", 5), ("training", 6), ("correction", 0), ("checkpoint", 2)]
    plans["streamed"] = {"points": points, "minutes": 0, "settings": STREAMED}
    return plans


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The plans, how each life of theirs ended, and what came of them."""
    root, plans = tmp_path_factory.mktemp("broken"), make_plans()
    done = subprocess.run(
        [sys.executable, "-m", "tests.run_driver", str(root), json.dumps(plans)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    assert all(end[-1] == 0 for end in ends.values())
    return plans, ends, {name: torch.load(root / f"{name}.outcome", weights_only=True) for name in plans}


def test_killed_at_20_random_moments_and_continued_it_ends_bit_identical(broken, unbroken):
    plans, ends, outcomes = broken
    once = [name for name in plans if name.isdigit()]
    killed = [plans[name]["points"][0][0] for name in once if ends[name][0] == -signal.SIGKILL]
    assert len(killed) >= 20
    assert {"training", "embedding", "correction", "keeping", "checkpoint", "renaming"} <= set(killed)
    assert ends["often"].count(-signal.SIGKILL) >= 5
    for name in [*once, "often"]:
        assert outcomes_equal(outcomes[name], unbroken), f"{name} {plans[name]}"


def test_streamed_embeddings_survive_a_kill_too(broken, tmp_path):
    _, ends, outcomes = broken
    expected = outcome(*train(tmp_path / "unbroken", SETTINGS.replace(**STREAMED), minutes=10))
    assert ends["streamed"] == [-signal.SIGKILL] * 4 + [0]
    assert outcomes_equal(outcomes["streamed"], expected)


def stopped_early(folder, monkeypatch, at_step=9, minutes=0.0):
    """A run that stops by a signal in the middle of an epoch."""
    step = RunKeeper.look_up

    def look_up(self, state, trained):
        nonlocal at_step
        at_step -= trained is not None
        if at_step == 0:
            signal.raise_signal(signal.SIGTERM)
        step(self, state, trained)

    with monkeypatch.context() as patch:
        patch.setattr(RunKeeper, "look_up", look_up)
        with pytest.raises(Interrupted) as stopped:
            train(folder, minutes=minutes)
    return stopped.value


def test_sigterm_saves_in_the_middle_of_an_epoch_and_says_so(tmp_path, monkeypatch, unbroken):
    former = signal.getsignal(signal.SIGTERM)
    error = stopped_early(tmp_path / "run", monkeypatch, minutes=10)
    assert (error.number, str(error)) == (
        signal.SIGTERM,
        "Stopped by SIGTERM in epoch 2, step 1. Run it again to continue.",
    )
    assert signal.getsignal(signal.SIGTERM) == former
    assert [path.name for path in RunFolder(tmp_path / "run", SETTINGS).checkpoints()][-1] == (
        "epoch-00002-step-00000001.pt"
    )


def test_a_truncated_last_checkpoint_gives_way_to_the_one_before(tmp_path, monkeypatch, unbroken):
    stopped_early(tmp_path / "run", monkeypatch)
    last = max((tmp_path / "run" / "checkpoints").glob("*.pt"))
    os.truncate(last, last.stat().st_size // 2)
    with pytest.warns(UserWarning, match=rf"{last.name} cannot be read .* continues from the one before"):
        continued = outcome(*train(tmp_path / "run"))
    assert outcomes_equal(continued, unbroken)
    assert last.with_suffix(".damaged").exists()


def test_when_no_checkpoint_can_be_read_nothing_is_begun_anew(tmp_path, monkeypatch):
    stopped_early(tmp_path / "run", monkeypatch)
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="put aside"),
        pytest.raises(RunFolderError, match=r"No checkpoint in .* can be read"),
    ):
        train(tmp_path / "run")


def test_a_full_disk_leaves_the_former_checkpoint_usable(tmp_path, monkeypatch, unbroken):
    save, room = torch.save, 7

    def full(content, file):
        nonlocal room
        room -= 1
        if room < 0:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(folders.torch, "save", full)
        with pytest.raises(RunFolderError, match=r"checkpoint of epoch 1 .*No space left on device.* make room"):
            train(tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.part"))
    assert outcomes_equal(outcome(*train(tmp_path / "run")), unbroken)


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(tmp_path, unbroken):
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises((RunFolderError, OSError)):
            train(tmp_path / "run")
        subprocess.run(["mount", "-o", "remount,size=20m", str(tmp_path)], check=True)
        assert outcomes_equal(outcome(*train(tmp_path / "run")), unbroken)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch, unbroken):
    train(tmp_path / "run", minutes=10)
    monkeypatch.setattr("dsl_teach.training.loop.train_epoch", lambda *a, **k: pytest.fail("it trained again"))
    assert outcomes_equal(outcome(*train(tmp_path / "run", minutes=10)), unbroken)


def test_two_processes_cannot_write_to_one_folder(tmp_path):
    first = RunFolder(tmp_path, SETTINGS)
    with pytest.raises(RunFolderError, match="Another process is writing"):
        RunFolder(tmp_path, SETTINGS)
    first.close()
    RunFolder(tmp_path, SETTINGS).close()


def test_corrected_labels_are_there_for_every_correction_by_index(tmp_path):
    result, _ = train(tmp_path, minutes=10)
    found = sorted(path.name for path in (tmp_path / "labels").iterdir())
    assert found == [f"epoch-0000{epoch}.pt" for epoch in (2, 3, 4, 5, 6)]
    assert torch.equal(torch.load(tmp_path / "labels" / found[-1], weights_only=True), result.correction.labels)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == SETTINGS.epochs


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError):
        write_whole(path, lambda file: (_ for _ in ()).throw(RuntimeError("no")))
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
