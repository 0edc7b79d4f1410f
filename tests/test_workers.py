"""Processes side by side: each one's death costs only itself, and no signal that asks to stop is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import psutil
import pytest

from dsl_teach.workers import places, work
from tests import wait_for

STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: None)\nopen('here', 'w')\nwhile 1: time.sleep(1)"
)
WAITING = "import time\nopen('here', 'w')\nwhile 1: time.sleep(1)"


def programs(folder: Path, programs: dict[str, str]) -> dict[Path, list[str]]:
    """Commands that run programs, each in a folder of its own, and end with their parent."""
    first = f"import os, sys; from dsl_teach.workers import end_with; end_with({os.getpid()}); os.chdir(sys.argv[1])\n"
    return {folder / name: [sys.executable, "-c", first + text, str(folder / name)] for name, text in programs.items()}


def when(mark: Path, *numbers: int) -> None:
    """Send this process signals once a file is there."""

    def send():
        for number in numbers:
            wait_for(mark.exists)
            os.kill(os.getpid(), number)
            time.sleep(1)

    Thread(target=send, daemon=True).start()


def of(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cwd"]) if (process.info["cwd"] or "").startswith(str(folder))]


def test_one_that_dies_fails_or_cannot_start_costs_only_itself(tmp_path):
    texts = {"fine": "print('done')", "blocked": "", "killed": "import os\nos.kill(os.getpid(), 9)"}
    texts |= {"failed": "print('failed: p is too large')\nprint('and more')\nraise SystemExit(1)"}
    texts |= {"raised": "raise ValueError('m')", "silent": "raise SystemExit(3)", "last": ""}
    (tmp_path / "blocked").write_text("a file where its folder should be")
    ended = []
    for number in (1, 2):
        jobs = programs(tmp_path, texts)
        assert work(jobs, places(number, 1, []), lambda *end: ended.append(end)) is None
        reasons = {folder.name: reason for folder, reason in ended}
        assert "blocked" in reasons.pop("blocked")
        assert reasons == {
            "killed": "ended by signal 9, as when memory is short", "failed": "p is too large",
            "raised": "ValueError: m", "silent": "exit code 3", "fine": "", "last": "",
        }  # fmt: skip
    assert len(ended) == 2 * len(texts)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_them_and_nothing_else_is_started(tmp_path, number):
    jobs = programs(tmp_path, dict.fromkeys("abc", WAITING))
    when(tmp_path / "b" / "here", number)
    before = signal.getsignal(number)
    assert work(jobs, places(2, 1, []), lambda *_: None) is number
    assert not of(tmp_path)
    assert not (tmp_path / "c").exists()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_kills_those_that_do_not_stop(tmp_path):
    when(tmp_path / "a" / "here", signal.SIGINT, signal.SIGINT)
    assert work(programs(tmp_path, {"a": STUBBORN}), [{}], lambda *_: None) is signal.SIGINT
    assert not of(tmp_path)


def test_one_that_shows_no_sign_of_life_is_ended_and_one_that_does_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("dsl_teach.workers.GRACE", 0.5)
    lively = "import time\nfor i in range(40): print(i, flush=True); time.sleep(0.1)"
    sleeper = "[sys.executable, '-c', 'import time; time.sleep(100)']"
    above = f"import subprocess\nsubprocess.Popen({sleeper}, process_group=0)\n{STUBBORN}"
    ended = {}
    jobs = programs(tmp_path, {"hung": f"open('log', 'w')\n{STUBBORN}", "above": above, "lively": lively})
    assert work(jobs, [{}] * 3, lambda folder, why: ended.update({folder.name: why}), minutes=2 / 60) is None
    assert ended["hung"].startswith("no sign of life for 0.0333333 minutes; ended by signal")
    assert ended["above"].startswith("no sign of life")
    assert ended["lively"] == ""
    assert not of(tmp_path)


def test_they_end_by_themselves_when_the_one_above_is_killed(tmp_path):
    work_there = "work(programs(Path(sys.argv[1]), {'a': WAITING}), [{}], print)"
    program = f"import sys; from tests.test_workers import *; {work_there}"
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL) as caller:
        wait_for((tmp_path / "a" / "here").exists)
        caller.kill()
    assert not psutil.wait_procs(of(tmp_path / "a"), timeout=600)[1]


def test_what_a_caller_raises_stops_them(tmp_path):
    def complain(*_):
        raise KeyError

    with pytest.raises(KeyError):
        work(programs(tmp_path, {"a": "", "b": WAITING}), places(2, 1, []), complain)
    assert not of(tmp_path)


def test_workers_share_the_gpus():
    def names(*of):
        return [place.get("CUDA_VISIBLE_DEVICES") for place in places(*of)]

    assert names(2, 1, []) == [None, None]
    assert names(4, 1, ["0", "1", "2", "3"]) == ["0", "1", "2", "3"]
    assert names(2, 4, [*"01234567"]) == ["0,1,2,3", "4,5,6,7"]
    assert names(3, 1, ["GPU-a", "GPU-b"]) == ["GPU-a", "GPU-b", "GPU-a"]
    with pytest.raises(ValueError, match="at least 1"):
        places(0, 1, [])
