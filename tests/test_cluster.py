"""Trials as jobs of submitit: the rows of plain processes, failures told; what is stopped or queued again continues."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from dsl_teach import sweep
from dsl_teach.workers import Job, submit
from tests import wait_for

pytest.importorskip("submitit")

TOY = "base: {dataset: toy_clusters, network: mlp, epochs: 2, correction_start: 1}\nmethods: {SMP: {}}\nseeds: 2\n"
LONG = TOY.replace("epochs: 2", "epochs: 500")


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return path


def without_cost(rows):
    return [{name: x for name, x in row.items() if name not in ("seconds", "peak_memory_mb")} for row in rows]


@pytest.mark.slow
def test_jobs_give_the_rows_of_plain_processes(plan, tmp_path):
    plain = sweep.run_sweep(plan, tmp_path / "plain")
    for executor in ("debug", "local"):
        rows = sweep.run_sweep(plan, tmp_path / executor, executor=executor, workers=2, asked={"timeout_min": 5})
        assert without_cost(rows) == without_cost(plain)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["debug", "local"])
def test_a_job_that_fails_is_told_and_costs_the_others_nothing(plan, tmp_path, executor):
    plan.write_text(TOY.replace("methods: {SMP: {}}", "methods: {SMP: {}, bad: {network: small_cnn}}"))
    with pytest.raises(sweep.SweepError, match="set it to mlp") as failed:
        sweep.run_sweep(plan, tmp_path / "runs", executor=executor)
    assert len(failed.value.rows) == 2


def at_work_in(folder):
    return [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_queued_again_and_continues(plan, tmp_path):
    """Slurm's signal before a time limit, sent by hand: the trial saves, and the same call goes on."""
    import submitit

    plan.write_text(LONG.replace("seeds: 2", "seeds: 1"))
    (trial,) = sweep.read_sweep(plan).trials()
    folder = tmp_path / trial.name
    folder.mkdir()
    job = {"labels": trial.labels, "parameters": trial.parameters, "device": "cpu", "processes": 1, "loader_workers": 0}
    sweep.write_atomically(folder / sweep.TRIAL, sweep.json.dumps(job))
    executor = submitit.AutoExecutor(tmp_path / "jobs", cluster="local")
    executor.update_parameters(timeout_min=20)
    at_work = executor.submit(Job(sweep.command), folder)
    history = folder / "run" / "history.jsonl"
    wait_for(history.exists)
    (task,) = psutil.Process(int(at_work.job_id)).children()
    task.send_signal(signal.SIGUSR2)
    wait_for(lambda: not task.is_running() or task.status() == psutil.STATUS_ZOMBIE)
    before = len(history.read_text().splitlines())
    wait_for(lambda: len(history.read_text().splitlines()) > before)
    environments = (folder / "run" / "environment.jsonl").read_text().splitlines()
    at_work.cancel()
    assert len(environments) == 2  # begun, and gone on with
    wait_for(lambda: not at_work_in(folder))


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "debug"])
def test_a_sweep_of_jobs_that_is_stopped_leaves_nothing_at_work(plan, tmp_path, executor):
    plan.write_text(LONG)
    output = tmp_path / "runs"
    command = [sys.executable, "-m", "dsl_teach.cli", "sweep", plan, "--output", output, "--executor", executor]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wait_for(lambda: list(output.glob("*/run/history.jsonl")))
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM
    wait_for(lambda: not at_work_in(output))


@pytest.mark.parametrize(
    ("executor", "asked", "sentence"),
    [("local", {"no_such": 1}, "no_such"), ("cloud", {}, "--executor cloud cannot be used")],
)
def test_what_nobody_knows_is_refused(tmp_path, executor, asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        submit([tmp_path], sweep.command, print, tmp_path, executor, at_once=1, asked=asked)
