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
import math
import os
import re
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dsl_teach.config import CountOrOff, Settings, require_kind, require_use, without_places
from dsl_teach.errors import is_users, sentence
from dsl_teach.files import read_json, read_yaml
from dsl_teach.metrics import accuracy, interval
from dsl_teach.storage import DamagedFile, locked, open_folder, read_checked, write_atomically, write_checked
from dsl_teach.training.checkpoint import Interrupted
from dsl_teach.training.distributed import MEETING, find_device
from dsl_teach.training.evaluation import predict
from dsl_teach.training.runs import Run, environment, make_batches, run, summary
from dsl_teach.workers import FAILED, LOG, end_with, places, submit, work

if TYPE_CHECKING:
    import pandas as pd

TRIAL, ROW, WHOLE = "trial.json", "row.json", "1/1"

Row = dict[str, Any]
Changes = Annotated[dict[str, Any], BeforeValidator(lambda said: {} if said is None else said)]
Named = Annotated[dict[str, Changes], Field(min_length=1)]
Values = Annotated[
    list[Any], BeforeValidator(lambda said: said if isinstance(said, list) else [said]), Field(min_length=1)
]
MOST = 10_000
"""Seeds of a sweep, and trials."""


def _read_seeds(said: Any) -> Any:
    """A number stands for so many seeds from 0."""
    if type(said) is int:
        if said > MOST:
            raise ValueError(f"at most {MOST:,} seeds are taken")
        return tuple(range(said))
    if isinstance(said, list) and len({str(seed) for seed in said}) < len(said):
        raise ValueError("a seed stands twice")
    return said


Seeds = Annotated[tuple[CountOrOff, ...], BeforeValidator(_read_seeds), Field(min_length=1, max_length=MOST)]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its place there, and the settings that are named."""

    labels: dict[str, Any]
    """``case``, ``method``, the values of the grid, ``seed``: they end its row."""
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its folder: words for people, and a hash of the labels and of the parameters without places."""
        said = [re.sub(r"[^\w.]+", "_", str(value)).strip("_") for value in self.labels.values() if value != ""]
        whole = json.dumps([self.labels, without_places(self.parameters)], sort_keys=True)
        return f"{'-'.join(said)[:80]}-{hashlib.sha256(whole.encode()).hexdigest()[:10]}"

    def __str__(self) -> str:
        names = [str(self.labels[name]) for name in ("case", "method") if self.labels[name] != ""]
        return ", ".join(names + [f"{name} {x}" for name, x in self.labels.items() if name not in ("case", "method")])


class Sweep(BaseModel):
    """What the YAML file of a sweep says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Changes = {}
    cases: Named = {"": {}}
    methods: Named = {"": {}}
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
        try:
            trials = list({trial.name: trial for trial in self._trials()}.values())
            require_use(*(Settings(**trial.parameters) for trial in trials))
        except ValueError as error:
            raise ValueError(f"{self.made_by}: {error}") from error
        return trials[int(which) - 1 :: int(parts)]

    def _trials(self) -> Iterator[Trial]:
        layers = [self.base, self.grid, *self.cases.values(), *self.methods.values()]
        if any("seed" in layer for layer in layers):
            raise ValueError("seed does nothing here: seeds says which there are. Leave it out.")
        values: list[Sequence[Any]] = [self.seeds, list(self.cases), list(self.methods), *self.grid.values()]
        if (count := math.prod(map(len, values))) > MOST:
            raise ValueError(f"seeds, cases, methods and grid make {count:,} trials, more than {MOST:,}. Take fewer.")
        for seed, case, method, *chosen in itertools.product(*values):
            grid = dict(zip(self.grid, chosen, strict=True))
            parameters = self.base | grid | self.cases[case] | self.methods[method] | {"seed": seed}
            kept = {name: parameters[name] for name in self.grid}
            yield Trial({"case": case, "method": method, **kept, "seed": seed}, parameters)

    def plan(self) -> dict[str, Any]:
        """What the rows were made by, without places on this machine."""
        said = self.model_dump(include={"base", "cases", "methods", "grid", "seeds"})
        return said | {"base": without_places(self.base)}


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep from its YAML file; a ValueError if that holds anything else."""
    path, home = Path(path), Path(__file__).resolve().parents[1]
    made_by = path.resolve().relative_to(home).as_posix() if path.resolve().is_relative_to(home) else path.name
    try:
        said = read_yaml(path)
        require_kind(path, said, Sweep.model_fields.keys() | {"base_from"})
        for name in said.keys() & {"base_from", "rows"}:
            if not isinstance(said[name], str):
                raise ValueError(f"{name} must be the path of a file, but it is {said[name]!r}.")
            said[name] = (path.parent / said[name]).resolve()
        base = read_yaml(said.pop("base_from")) if "base_from" in said else {}
        sweep = Sweep(**{"made_by": made_by, **said})
        return sweep.model_copy(update={"base": base | sweep.base})
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join(str(name) for name in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}, but it is {first['input']!r}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


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
    workers: int = 1,
    device: str = "auto",
    processes: int = 1,
    loader_workers: int = 0,
    trial_minutes: float = 0.0,
    executor: str | None = None,
    asked: Mapping[str, Any] | None = None,
    on_trial: Callable[[Trial, Row | None, str], object] | None = None,
) -> list[Row]:
    """Run every trial of a sweep, or of its YAML file, that is not finished yet; write and return the rows of all.

    Each trial gets a folder of its own in ``output``; a second call with the same one does what is left. ``workers``
    trials run at a time, each with one thread, or trained by ``processes`` together, each with its ``loader_workers``.
    ``on_trial`` is called with each trial as it ends, its row, and why there is none.
    A trial whose folder does not change for ``trial_minutes``, 0: any time, is ended and has failed. With an
    ``executor`` each trial is a job instead, for which ``asked`` is asked of the scheduler, see
    :func:`dsl_teach.workers.submit`; its device is looked for where the job runs.

    Raises:
        ValueError: if a trial has no valid settings, a setting does nothing, or the device is not there.
        RunFolderError: if another process runs a sweep in this folder, or a row in it is damaged.
        SweepError: if trials failed, after all others are finished.
        Interrupted: if SIGTERM, SIGHUP or Ctrl-C asked to stop; the trials have saved what they have.
    """
    sweep = sweep if isinstance(sweep, Sweep) else read_sweep(sweep)
    trials, output = sweep.trials(), open_folder(output).resolve()
    if sweep.rows and sweep.rows.exists():
        held = read_json(sweep.rows)
        made_by = held.get("made_by") if isinstance(held, dict) else "something else"
        if made_by != sweep.made_by:
            raise ValueError(f"rows names {sweep.rows}, which holds the rows of {made_by}. Name another file.")
    if trial_minutes and executor:
        raise ValueError("trial_minutes is not for an executor: ask it for timeout_min.")
    device = device if executor == "slurm" else find_device(device)
    how = {"device": device, "processes": processes, "loader_workers": loader_workers}
    gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    gpus = gpus or [str(number) for number in range(torch.cuda.device_count())]
    free = places(workers, processes, gpus if device == "cuda" else [])
    failed: dict[str, str] = {}

    def note(folder: Path, problem: str) -> None:
        row = finished_row(folder)
        if row is None:
            failed[str(left[folder])] = problem
        if on_trial is not None:
            on_trial(left[folder], row, "" if row else problem)

    with locked(output) if sweep.part == WHOLE else nullcontext():  # parts share a folder, and write no rows
        left = {output / trial.name: trial for trial in trials if not finished_row(output / trial.name)}
        for folder, trial in left.items():
            job = {"labels": trial.labels, "parameters": trial.parameters, **how}
            write_atomically(open_folder(folder) / TRIAL, json.dumps(job, indent=1) + "\n")
        if executor:
            stopped = submit(list(left), command, note, output, executor, at_once=workers, asked=asked or {})
        else:
            stopped = work({folder: command(folder) for folder in left}, free, note, trial_minutes)
        if stopped:
            raise Interrupted(stopped, ". The same command goes on with what is left.")
        rows = [row for trial in trials if (row := finished_row(output / trial.name))]
        if sweep.part == WHOLE:
            _write_rows(sweep, rows, sorted(failed), output)
    if failed:
        raise SweepError(failed, rows)
    return rows


def finished_row(folder: Path) -> Row | None:
    """What the trial of a folder came to; None if it is not finished. The file is written last, with its checksum."""
    try:
        return json.loads(read_checked(folder / ROW)) if (folder / ROW).is_file() else None
    except DamagedFile as error:
        raise DamagedFile(f"{error} To do that trial again, move {folder} away.") from None


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
        "data": finished.fingerprint,
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


def command(folder: Path, *rank: int) -> list[str]:
    """What trains the trial of a folder, or one rank of it, and ends with this process."""
    return [sys.executable, "-m", "dsl_teach.sweep", str(folder), str(os.getpid()), *map(str, rank)]


def _main(folder: Path, parent: int, rank: int | None = None) -> int:
    """The process of a trial, or of a rank, one of several that train it together; returns its exit code."""
    end_with(parent)
    try:
        job = read_json(folder / TRIAL)
        if rank is not None:
            meeting = f"file://{(folder / 'meeting').absolute()}?rank={rank}&world_size={job['processes']}"
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), MEETING: meeting}
            _train(folder, job, rank)
            return 0
        with locked(folder, wait=True):  # a trial of a sweep that was killed may still be saving
            if not finished_row(folder):
                _train(folder, job) if job["processes"] == 1 else _train_together(folder, job["processes"])
    except BaseException as error:  # also what a signal raises: whatever ended it is to be told
        traceback.print_exc()
        words = sentence(error).splitlines()[-1]
        sys.stderr.write(f"{FAILED}{words if is_users(error) else f'{type(error).__name__}: {words}'}\n")
        return 1
    return 0


def _train(folder: Path, job: Mapping[str, Any], rank: int = 0) -> None:
    """A run in the folder ``run``, continued if it was broken off; the first of several processes writes the row."""
    settings, device = Settings(**job["parameters"]), find_device(job["device"])
    finished = run(settings, folder=folder / "run", device=device, loader_workers=job["loader_workers"])
    if rank:
        return
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    memory = {"peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    if torch.cuda.is_initialized():
        memory["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    row = json.dumps(row_of(finished) | memory | job["labels"]) + "\n"
    write_checked(folder / ROW, lambda file: file.write(row.encode()))


def _train_together(folder: Path, processes: int) -> None:
    """A process for each rank; they meet through a file and talk over the loopback, so no port is open to others."""
    (folder / "meeting").unlink(missing_ok=True)
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    place = {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}

    def note(rank: Path, problem: str) -> None:
        if problem:  # the others would wait for it
            raise ChildProcessError(f"{rank.name}: {problem}")

    commands = {folder / f"process-{rank}": command(folder, rank) for rank in range(processes)}
    if stopped := work(commands, [place] * processes, note):
        raise Interrupted(stopped)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
