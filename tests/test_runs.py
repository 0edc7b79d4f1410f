"""A run from settings to folder: complete or absent, and never over another one."""

from __future__ import annotations

import json

import pytest
import torch

from dsl_teach.config import Settings
from dsl_teach.training import runs
from dsl_teach.training.runs import RunFolderError, run, run_many

QUICK = Settings(epochs=2, correction_start=1, width=4, batch_size=256)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return folder, run(QUICK, folder=folder)


def test_a_run_leaves_everything_needed_to_read_it_again(finished):
    folder, done = finished
    assert Settings.from_yaml(folder / "settings.yaml") == QUICK
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in history] == [0, 1]
    labels = torch.load(folder / "corrected_labels.pt", weights_only=True)
    assert torch.equal(labels, done.result.correction.labels)
    result = json.loads((folder / "result.json").read_text())
    assert result["test_accuracy"] == history[-1]["test_accuracy"]
    assert "digits" in result["made_from"]
    assert not list(folder.glob("*.part"))


def test_another_run_is_not_overwritten(finished):
    folder, _ = finished
    before = (folder / "result.json").read_text()
    with pytest.raises(RunFolderError, match="holds a run with other settings"):
        run(QUICK.replace(seed=1), folder=folder)
    assert (folder / "result.json").read_text() == before


def test_a_folder_that_cannot_be_written_to_stops_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(runs, "load_dataset", lambda settings: pytest.fail("data were loaded all the same"))
    with pytest.raises(RunFolderError, match=r"file.digits cannot be written to \(.*\). Name another folder"):
        run(QUICK, folder=tmp_path / "file" / "digits")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(QUICK.replace(epochs=1))
    assert not list(tmp_path.iterdir())


def test_the_number_of_workers_changes_no_figure():
    many = [QUICK.replace(seed=seed, epochs=1) for seed in (0, 1)]
    alone, beside = run_many(many, workers=1), run_many(many, workers=2)
    assert [done.settings.seed for done in beside] == [0, 1]
    for one, other in zip(alone, beside, strict=True):
        assert one.result.history[-1].loss == other.result.history[-1].loss
        assert torch.equal(one.result.correction.labels, other.result.correction.labels)
