"""The dsl-teach command: what it prints, where it writes, how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest

from dsl_teach import cli
from dsl_teach.config import Settings, help_text
from dsl_teach.storage import damages, write_checked
from dsl_teach.training.checkpoint import run_folder

ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-m", "dsl_teach.cli"]
CONFIG = "epochs: 2\ncorrection_start: 1\nwidth: 4\nbatch_size: 256\n"


@pytest.fixture
def config(tmp_path):
    (tmp_path / "run.yaml").write_text(CONFIG)
    return tmp_path / "run.yaml"


def train(config, *more):
    return cli.main(["train", str(config), "--output", str(config.parent / "runs"), "--device", "cpu", *more])


def test_train_prints_a_line_an_epoch_and_show_reads_the_run(config, capsys):
    assert train(config) == 0
    lines = capsys.readouterr().out.splitlines()
    folder = run_folder(config.parent / "runs", Settings.from_yaml(config))
    assert lines[0] == f"Run folder {folder}"
    assert re.match("epoch 1 of 2, .*test accuracy", lines[1])
    assert re.match("epoch 2 of 2, .*labels right", lines[2])
    assert lines[-1] == f"Look at it with: dsl-teach show {folder}"
    assert cli.main(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("labels right %", "2 of 2 epochs, finished"))
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert train(config) == 0
    assert f"Run folder {folder}, continued" in capsys.readouterr().out


def test_changed_settings_open_another_folder(config, capsys):
    for change in ("seed=3", "learning_rate=1e-3"):
        assert train(config, "--set", "epochs=1", "--set", change) == 0
    settings = [Settings.from_yaml(folder / "settings.yaml") for folder in (config.parent / "runs").iterdir()]
    assert {(s.epochs, s.seed, s.learning_rate) for s in settings} == {(1, 3, 0.05), (1, 0, 0.001)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("epoch=3", "There is no setting epoch. Did you mean epochs?"),
        ("epochs=0", "epochs must be "),
        ("epochs=few", "epochs must be "),
        ("epochs", "--set takes NAME=VALUE"),
        ("fill_up=maybe", "fill_up must be "),
        ("correction_mode=fast", "correction_mode must be "),
        ("gce_q=0.5", "gce_q is set, but it does nothing here"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(config, capsys, change, sentence):
    assert train(config, "--set", change) == 2
    assert sentence in capsys.readouterr().err
    assert not (config.parent / "runs").exists()


def test_a_missing_config_and_a_folder_that_is_none_are_named(tmp_path, config, capsys):
    assert cli.main(["train", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
    (tmp_path / "runs").write_text("in the way")
    assert train(config) == 1
    assert "cannot be written to" in capsys.readouterr().err
    assert cli.main(["show", str(tmp_path)]) == 1
    assert "is no run folder" in capsys.readouterr().err
    config.rename(tmp_path / "settings.yaml")
    for text, said in (
        ('{"epoch": 0, "los', "is no whole JSON file"),
        ('{"epoch": "x"}', "is not the history of a run"),
    ):
        (tmp_path / "history.jsonl").write_text(text)
        assert cli.main(["show", str(tmp_path)]) == 1
        assert f"{tmp_path / 'history.jsonl'} {said}" in capsys.readouterr().err


def test_check_tells_what_is_damaged_by_its_exit_code_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dsl_teach.training.checkpoint.check", damages, raising=False)
    for name in ("a.json", "b.json"):
        write_checked(tmp_path / name, lambda file: file.write(b"{}"))
    assert cli.main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "Nothing is damaged: 2 files.\n"
    (tmp_path / "b.json").write_text("{ ")
    assert cli.main(["check", str(tmp_path)]) == 1
    assert "b.json is damaged" in capsys.readouterr().out


def test_show_without_matplotlib_still_shows_the_table(config, capsys, monkeypatch):
    train(config, "--set", "epochs=1")
    folder = run_folder(config.parent / "runs", Settings.from_yaml(config).replace(epochs=1))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("learning rate", "install the lab extra"))
    assert not (folder / "curves.png").exists()


def test_doctor_names_versions_data_and_what_to_do(tmp_path, capsys):
    (tmp_path / "cifar10" / "cifar-10-batches-py").mkdir(parents=True)
    assert cli.main(["doctor", "--data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = {line[:14].strip(): line[15:] for line in lines if line}
    assert facts["CIFAR-10"] == "there"
    assert facts["Clothing1M"].startswith(f"not in {tmp_path}; get it from its authors")
    assert {"Python", "torch", "accelerator", "threads", "memory", "free disk", "allocator", "bfloat16"} <= set(facts)
    assert "What to do" in lines


def started(*arguments):
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_sigterm_ends_the_command_with_a_sentence_and_143(config):
    output = config.parent / "runs"
    with started("train", config, "--set", "epochs=10000", "--output", output, "--device", "cpu") as process:
        while not process.stdout.readline().startswith("epoch 3 "):
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 143
    assert errors.startswith("dsl-teach: Stopped by SIGTERM in epoch ")
    assert errors.endswith("Run it again to continue.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_signal_while_it_starts_up_ends_it_without_a_traceback(config, command, number):
    with started(command, config, "--output", config.parent / "runs") as process:
        while not any("libtorch" in place.path for place in psutil.Process(process.pid).memory_maps()):
            time.sleep(0.01)
        process.send_signal(number)
        out, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert errors == f"dsl-teach: Stopped by {number.name}.\n"
    assert out == ""


def test_a_signal_when_all_is_done_changes_nothing():
    program = "import os, sys; from dsl_teach import cli; code = cli.main(); os.kill(os.getpid(), 15); sys.exit(code)"
    assert subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("base: {p: 0}", (), "p must be "),
        ("base: {}", ("--set", "alhpa=0.5"), "There is no setting alhpa"),
        ("base: {}", ("--part", "3/2"), "part must be I/N"),
        ("base: {}", ("--part", "half"), "part must be I/N"),
        ("base: {}", ("--device", "gpu"), "gpu is not"),
        ("base: {}", ("--workers", "0"), "--workers"),
        ("base: {}", ("--output", "/dev/null/x"), "cannot be written to"),
    ],
)
def test_a_sweep_that_cannot_be_run_ends_with_a_sentence_and_code_2(tmp_path, capsys, text, more, sentence):
    (tmp_path / "sweep.yaml").write_text(text)
    assert cli.main(["sweep", str(tmp_path / "sweep.yaml"), "--output", str(tmp_path / "trials"), *more]) == 2
    assert sentence in capsys.readouterr().err


def test_help_names_every_setting_and_imports_no_torch():
    program = "import sys; from dsl_teach import cli; code = cli.main(); print('torch' in sys.modules, code)"
    settings = [f"\n  {name} " for group in help_text().values() for name in group]
    for words, named in (([], ["train", "sweep", "show", "check", "doctor"]), (["train"], settings)):
        command = [sys.executable, "-c", program, *words, "--help"]
        said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
        assert said.endswith("False 0\n")
        assert all(name in said for name in named)


def test_warnings_are_plain_notes(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "draw", lambda *_: warnings.warn("the ink is low", stacklevel=1))
    (tmp_path / "settings.yaml").write_text("epochs: 2")
    (tmp_path / "history.jsonl").write_text('{"epoch": 0, "loss": 1.0}\n')
    assert cli.main(["show", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == "Note: the ink is low\n"
    assert "1 of 2 epochs, not finished" in captured.out


def test_in_a_terminal_there_is_a_bar(config, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert train(config) == 0
    captured = capsys.readouterr()
    assert "epoch 2.00 of 2" in captured.err
    assert "epoch 2 of 2, loss" in captured.out
