"""The short form of benchmarks/faults.py: flipped bits and killed runs. Stopped sweeps: tests/test_sweep.py."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("what", ["flips", "kills"])
def test_a_few_of_each_change_nothing_unnoticed(what):
    command = [sys.executable, "-m", "benchmarks.faults", what, "--short"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
