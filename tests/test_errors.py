"""Where commands end: whose mistake it was, what is said about it, and the exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dsl_teach.errors import boundary, is_users, sentence
from dsl_teach.training.checkpoint import Interrupted

ROOT = Path(__file__).parent.parent


def save(folder, value):
    torch.save(value, folder / "x.pt")
    np.save(folder / "x.npy", np.array([value], dtype=object))


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (lambda folder: (folder / "none").read_text(), "none: No such file"),
        (lambda folder: folder.read_bytes(), "Is a directory"),
        (lambda folder: Path("/dev/full").write_text("x"), "No space left on device. Make room"),
        (lambda folder: torch.empty(2**60), "The memory does not suffice: "),
        (lambda folder: torch.empty(2**62, 2**62), "The memory does not suffice: "),
        (lambda folder: np.empty(2**58), "The memory does not suffice: "),
        (lambda folder: torch.UntypedStorage._new_shared(2**50), "The memory does not suffice: "),
        (lambda folder: torch.zeros(1, device="cuda:99"), "device cannot be used: "),
        (lambda folder: torch.device("gpu"), "device cannot be used: "),
        (lambda folder: b"\xff".decode(), "not text in UTF-8"),
        (lambda folder: torch.load(folder / "x.pt"), "A file holds Python objects"),
        (lambda folder: np.load(folder / "x.npy"), "A file holds Python objects"),
        (lambda folder: float("x"), "could not convert"),
    ],
)
def test_a_users_mistake_is_told_in_a_sentence_without_advice_to_load_unsafely(tmp_path, action, said):
    save(tmp_path, Path)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        action(tmp_path)
    error = raised.value
    assert is_users(error)
    assert said in sentence(error)
    assert not {"weights_only", "allow_pickle"} & set(sentence(error).replace("=", " ").split())
    assert "\n" not in sentence(error)


@pytest.mark.parametrize("error", [KeyError("x"), TypeError(), RuntimeError("mat1 and mat2"), AssertionError()])
def test_a_mistake_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)), boundary("us"):
        raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("p is 0."), 1, "us: p is 0.\n"),
        (Interrupted(signal.SIGTERM), 143, "us: Stopped by SIGTERM.\n"),
        (KeyboardInterrupt(), 130, "us: Stopped by SIGINT.\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_the_exit_code_tells_how_it_ended(capsys, error, code, said):
    with pytest.raises(SystemExit) as end, boundary("us"):
        raise error
    assert end.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("reader", ["closed", "full"])
def test_output_that_nobody_takes(reader):
    program = "from dsl_teach.errors import boundary\nwith boundary('us'): print('x')"
    if reader == "full":
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        ours, output = os.pipe()
        os.close(ours)
    done = subprocess.run([sys.executable, "-c", program], stdout=output, stderr=subprocess.PIPE, cwd=ROOT, text=True)
    os.close(output)
    expected = (141, "") if reader == "closed" else (1, "us: No space left on device. Make room on the disk")
    assert done.returncode == expected[0]
    assert done.stderr.startswith(expected[1])
    assert "Exception ignored" not in done.stderr
