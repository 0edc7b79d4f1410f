"""A sweep: cases x methods x grid x seeds of a YAML file -> trials -> rows; each trial is a process of its own.

base_from: other.yaml            # settings that all trials share, from another file beside this one
base: {epochs: 40}               # and here; this counts
cases: {even: {}, uneven: {rarest_share: 0.2}}
methods: {cross-entropy: {alpha: 0}, SMP: {}}
grid: {p: [1, 8]}                # every combination; a method that names a setting keeps its own value
seeds: 10                        # 0 to 9; or a list
rows: ../results/my_sweep.json   # where the rows go, seen from the folder of the YAML file
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import resource
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dsl_teach.config import PLACES, CountOrOff, Settings
from dsl_teach.files import read_yaml
from dsl_teach.metrics import accuracy, interval
from dsl_teach.storage import locked, open_folder, write_atomically
from dsl_teach.training.checkpoint import Interrupted
from dsl_teach.training.evaluation import predict
from dsl_teach.training.hardware import environment
from dsl_teach.training.runs import Run, make_batches, run, summary
from dsl_teach.workers import FAILED, LOG, end_with, places, work

if TYPE_CHECKING:
    import pandas as pd

TRIAL, ROW, WHOLE = "trial.json", "row.json", "1/1"

Row = dict[str, Any]
Changes = Annotated[dict[str, Any], BeforeValidator(lambda said: {} if said is None else said)]
Values = Annotated[list[Any], BeforeValidator(lambda said: said if isinstance(said, list) else [said])]
Seeds = Annotated[
    tuple[CountOrOff, ...],
    BeforeValidator(lambda said: range(said) if type(said) is int else said),
    Field(min_length=1),
]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its place there, and the settings that are named."""

    labels: dict[str, Any]
    """``case``, ``method``, the values of the grid, ``seed``: they end its row."""
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its folder: words for people, and a hash of the parameters without places."""
        said = [re.sub(r"[^\w.]+", "_", str(value)).strip("_") for value in self.labels.values() if value != ""]
        kept = {name: value for name, value in self.parameters.items() if name not in PLACES}
        return f"{'-'.join(said)[:80]}-{hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        names = [str(self.labels[name]) for name in ("case", "method") if self.labels[name] != ""]
        return ", ".join(names + [f"{name} {x}" for name, x in self.labels.items() if name not in ("case", "method")])


class Sweep(BaseModel):
    """What the YAML file of a sweep says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Changes = {}
    cases: dict[str, Changes] = {"": {}}
    methods: dict[str, Changes] = {"": {}}
    grid: dict[str, Values] = {}
    seeds: Seeds = (0,)
    rows: Path | None = None
    made_by: str = ""
    part: str = WHOLE
    """Which of how many parts to do, 1/4 say: none of them writes the rows."""

    def changed(self, changes: Mapping[str, Any]) -> Sweep:
        """The same sweep with these settings over those of its base: a data folder, say."""
        return self.model_copy(update={"base": self.base | dict(changes)})

    def trials(self) -> list[Trial]:
        """Every trial once, with valid settings; seed by seed, so that an unfinished sweep holds whole comparisons."""
        which, _, parts = self.part.partition("/")
        if not (which.isdigit() and parts.isdigit() and 1 <= int(which) <= int(parts)):
            raise ValueError(f"part must be I/N with I from 1 to N, 1/4 say, but it is {self.part!r}.")
        return list({trial.name: trial for trial in self._trials()}.values())[int(which) - 1 :: int(parts)]

    def _trials(self) -> Iterator[Trial]:
        grid = [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]
        for seed, case, method, chosen in itertools.product(self.seeds, self.cases, self.methods, grid):
            parameters = self.base | chosen | self.cases[case] | self.methods[method] | {"seed": seed}
            try:
                Settings(**parameters)
            except ValueError as error:
                raise ValueError(f"{self.made_by}: {error}") from error
            values = {name: parameters[name] for name in self.grid}
            yield Trial({"case": case, "method": method, **values, "seed": seed}, parameters)

    def plan(self) -> dict[str, Any]:
        """What the rows were made by, without places on this machine."""
        said = self.model_dump(include={"base", "cases", "methods", "grid", "seeds"})
        return said | {"base": {name: value for name, value in self.base.items() if name not in PLACES}}


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep from its YAML file; a ValueError if that holds anything else."""
    path = Path(path)
    try:
        said = read_yaml(path)
        if "base_from" in said:
            said["base"] = read_yaml(path.parent / said.pop("base_from")) | (said.get("base") or {})
        if "rows" in said:
            said["rows"] = (path.parent / said["rows"]).resolve()
        return Sweep(**{"made_by": _name_of(path), **said})
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join(str(name) for name in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}, but it is {first['input']!r}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _name_of(path: Path) -> str:
    """A file of the repository by its path in it; any other by its name alone."""
    home, path = Path(__file__).resolve().parents[1], path.resolve()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name


class SweepError(RuntimeError):
    """Some trials failed; the others are finished, and their rows are here."""

    def __init__(self, failed: Mapping[str, str], rows: list[Row]):
        told = "\n".join(f"  {name}: {problem}" for name, problem in failed.items())
        super().__init__(f"{len(failed)} failed:\n{told}\nTheir {LOG} tells more. The same command tries them again.")
        self.rows = rows


def run_sweep(
    sweep: Sweep | str | Path,
    output: str | Path,
    *,
    changes: Mapping[str, Any] | None = None,
    workers: int = 1,
    device: str = "auto",
    processes: int = 1,
    loader_workers: int = 0,
    on_trial: Callable[[Trial, Row | None, str], object] | None = None,
) -> list[Row]:
    """Run every trial of a sweep, or of its YAML file, that is not finished yet; write and return the rows of all.

    Each trial gets a folder of its own in ``output``; a second call with the same one does what is left. ``workers``
    trials run at a time, each with one thread, or trained by ``processes`` together, each with its ``loader_workers``.
    ``changes`` are for the base. ``on_trial`` is called with each trial as it ends, its row, and why there is none.

    Raises:
        ValueError: if a trial has no valid settings, or the device is not there.
        SweepError: if trials failed, after all others are finished.
        Interrupted: if SIGTERM, SIGHUP or Ctrl-C asked to stop; the trials have saved what they have.
    """
    sweep = (sweep if isinstance(sweep, Sweep) else read_sweep(sweep)).changed(changes or {})
    trials, output = sweep.trials(), open_folder(output).resolve()
    how = {"device": find_device(device), "processes": processes, "loader_workers": loader_workers}
    gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    gpus = gpus or [str(number) for number in range(torch.cuda.device_count())]
    free = places(workers, processes, gpus if how["device"] == "cuda" else [])
    failed: dict[str, str] = {}
    left = {output / trial.name: trial for trial in trials if not finished_row(output / trial.name)}

    def note(folder: Path, problem: str) -> None:
        row = finished_row(folder)
        if row is None:
            failed[str(left[folder])] = problem
        if on_trial is not None:
            on_trial(left[folder], row, "" if row else problem)

    for folder, trial in left.items():
        job = {"labels": trial.labels, "parameters": trial.parameters, **how}
        write_atomically(open_folder(folder) / TRIAL, json.dumps(job, indent=1) + "\n")
    commands = {folder: [sys.executable, "-m", "dsl_teach.sweep", str(folder), str(os.getpid())] for folder in left}
    stopped = work(commands, free, note)
    if stopped:
        raise Interrupted(f"Stopped by {stopped.name}. The same command goes on with what is left.", stopped)
    rows = [row for trial in trials if (row := finished_row(output / trial.name))]
    if sweep.part == WHOLE:
        _write_rows(sweep, rows, sorted(failed), output)
    if failed:
        raise SweepError(failed, rows)
    return rows


def finished_row(folder: Path) -> Row | None:
    """What the trial of a folder came to; None if it is not finished. The file is written last, and whole."""
    path = folder / ROW
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def find_device(name: str) -> str:
    """``"cpu"`` or ``"cuda"``, for ``"auto"`` a GPU where there is one; a ValueError if the device is not there."""
    there = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda") or (name == "cuda" and not there):
        raise ValueError(f"device must be auto, or one that is there, cpu or cuda; {name} is not.")
    return "cuda" if there and name != "cpu" else "cpu"


def _write_rows(sweep: Sweep, rows: Sequence[Row], missing: list[str], output: Path) -> None:
    """All rows in one file that reads well in a diff: one a line."""
    sources, path = sorted({str(row["made_from"]) for row in rows}), sweep.rows or output / "rows.json"
    head = {"made_by": sweep.made_by, "made_from": sources, "plan": sweep.plan(), "missing": missing}
    head |= {"environment": environment(output)}
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    open_folder(path.parent)
    write_atomically(path, f'{text},\n "rows": [\n  {lines}\n ]\n}}\n')


def row_of(finished: Run) -> Row:
    """The figures of a finished run, shares from 0 to 1; None where nobody can know. Taken on the run's device."""
    data, history, said = finished.data, finished.result.history, summary(finished)
    clean = data.clean_labels
    return {
        **{name: said.get(name) for name in ("made_from", "test_accuracy", "label_accuracy", "memorised", "changed")},
        "noisy_accuracy": accuracy(data.noisy_labels, clean) if clean is not None else None,
        **({} if data.verified is None else {"verified_kept": said["verified_kept"]}),
        "seconds": round(sum(record.seconds_training + record.seconds_correction for record in history), 2),
        "class_recall": _class_recall(finished),
        "test_curve": [round(record.test_accuracy, 4) for record in history],
        "label_curve": [record.label_accuracy and round(record.label_accuracy, 4) for record in history],
    }


def _class_recall(finished: Run) -> list[float | None]:
    """For each class, the share of its test samples that the network gives the right label."""
    device = next(finished.network.parameters()).device
    _, test = make_batches(finished.data, finished.settings, device)
    labels, predicted = test.noisy_labels, predict(finished.network, test)
    parts = [labels == c for c in range(finished.data.num_classes)]
    return [round(accuracy(predicted[part], labels[part]), 4) if part.any() else None for part in parts]


SHARES = {
    "test_accuracy": "test accuracy %",
    "noisy_accuracy": "noisy labels right %",
    "label_accuracy": "corrected labels right %",
    "verified_kept": "verified labels kept %",
    "memorised": "memorised %",
}
PEAKS = {"peak_memory_mb": "memory MB", "peak_gpu_memory_mb": "GPU memory MB"}
"""Columns of rows, and their titles in the table."""


def sweep_table(rows: Sequence[Row] | pd.DataFrame, grid: Sequence[str] = ()) -> pd.DataFrame:
    """One line for each case, method and value of the grid: means with 95 % intervals over seeds, and cost."""
    import pandas as pd

    def mean(column: pd.Series) -> str:
        known = (100 * column.astype(float)).dropna().tolist()
        return str(interval(known)) if known else ""

    def greatest(column: pd.Series) -> str:
        return f"{column.max():.0f}" if column.notna().any() else ""

    frame = pd.DataFrame(rows)
    groups = frame.groupby(["case", "method", *grid], sort=False, dropna=False)
    columns = {"seeds": groups.size()} | {SHARES[name]: groups[name].agg(mean) for name in SHARES if name in frame}
    columns["seconds"] = groups["seconds"].mean().map("{:.1f}".format)
    columns |= {PEAKS[name]: groups[name].agg(greatest) for name in PEAKS if name in frame}
    return pd.DataFrame(columns)


def _main(folder: Path, parent: int) -> int:
    """The process of a trial, or one that torchrun started for it; returns its exit code."""
    end_with(parent)
    try:
        job = json.loads((folder / TRIAL).read_text(encoding="utf-8"))
        if "TORCHELASTIC_RUN_ID" in os.environ:
            _train(folder, job)
            return 0
        with locked(folder, wait=True):  # a trial of a sweep that was killed may still be saving
            if not finished_row(folder):
                _train(folder, job) if job["processes"] == 1 else _torchrun(folder, job["processes"])
    except BaseException as error:  # also what a signal raises: whatever ended it is to be told
        traceback.print_exc()
        sys.stderr.write(f"{FAILED}{_in_a_line(error)}\n")
        return 1
    return 0


def _train(folder: Path, job: Mapping[str, Any]) -> None:
    """A run in the folder ``run``; one that was broken off is continued."""
    settings = Settings(**job["parameters"])
    finished = run(settings, folder=folder / "run", device=job["device"], loader_workers=job["loader_workers"])
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0":
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
        memory = {"peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
        if torch.cuda.is_initialized():
            memory["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
        write_atomically(folder / ROW, json.dumps(row_of(finished) | memory | job["labels"]) + "\n")


def _torchrun(folder: Path, processes: int) -> None:
    """Be torchrun oneself, so that the lock is held as long as its processes train."""
    from torch.distributed.run import main

    again = ["-m", "dsl_teach.sweep", str(folder), str(os.getpid())]
    main(["--standalone", f"--nproc_per_node={processes}", *again])


def _in_a_line(error: BaseException) -> str:
    if hasattr(error, "get_first_failure"):  # of torchrun; the process itself has told more, unless it was killed
        rank, failure = error.get_first_failure()
        return f"process {rank} ended with exit code {failure.exitcode}"
    return f"{type(error).__name__}: {(str(error).strip() or 'no more is said').splitlines()[-1]}"


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), int(sys.argv[2])))
