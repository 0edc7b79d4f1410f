"""Faults made on purpose: signals to a sweep, flipped bits in a run's files, kill -9 while it trains.

    python -m benchmarks.faults [stops|flips|kills] [--short] [--seed 0]

stops: each time the sweep must end with 143 or 130 and leave no process behind; one that is killed must leave none for
long. Some are run a second time: they must do the rest, and only the rest.
flips: one bit of a checkpoint, of corrected labels, of the result or of the checksums is flipped. Each flip must be
found, or the run must end with the same bits all the same.
kills: runs are killed at random moments, of two processes one, and continued: they must end with the same bits.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.storage import RunFolderError
from dsl_teach.training.checkpoint import Interrupted, check
from dsl_teach.training.records import Callback
from dsl_teach.training.runs import Run, run

SWEEP = """
base: {dataset: toy_clusters, network: mlp, width: 8, epochs: 3, correction_start: 1, p: 2, m: 40}
methods: {cross-entropy: {alpha: 0.0}, SMP: {}}
seeds: 2
"""
TRIALS = 4


@dataclass
class Fault:
    """What one signal did, and the second run after it."""

    number: signal.Signals
    seconds: float
    """From the first line of output to the signal."""
    code: int
    finished: int
    """Trials that were finished when the sweep had ended."""
    left_behind: int
    """Processes that were still there when the sweep had ended; after SIGKILL, a minute later."""
    told: str
    """What the sweep said on stderr."""
    rest: bool | None = None
    """Whether the second run did the rest and only the rest; None if there was none."""

    @property
    def ended(self) -> bool:
        """Whether the sweep ended by this signal, and in good order."""
        wanted = -self.number if self.number == signal.SIGKILL else 128 + self.number
        return self.code == wanted and "Traceback" not in self.told

    @property
    def well(self) -> bool:
        """Whether everything is as it must be."""
        return self.ended and not self.left_behind and self.rest is not False


def start(folder: Path) -> subprocess.Popen[str]:
    """The sweep, with a folder of its own that its processes can be told by."""
    (folder / "sweep.yaml").write_text(SWEEP)
    command = [sys.executable, "-m", "dsl_teach.cli", "sweep", str(folder / "sweep.yaml")]
    return subprocess.Popen(
        [*command, "--output", str(folder / "trials"), "--workers", "2", "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"FAULTS_FOLDER": str(folder)},
        start_new_session=True,
    )  # fmt: skip


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process of a sweep, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("FAULTS_FOLDER") == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def times(folder: Path) -> dict[str, float]:
    """When the rows of finished trials were written."""
    return {path.parent.name: path.stat().st_mtime for path in folder.glob("trials/*/row.json")}


def undisturbed_seconds() -> float:
    """From the first line of output of a sweep to its end."""
    with tempfile.TemporaryDirectory() as folder, start(Path(folder)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        begun = time.perf_counter()
        process.communicate()
        return time.perf_counter() - begun


def stop_once(number: signal.Signals, seconds: float, *, again: bool) -> Fault | None:
    """Stop a sweep so many seconds after its first line; None if it had ended before.

    Args:
        number: the signal.
        seconds: to wait.
        again: whether to run it a second time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with start(folder) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(seconds)
            if process.poll() is not None:
                return None
            os.killpg(process.pid, number)  # as a terminal does
            out, told = process.communicate(timeout=300)
        if process.returncode == 0 and f"{TRIALS} of {TRIALS}:" in out:
            return None  # it was writing its last lines
        _, left = psutil.wait_procs(processes_of(folder), timeout=60 if number == signal.SIGKILL else 0)
        before = times(folder)
        fault = Fault(number, seconds, process.returncode, len(before), len(left), first + told)
        if again:
            with start(folder) as process:
                out, _ = process.communicate(timeout=300)
            after = times(folder)
            said = f"{TRIALS} trials, {len(before)} of them finished before" in out
            fault.rest = said and process.returncode == 0 and len(after) == TRIALS and before.items() <= after.items()
        return fault


def inject(number: signal.Signals, count: int, *, again: int, longest: float, seed: int) -> list[Fault]:
    """Stop sweeps at random moments; the first ones are run a second time.

    Args:
        number: the signal.
        count: how many sweeps.
        again: how many of them to run a second time.
        longest: seconds from the first line of output to the last moment.
        seed: of the moments.
    """
    moments, faults = random.Random(f"{seed} {number}"), list[Fault]()
    while len(faults) < count:
        fault = stop_once(number, moments.uniform(0, longest), again=len(faults) < again)
        if fault is not None:
            faults.append(fault)
            if not fault.well:
                print(f"{fault.number.name} after {fault.seconds:.2f} s: {fault}", flush=True)
            if len(faults) % 10 == 0:
                print(f"{number.name}: {len(faults)} of {count}", file=sys.stderr, flush=True)
    return faults


def stops(short: bool, seed: int) -> int:
    """Print a line for each signal; how many were lost or left something behind."""
    longest = undisturbed_seconds()
    print(f"{TRIALS} trials, 2 at a time, take {longest:.1f} s; moments from 0 to {longest:.1f} s, seed {seed}")
    print("signal    sent  ended by it  left behind  second runs  only the rest", flush=True)
    failed = 0
    for number, count in {signal.SIGTERM: 100, signal.SIGINT: 50, signal.SIGKILL: 10}.items():
        count, again = (1, 1) if short else (count, 10)
        faults = inject(number, count, again=again, longest=longest, seed=seed)
        ended, left = sum(fault.ended for fault in faults), sum(fault.left_behind for fault in faults)
        rest = [fault.rest for fault in faults if fault.rest is not None]
        failed += sum(not fault.well for fault in faults)
        print(f"{number.name:8} {count:5} {ended:12} {left:12} {len(rest):12} {sum(rest):14}", flush=True)
    return failed


TINY = Settings(dataset="toy_clusters", network="mlp", width=8, epochs=3, correction_start=1, p=2, m=40)
DIGITS = Settings(epochs=4, correction_start=1, width=4, p=3, m=40, batch_size=256)
KINDS = {
    "checkpoint": "checkpoints/*.pt",
    "corrected labels": "**/*epoch-*.pt,corrected_labels.pt",
    "result": "result.json",
    "checksums": "**/SHA256SUMS",
}


def outcome(done: Run) -> dict[str, Any]:
    """What must be the same to the last bit."""
    assert done.result.correction is not None
    history = [{k: v for k, v in vars(x).items() if not k.startswith("seconds")} for x in done.result.history]
    return {"weights": done.network.state_dict(), "labels": done.result.correction.labels, "history": history}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two outcomes are."""
    weights = all(torch.equal(x, other["weights"][name]) for name, x in one["weights"].items())
    return weights and torch.equal(one["labels"], other["labels"]) and one["history"] == other["history"]


class Stop(Callback):
    """Asks the run to stop in its second epoch."""

    def on_batch_end(self, state: Any, batch: Any, embeddings: Any) -> None:
        """Send the signal."""
        if state.progress > 1.5:
            signal.raise_signal(signal.SIGTERM)


def flips(short: bool, seed: int) -> int:
    """Print what became of each kind of flip; how many changed a result, or a file, without anybody noticing."""
    draw, counts = random.Random(seed), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        expected = outcome(run(TINY, folder=root / "finished"))
        with contextlib.suppress(Interrupted):
            run(TINY, folder=root / "stopped", callbacks=[Stop()])
        for number in range(40 if short else 2000):
            kind = [*KINDS][number % len(KINDS)]
            counts[kind, flip_once(root, kind, expected, draw)] += 1
    ends = ("refused", "the same bits", "UNNOTICED")
    print("flipped in        flips  refused  the same bits  unnoticed")
    for kind in KINDS:
        found = [counts[kind, end] for end in ends]
        print(f"{kind:16} {sum(found):6} {found[0]:8} {found[1]:14} {found[2]:10}", flush=True)
    return sum(counts[kind, ends[2]] for kind in KINDS)


def flip_once(root: Path, kind: str, expected: dict[str, Any], draw: random.Random) -> str:
    """Flip one bit in a copy of a run, look at it, and continue it."""
    began = draw.choice(["finished", "stopped"] if kind in ("checkpoint", "checksums") else ["finished"])
    folder = shutil.copytree(root / began, root / "copy")
    try:
        path = draw.choice(sorted({path for pattern in KINDS[kind].split(",") for path in folder.glob(pattern)}))
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        found = bool(check(folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = outcome(run(TINY, folder=folder))
        return "the same bits" if same(done, expected) and (found or kind == "checksums") else "UNNOTICED"
    except RunFolderError:
        return "refused"
    finally:
        shutil.rmtree(folder)


def kills(short: bool, seed: int) -> int:
    """Print how many killed runs ended with the same bits; how many did not."""
    modes = {"plain": (40, 1, {}), "streamed": (30, 1, {"correction_mode": "streamed"}), "two processes": (30, 2, {})}
    failed, draw = 0, random.Random(seed)
    torch.set_num_threads(1)
    print("run              kills  continued to the same bits  left behind", flush=True)
    for mode, (count, processes, changes) in modes.items():
        count = 2 if short else count
        good, left = kill_runs(count, processes, DIGITS.replace(**changes), draw)
        failed += count - good + left
        print(f"{mode:15} {count:6} {good:27} {left:12}", flush=True)
    return failed


def kill_runs(count: int, processes: int, settings: Settings, draw: random.Random) -> tuple[int, int]:
    """Of so many runs that were killed, those that ended with the same bits; processes that outlived a killed one."""
    good = left = killed = 0
    with tempfile.TemporaryDirectory() as name:
        root, data = Path(name), load_dataset(settings)
        run(settings.replace(epochs=1), data, folder=root / "imports")  # late ones, once for all
        begun = time.perf_counter()
        finish(begin(root / "undisturbed", processes, settings, data))
        seconds = time.perf_counter() - begun
        expected = torch.load(root / "undisturbed.outcome", weights_only=True)
        while killed < count:
            folder = root / str(killed)
            ranks = begin(folder, processes, settings, data)
            while not (folder / "settings.yaml").exists():  # until they have met, torchrun watches over them, not they
                time.sleep(0.01)
            time.sleep(draw.uniform(0, seconds))
            os.kill(draw.choice(ranks), signal.SIGKILL)
            ends = finish(ranks)
            if -signal.SIGKILL in ends:  # it was not at its end yet
                killed, left = killed + 1, left + sum(end in (0, None) for end in ends)
                finish(begin(folder, processes, settings, data))
                found = folder.with_suffix(".outcome")
                good += found.exists() and same(torch.load(found, weights_only=True), expected)
            shutil.rmtree(folder)
            folder.with_suffix(".outcome").unlink(missing_ok=True)
    return good, left


def begin(folder: Path, processes: int, settings: Settings, data: NoisyDataset) -> list[int]:
    """A run in processes forked from this one, which costs no imports; their ids."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    together = where | {"TORCHELASTIC_RUN_ID": "faults", "GLOO_SOCKET_IFNAME": "lo"} if processes > 1 else {}

    def work(rank: int) -> None:
        os.environ.update(together | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        done = run(settings, data, folder=folder, minutes=0)
        if rank == 0:
            torch.save(outcome(done), folder.with_suffix(".outcome"))

    return [forked(lambda rank=rank: work(rank)) for rank in range(processes)]  # type: ignore[misc]


def forked(work: Callable[[], object]) -> int:
    """The id of a process that does the work."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            work()
        status = 0
    finally:
        os._exit(status)


def finish(ranks: list[int], timeout: float = 120) -> list[int | None]:
    """How each process ended; None for one that has not in so many seconds, and is ended now."""
    end, found = time.monotonic() + timeout, dict[int, int | None]()
    while len(found) < len(ranks) and time.monotonic() < end:
        for pid in set(ranks) - found.keys():
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                found[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    for pid in set(ranks) - found.keys():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return [found.get(pid) for pid in ranks]


def main(arguments: list[str] | None = None) -> int:
    """The exit code is 1 if something was lost, left behind or not noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["stops", "flips", "kills"], help="default: all")
    parser.add_argument("--short", action="store_true", help="a few of each, a minute in all")
    parser.add_argument("--seed", type=int, default=0, help="of moments and bits (default: 0)")
    options = parser.parse_args(arguments)
    todo = {"stops": stops, "flips": flips, "kills": kills}
    chosen = [options.what] if options.what else [*todo]
    return int(any([todo[what](options.short, options.seed) for what in chosen]))


if __name__ == "__main__":
    sys.exit(main())
