"""The batch runner: several cells at once, what is finished is left alone, failures are told and the rest goes on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from dsl_lessons import batch
from dsl_lessons.crew import places, reason
from dsl_lessons.tables import grid_table

TINY = """
base: {epochs: 2, width: 4, correction_start: 1, p: 2}
methods: {cross-entropy: {alpha: 0}, SMP: {}}
seeds: 2
rows: rows.json
"""


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run_batch(folder: Path) -> Done:
    """The command, without the seconds that a new interpreter takes to import everything."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = batch.main(arguments(folder))
    return Done(code, out.getvalue(), err.getvalue())


def arguments(folder: Path) -> list[str]:
    return [str(folder / "grid.yaml"), "--workers", "2", "--output", str(folder / "cells")]


def times_of_rows(folder: Path) -> dict[str, float]:
    return {path.parent.name: path.stat().st_mtime for path in (folder / "cells").glob("*/rows.json")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    (folder / "grid.yaml").write_text(TINY)
    return folder, run_batch(folder)


def test_a_grid_ends_with_rows_and_a_table(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    content = json.loads((folder / "rows.json").read_text())
    assert content["made_by"] == "grid.yaml"
    assert content["missing"] == []
    assert content["plan"]["methods"] == {"cross-entropy": {"alpha": 0}, "SMP": {}}
    assert [(row["method"], row["seed"]) for row in content["rows"]] == [
        ("cross-entropy", 0), ("SMP", 0), ("cross-entropy", 1), ("SMP", 1),
    ]  # fmt: skip
    for row in content["rows"]:
        assert 0 < row["test_accuracy"] <= 1
        assert row["noisy_accuracy"] == pytest.approx(0.6, abs=0.001)
        assert (row["label_accuracy"] is None) == (row["method"] == "cross-entropy")
        assert row["seconds"] > 0
        assert row["peak_memory_mb"] > 50
        assert len(row["test_curve"]) == 2
        assert len(row["class_recall"]) == 10
        assert row["test_curve"][-1] == pytest.approx(row["test_accuracy"], abs=1e-4)
    for words in ("cross-entropy", "SMP", "test accuracy %", "seconds", "memory MB"):
        assert words in done.stdout


def test_recall_over_a_balanced_test_set_averages_to_the_accuracy(finished):
    for row in json.loads((finished[0] / "rows.json").read_text())["rows"]:
        assert sum(row["class_recall"]) / 10 == pytest.approx(row["test_accuracy"], abs=1e-4)


def test_the_same_command_runs_nothing_anew(finished):
    folder, _ = finished
    before = times_of_rows(folder)
    again = run_batch(folder)
    assert again.returncode == 0
    assert "4 cells, 4 of them finished before" in again.stdout
    assert times_of_rows(folder) == before


def test_a_cell_gives_the_same_figures_as_a_run_at_hand(finished):
    from dsl_teach import Settings, run

    rows = json.loads((finished[0] / "rows.json").read_text())["rows"]
    alone = run(Settings(epochs=2, width=4, correction_start=1, p=2, seed=1))
    assert rows[-1]["test_accuracy"] == alone.result.history[-1].test_accuracy


def test_a_failure_is_told_and_the_rest_goes_on(tmp_path):
    text = "base: {epochs: 1, width: 4}\nmethods: {fine: {}, broken: {dataset: clothing1m, data_root: nowhere}}\n"
    (tmp_path / "grid.yaml").write_text(text)
    done = run_batch(tmp_path)
    assert done.returncode == 1
    assert "1 failed" in done.stderr
    assert "broken, seed 0: FileNotFoundError" in done.stderr
    assert "nowhere" in done.stderr
    content = json.loads((tmp_path / "cells" / "rows.json").read_text())
    assert [row["method"] for row in content["rows"]] == ["fine"]
    assert content["missing"] == ["broken, seed 0"]


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("base: {p: 0}", (), "p must be at least 1, but it is 0"),
        ("base: {}", ("--set", "alhpa=0.5"), "There is no setting alhpa"),
        ("base: {}", ("--set", "alpha"), "--set takes NAME=VALUE"),
        ("base: {}", ("--workers", "-1"), "workers must be at least 1"),
        ("base: {}", ("--output", "/dev/null/x"), "cannot be written to"),
    ],
)
def test_misuse_ends_with_a_sentence_and_code_2(tmp_path, capsys, text, more, sentence):
    (tmp_path / "grid.yaml").write_text(text)
    assert batch.main([str(tmp_path / "grid.yaml"), "--output", str(tmp_path / "cells"), *more]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_grid_does_only_the_rest(tmp_path, number):
    program = [sys.executable, "-m", "dsl_lessons.batch", *arguments(tmp_path)]
    (tmp_path / "grid.yaml").write_text(TINY.replace("epochs: 2", "epochs: 12").replace("seeds: 2", "seeds: 3"))
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
        for line in job.stdout:
            if line.startswith("2 of 6"):
                break
        os.kill(job.pid, number)
        job.stdout.read()
    assert job.returncode == (130 if number == signal.SIGTERM else -number)
    before = times_of_rows(tmp_path)
    assert 2 <= len(before) < 6
    again = run_batch(tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {name: time_ for name, time_ in times_of_rows(tmp_path).items() if name in before} == before
    assert len(json.loads((tmp_path / "rows.json").read_text())["rows"]) == 6


def notebook(path: Path, *cells: str) -> None:
    first = nbformat.v4.new_code_cell("seed = 0\noutput_folder = ''\nbroken = False", metadata={"tags": ["parameters"]})
    made = nbformat.v4.new_notebook(cells=[first, *(nbformat.v4.new_code_cell(cell) for cell in cells)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)


WRITE = """
import json, pathlib
if broken:
    raise ValueError("p must be at least 1")
folder = pathlib.Path(output_folder)
folder.mkdir(parents=True, exist_ok=True)
row = {"test_accuracy": 0.5 + seed / 10, "seconds": 1.0, "made_from": "nothing", "seed": seed}
(folder / "results.json").write_text(json.dumps({"rows": [row]}))
"""


def test_a_grid_of_notebooks(tmp_path):
    notebook(tmp_path / "lesson.ipynb", WRITE)
    (tmp_path / "grid.yaml").write_text(
        "notebook: lesson.ipynb\nmethods: {fine: {}, wrong: {broken: true}}\nseeds: [1, 2]\nrows: rows.json"
    )
    done = run_batch(tmp_path)
    assert done.returncode == 1
    assert "wrong, seed 1: RuntimeError: ValueError: p must be at least 1 (in lesson.ipynb)" in done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["method"], row["seed"], row["test_accuracy"]) for row in rows] == [("fine", 1, 0.6), ("fine", 2, 0.7)]
    kept = list((tmp_path / "cells").glob("wrong-*/lesson.ipynb"))
    assert len(kept) == 2, "the output notebook of a failed cell is kept"


def test_a_notebook_without_results_has_failed_whatever_papermill_says(tmp_path):
    notebook(tmp_path / "lesson.ipynb", "1 + 1")
    (tmp_path / "grid.yaml").write_text("notebook: lesson.ipynb")
    done = run_batch(tmp_path)
    assert done.returncode == 1
    assert "lesson.ipynb ended without its results.json" in done.stderr


def test_processes_share_the_gpus():
    assert places(2, 1, 0) == [{"OMP_NUM_THREADS": "1"}] * 2
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(4, 1, 4)] == ["0", "1", "2", "3"]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(2, 4, 8)] == ["0,1,2,3", "4,5,6,7"]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(3, 1, 2)] == ["0", "1", "0"]


def test_why_a_cell_failed(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("Traceback\ncell failed: ValueError: p\nreport of torchrun\n")
    assert reason(1, log) == "ValueError: p"
    log.write_text("")
    assert reason(-9, log) == "ended by signal 9, as when memory is short"
    assert reason(3, log) == "exit code 3"


def test_a_table_by_hand():
    rows = [
        {"case": "", "method": "SMP", "p": 1, "test_accuracy": x, "label_accuracy": None, "seconds": s,
         "peak_memory_mb": 9}
        for x, s in ((0.5, 1.0), (0.7, 3.0))
    ]  # fmt: skip
    line = grid_table(pd.DataFrame(rows), ["p"]).loc[("", "SMP", 1)]
    assert line["test accuracy %"] == "60.0 ± 127.1"  # t with one degree of freedom is 12.706
    assert line["corrected labels right %"] == ""
    assert (line["seconds"], line["memory MB"]) == ("2.0", "9")
