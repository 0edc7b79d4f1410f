"""Stop a small sweep at random moments, from its first line of output on: every signal must end it in good order.

    python -m benchmarks.faults --sigterm 100 --sigint 50 --sigkill 10 --seed 0

Each time the sweep must end with 143 or 130 and leave no process behind; one that is killed must leave none for long.
Of the sweeps that were stopped, some are run a second time: they must do the rest, and only the rest.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

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
    return faults


def main() -> int:
    """Print a line for each signal; the exit code is 1 if one of them was lost or left something behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    counts = {signal.SIGTERM: 100, signal.SIGINT: 50, signal.SIGKILL: 10}
    for number, count in counts.items():
        parser.add_argument(f"--{number.name.lower()}", type=int, default=count, help=f"how many (default: {count})")
    parser.add_argument("--again", type=int, default=10, help="second runs after each kind (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args()
    longest = undisturbed_seconds()
    print(f"{TRIALS} trials, 2 at a time, take {longest:.1f} s; moments from 0 to {longest:.1f} s, seed {options.seed}")
    print("signal    sent  ended by it  left behind  second runs  only the rest", flush=True)
    failed = 0
    for number in counts:
        count = getattr(options, number.name.lower())
        faults = inject(number, count, again=options.again, longest=longest, seed=options.seed)
        ended, left = sum(fault.ended for fault in faults), sum(fault.left_behind for fault in faults)
        again = [fault.rest for fault in faults if fault.rest is not None]
        failed += sum(not fault.well for fault in faults)
        print(f"{number.name:8} {count:5} {ended:12} {left:12} {len(again):12} {sum(again):14}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
