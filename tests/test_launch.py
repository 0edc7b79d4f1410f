"""Several processes started from a notebook."""

from __future__ import annotations

import json

import pytest
from dsl_lessons.launch import LaunchError, torchrun_command, train_in_processes

from dsl_teach.config import Settings

QUICK = Settings(epochs=2, correction_start=1, width=4, batch_size=256, network="small_cnn_groupnorm")


def test_two_processes_train_one_run_and_a_second_call_finds_it_finished(tmp_path):
    folder = train_in_processes(QUICK, processes=2, folder=tmp_path)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in history] == [0, 1]
    assert (folder / "result.json").exists()
    assert json.loads((folder / "environment.jsonl").read_text().splitlines()[0])["processes"] == "2"


def test_a_run_that_fails_says_why(tmp_path):
    with pytest.raises(LaunchError, match=r"It said:\ndsl-teach: CIFAR-10: .* is missing. Run: python"):
        train_in_processes(
            QUICK.replace(dataset="cifar10", data_root=str(tmp_path / "nowhere")), processes=1, folder=tmp_path
        )


def test_the_command_is_torchruns(tmp_path):
    command = torchrun_command(tmp_path / "run.yaml", processes=4, folder="runs", device="cuda")
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4"]
    with pytest.raises(ValueError, match="processes must be at least 1"):
        train_in_processes(QUICK, processes=0, folder=tmp_path)
