"""Sweeps: what a YAML file means, what trials leave behind, what is done again, and what a failure costs."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
import yaml

from benchmarks.faults import inject
from dsl_teach import Settings, cli, run
from dsl_teach import sweep as sweeps
from dsl_teach.storage import DamagedFile, RunFolderError, locked, write_checked
from dsl_teach.sweep import Sweep, SweepError, read_sweep, row_of, run_sweep, sweep_table
from dsl_teach.training.distributed import find_device
from tests import ROOT, wait_for

SWEEPS = sorted((ROOT / "notebooks" / "configs" / "sweeps").glob("*.yaml"))
PLACES_OF = {
    "digits": (), "cifar10": ("data_root", "labels_file"), "clothing1m": ("data_root",),
    "food101n": ("data_root", "test_root"), "clothes": ("data_root",),
}  # fmt: skip
TINY = {"dataset": "toy_clusters", "network": "mlp", "width": 4, "epochs": 2, "correction_start": 1, "p": 2, "m": 40}


def sweep_of(folder: Path, text: str) -> Sweep:
    (folder / "sweep.yaml").write_text(text)
    return read_sweep(folder / "sweep.yaml")


class TestReading:
    def test_every_combination_once_seed_by_seed(self, tmp_path):
        text = """
            base: {epochs: 8}
            cases: {even: {}, uneven: {rarest_share: 0.5}}
            methods: {SMP: {}, other: {alpha: 1.0}}
            grid: {p: [1, 8], m: 40}
            seeds: [3, 5]
        """
        trials = sweep_of(tmp_path, text).trials()
        assert len({trial.name for trial in trials}) == 16
        assert [trial.labels["seed"] for trial in trials] == [3] * 8 + [5] * 8
        assert trials[-1].labels == {"case": "uneven", "method": "other", "p": 8, "m": 40, "seed": 5}
        assert trials[-1].parameters == {"epochs": 8, "p": 8, "m": 40, "rarest_share": 0.5, "alpha": 1.0, "seed": 5}
        assert str(trials[-1]) == "uneven, other, p 8, m 40, seed 5"

    def test_a_method_keeps_the_setting_that_it_names_and_runs_once(self, tmp_path):
        text = "methods: {cross-entropy: {alpha: 0.0}, SMP: {}}\ngrid: {alpha: [0.3, 0.5]}\nseeds: 3"
        trials = sweep_of(tmp_path, text).trials()
        assert len(trials) == 3 + 3 * 2
        assert [trial.labels["alpha"] for trial in trials if trial.labels["method"] == "cross-entropy"] == [0, 0, 0]

    def test_the_name_of_a_trial_follows_from_its_parameters_and_not_from_places(self, tmp_path):
        text = "base: {dataset: cifar10, data_root: %s, epochs: %d}"
        one, moved, other = (sweep_of(tmp_path, text % values) for values in (("a", 2), ("b", 2), ("a", 3)))
        names = [sweep.trials()[0].name for sweep in (one, moved, other)]
        assert names[0] == names[1] != names[2]
        assert one.plan() == moved.plan()
        alike = sweep_of(tmp_path, "cases: {rate <0.1: {}, rate >0.1: {}}").trials()
        assert len({trial.name for trial in alike}) == 2

    def test_changes_go_over_the_base_and_the_base_over_the_other_file(self, tmp_path):
        (tmp_path / "other.yaml").write_text("epochs: 8\np: 3\nm: 9\n")
        sweep = sweep_of(tmp_path, "base_from: other.yaml\nbase: {p: 4, m: 8}\n").changed({"m": 7})
        assert sweep.trials()[0].parameters == {"epochs": 8, "p": 4, "m": 7, "seed": 0}

    def test_parts_are_all_of_it_and_share_nothing(self, tmp_path):
        sweep = sweep_of(tmp_path, "methods: {a: {}, b: {p: 2}}\nseeds: 5")
        parts = [sweep.model_copy(update={"part": f"{i}/3"}).trials() for i in (1, 2, 3)]
        assert sorted(len(part) for part in parts) == [3, 3, 4]
        assert {trial.name for part in parts for trial in part} == {trial.name for trial in sweep.trials()}

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("- 1", "of the form 'name: value'"),
            ("a: {", "line 1: "),
            ("bases: {}", "bases: Extra inputs are not permitted"),
            ("methods: [SMP]", "methods: Input should be a valid dictionary"),
            ("methods: {SMP: 3}", "methods: SMP: Input should be a valid dictionary, but it is 3"),
            ("methods: {}", "methods: "),
            ("cases: {}", "cases: "),
            ("grid: {p: []}", "grid: p: "),
            ("seeds: 0", "seeds: "),
            ("seeds: 1000000000000", "at most 10,000 seeds"),
            ("seeds: [1, 2, 1]", "a seed stands twice"),
            ("seeds: 2000\nmethods: {a: {}, b: {}}\ngrid: {p: [1, 2, 3]}", "make 12,000 trials"),
            ("base: {seed: 3}", "seed does nothing here"),
            ("grid: {gce_q: [0.5, 0.7]}\nmethods: {SMP: {}}", "gce_q is set, but it does nothing here"),
            ("seeds: [a]", "seeds: 0: "),
            ("seeds: true", "seeds: "),
            ("base: {alhpa: 0}", "There is no setting alhpa. Did you mean alpha?"),
            ("grid: {p: [0]}", "p must be "),
        ],
    )
    def test_a_faulty_one_is_refused_with_its_name(self, tmp_path, text, sentence):
        with pytest.raises(ValueError, match=r"sweep\.yaml.*" + sentence):
            sweep_of(tmp_path, text).trials()

    @pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
    def test_committed_ones_name_settings_that_exist_and_rows_that_are_theirs(self, path):
        sweep = read_sweep(path)
        sweep = sweep.changed(dict.fromkeys(PLACES_OF[sweep.base["dataset"]], "data"))
        assert len(sweep.trials()) > 1
        assert sweep.made_by == path.relative_to(ROOT).as_posix()
        assert sweep.rows is None or sweep.rows == ROOT / "notebooks" / "results" / f"{path.stem}.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of six trials, two of which fail: its folder, and what the command said."""
    folder = tmp_path_factory.mktemp("sweep")
    methods = {"cross-entropy": {"alpha": 0.0}, "SMP": {}, "broken": {"dataset": "clothing1m", "data_root": "nowhere"}}
    content = {"base": TINY, "methods": methods, "seeds": 2, "rows": "rows.json"}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        said = {"out": [], "err": []}
        patch.setattr(cli, "say", said["out"].append)
        patch.setattr(cli, "complain", lambda who, words: said["err"].append(words))
        code = cli.main(["sweep", str(folder / "sweep.yaml"), "--output", str(folder / "trials"), "--workers", "2"])
    return folder, code, said


class TestRunning:
    def test_it_ends_with_rows_of_what_finished_and_a_table(self, finished):
        folder, _, said = finished
        content = json.loads((folder / "rows.json").read_text())
        assert content["made_by"] == "sweep.yaml"
        assert content["plan"]["base"] == TINY
        assert content["made_from"] == [content["rows"][0]["made_from"]]
        assert [(row["method"], row["seed"]) for row in content["rows"]] == [
            ("cross-entropy", 0), ("SMP", 0), ("cross-entropy", 1), ("SMP", 1),
        ]  # fmt: skip
        for row in content["rows"]:
            assert row["noisy_accuracy"] == pytest.approx(0.6, abs=0.001)
            assert (row["label_accuracy"] is None) == (row["method"] == "cross-entropy")
            assert row["peak_memory_mb"] > 50
            assert row["test_curve"][-1] == pytest.approx(row["test_accuracy"], abs=1e-4)
        assert said["out"][0] == "6 trials, 0 of them finished before; 2 at a time"
        assert "test accuracy %" in said["out"][-2]

    def test_a_failure_is_told_with_its_reason_and_the_rest_goes_on(self, finished):
        folder, code, said = finished
        assert code == 1
        assert all(part in said["err"][0] for part in ("2 failed", "broken, seed 1: ", "nowhere"))
        assert json.loads((folder / "rows.json").read_text())["missing"] == ["broken, seed 0", "broken, seed 1"]

    def test_a_trial_gives_the_same_figures_as_a_run_at_hand(self, finished):
        row = json.loads((finished[0] / "rows.json").read_text())["rows"][-1]
        alone = row_of(run(Settings(**TINY, seed=1)))
        assert {k: v for k, v in alone.items() if k != "seconds"} == {k: row[k] for k in alone if k != "seconds"}

    def test_done_again_from_another_thread_it_does_what_is_left(self, finished):
        folder, ended = finished[0], []
        before = {path: path.stat().st_mtime for path in folder.glob("trials/*/row.json")}
        how = {"on_trial": lambda trial, *_: ended.append(str(trial))}
        with ThreadPoolExecutor() as threads, pytest.raises(SweepError) as caught:
            threads.submit(run_sweep, folder / "sweep.yaml", folder / "trials", **how).result()
        assert ended == ["broken, seed 0", "broken, seed 1"]
        assert len(caught.value.rows) == 4
        assert {path: path.stat().st_mtime for path in folder.glob("trials/*/row.json")} == before

    def test_rows_of_another_sweep_are_not_written_over(self, finished):
        folder, _, _ = finished
        before = (folder / "rows.json").read_bytes()
        other = read_sweep(folder / "sweep.yaml").model_copy(update={"made_by": "other.yaml"})
        with pytest.raises(ValueError, match=r"rows names .*rows\.json, which holds the rows of sweep\.yaml"):
            run_sweep(other, folder / "others")
        assert (folder / "rows.json").read_bytes() == before
        (folder / "list.json").write_text("[1]")
        with pytest.raises(ValueError, match="holds the rows of something else"):
            run_sweep(other.model_copy(update={"rows": folder / "list.json"}), folder / "others")

    def test_a_part_writes_no_rows(self, finished):
        folder, _, _ = finished
        sweep = read_sweep(folder / "sweep.yaml")
        ours = {name: changes for name, changes in sweep.methods.items() if name != "broken"}
        part = sweep.model_copy(update={"methods": ours, "part": "2/2", "rows": folder / "part.json"})
        assert [row["method"] for row in run_sweep(part, folder / "trials")] == ["SMP"] * 2
        assert not (folder / "part.json").exists()


def test_the_folder_is_locked_as_long_as_the_trial_works(tmp_path, monkeypatch):
    def is_locked(*_):
        try:
            with locked(tmp_path):
                seen.append(False)
        except RunFolderError:
            seen.append(True)

    seen = []
    monkeypatch.setattr(sweeps, "_train", is_locked)
    monkeypatch.setattr(sweeps, "_train_together", is_locked)
    for processes in (1, 2):
        (tmp_path / sweeps.TRIAL).write_text(json.dumps({"processes": processes, "device": "cpu"}))
        assert sweeps._main(tmp_path, os.getppid()) == 0
    is_locked()
    assert seen == [True, True, False]


def test_device_and_loader_workers_reach_the_run(tmp_path, monkeypatch):
    taken = Mock(side_effect=ValueError)
    monkeypatch.setattr(sweeps, "run", taken)
    job = {"parameters": TINY, "labels": {}, "device": "cpu", "loader_workers": 3, "processes": 1}
    (tmp_path / sweeps.TRIAL).write_text(json.dumps(job))
    assert sweeps._main(tmp_path, os.getppid()) == 1
    assert taken.call_args.kwargs == {"folder": tmp_path / "run", "device": "cpu", "loader_workers": 3}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "count"), [(signal.SIGTERM, 3), (signal.SIGINT, 2), (signal.SIGKILL, 1)])
def test_no_signal_is_lost_and_a_second_run_does_only_the_rest(number, count):
    faults = inject(number, count, again=1, longest=8.0, seed=1)
    assert [fault for fault in faults if not fault.well] == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["flips", "kills"])
def test_a_few_flipped_bits_and_killed_runs_change_nothing_unnoticed(what):
    command = [sys.executable, "-m", "benchmarks.faults", what, "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def two_processes(tmp_path):
    """The command of a sweep whose trial is trained by two processes without end, once it trains."""
    longer = TINY | {"epochs": 100_000}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"base": longer}))
    command = [sys.executable, "-m", "dsl_teach.cli", "sweep", str(tmp_path / "sweep.yaml"), "--processes", "2"]
    with subprocess.Popen([*command, "--device", "cpu", "--output", str(tmp_path / "trials")], cwd=ROOT) as process:
        wait_for(lambda: list(tmp_path.glob("trials/*/run/checkpoints/*.pt")) or process.poll() is not None)
        assert process.poll() is None
        yield psutil.Process(process.pid)
        process.kill()


@pytest.mark.slow
def test_processes_that_train_together_open_no_port_and_none_is_left_when_the_command_is_killed(two_processes):
    family = two_processes.children(recursive=True)
    ranks = [one for one in family if one.cmdline()[-1] in "01"]
    open_to = {place.laddr.ip for one in family for place in one.net_connections() if place.status == "LISTEN"}
    assert len(ranks) == 2
    assert open_to <= {"127.0.0.1", "::1"}
    two_processes.kill()
    assert not psutil.wait_procs(family, timeout=600)[1]


@pytest.mark.slow
def test_several_processes_train_a_trial(tmp_path, small_clothing1m):
    base = {"dataset": "clothing1m", "data_root": str(small_clothing1m), "network": "strided_cnn", "width": 4}
    base |= {"epochs": 2, "correction_start": 1, "batch_size": 8, "m": 20}
    folder = tmp_path / "with a space"
    (row,) = run_sweep(Sweep(base=base), folder, processes=2, loader_workers=1)
    assert len(row["test_curve"]) == 2
    (environment,) = folder.glob("*/run/environment.jsonl")
    assert json.loads(environment.read_text())["processes"] == "2"


def test_two_sweeps_in_one_folder_and_a_damaged_row_are_refused(tmp_path):
    sweep = Sweep(base=TINY)
    with locked(tmp_path), pytest.raises(RunFolderError, match="Another process"):
        run_sweep(sweep, tmp_path)
    row = tmp_path / sweep.trials()[0].name / sweeps.ROW
    row.parent.mkdir()
    write_checked(row, lambda file: file.write(b'{"test_accuracy": 0.695}'))
    assert sweeps.finished_row(row.parent) == {"test_accuracy": 0.695}
    row.write_bytes(b'{"test_accuracy": 0.813}')
    with pytest.raises(DamagedFile, match=f"{row}.*move {row.parent} away"):
        run_sweep(sweep, tmp_path)


def test_verified_labels_have_a_word_of_their_own(small_food101n):
    places = {"dataset": "food101n", "data_root": str(small_food101n), "test_root": str(small_food101n)}
    settings = Settings(**places, network="strided_cnn", width=4, epochs=1, correction_start=0, batch_size=16, m=20)
    done = run(settings)
    row = row_of(done)
    right = (done.data.verified == 1).nonzero().flatten().tolist()
    kept = [int(done.result.correction.labels[i]) == int(done.data.noisy_labels[i]) for i in right]
    assert row["verified_kept"] == sum(kept) / len(kept)
    assert row["label_accuracy"] is row["noisy_accuracy"] is None
    assert "verified labels kept %" in sweep_table([row | {"case": "", "method": "SMP"}])
    assert row_of(run(settings.replace(alpha=0.0)))["verified_kept"] is None


def test_recall_over_a_balanced_test_set_averages_to_the_accuracy():
    row = row_of(run(Settings(**TINY)))
    assert sum(row["class_recall"]) / 3 == pytest.approx(row["test_accuracy"], abs=1e-4)


def test_a_table_by_hand():
    rows = [
        {"case": "", "method": "SMP", "p": 1, "test_accuracy": x, "label_accuracy": None, "seconds": s,
         "peak_memory_mb": 9}
        for x, s in ((0.5, 1.0), (0.7, 3.0))
    ]  # fmt: skip
    line = sweep_table(rows, ["p"]).loc[("", "SMP", 1)]
    assert line["test accuracy %"] == "60.0 ± 127.1"  # t with one degree of freedom is 12.706
    assert line["corrected labels right %"] == ""
    assert (line["seconds"], line["memory MB"]) == ("2.0", "9")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert find_device("auto") == "cpu"
    for name in ("cuda", "gpu"):
        with pytest.raises(ValueError, match=f"{name} is not"):
            find_device(name)
