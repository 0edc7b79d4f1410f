"""A run from settings to folder: complete or absent, and never over another one."""

import json
import subprocess
import sys

import pytest
import torch

from dsl_teach.config import Settings
from dsl_teach.storage import RunFolderError
from dsl_teach.training import runs
from dsl_teach.training.checkpoint import Interrupted
from dsl_teach.training.records import Callback
from dsl_teach.training.runs import run, summary
from tests.run_driver import SETTINGS, samples
from tests.test_resume import Stop

QUICK = Settings(epochs=2, correction_start=1, width=4, batch_size=256)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return folder, run(QUICK, folder=folder)


def test_a_run_leaves_everything_needed_to_read_it_again(finished):
    folder, done = finished
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
    assert done.network.num_classes == 3
    assert len(done.result.correction.labels) == len(data)
    assert not list(tmp_path.iterdir())


def test_points_cannot_be_shifted_and_mirrored():
    with pytest.raises(ValueError, match="augment shifts"):
        run(Settings(dataset="toy_moons", network="mlp", augment=True, epochs=1))


def test_callbacks_follow_a_run_also_where_it_is_continued(tmp_path):
    class Progress(Callback):
        seen = ()

        def on_train_begin(self, state):
            self.seen = [state.progress]

        def on_batch_end(self, state, batch, embeddings):
            self.seen.append(state.progress)

    first, then = Progress(), Progress()
    with pytest.raises(Interrupted):
        run(SETTINGS, samples(), folder=tmp_path, callbacks=[first, Stop(6)])
    run(SETTINGS, samples(), folder=tmp_path, callbacks=[then])
    assert first.seen == [step / 4 for step in range(7)]
    assert then.seen == [step / 4 for step in range(7, 25)]


def test_of_labels_that_a_person_verified_it_says_how_many_were_kept():
    data = samples()
    labels = data.noisy_labels.clone()
    verified = torch.where(torch.arange(len(data)) % 3 == 0, -1, (labels == data.clean_labels).long())
    data = type(data)(**(vars(data) | {"verified": verified, "clean_labels": None}))
    done = run(SETTINGS, data)
    kept = (done.result.correction.labels == labels)[verified == 1].double().mean()
    assert summary(done)["verified_kept"] == pytest.approx(float(kept))
    assert summary(run(SETTINGS.replace(alpha=0.0), data))["verified_kept"] is None


def test_importing_the_package_or_a_public_name_imports_nothing_slow():
    """Beside torch, which itself must not be needed for the name alone."""
    program = """import sys, dsl_teach
assert "torch" not in sys.modules
for name in dsl_teach.__all__: getattr(dsl_teach, name)
print(*{"torchvision", "sklearn", "scipy", "pandas", "matplotlib", "joblib"} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
