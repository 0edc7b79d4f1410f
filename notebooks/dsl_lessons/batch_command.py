"""What is on the screen, as a command that runs without one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath


def batch_command(notebook: str, parameters: Mapping[str, object], *, folder: str = "../runs") -> str:
    """The papermill command that runs a notebook with these parameters, ready for a POSIX shell.

    Args:
        notebook: file name of the notebook; the command is meant for the folder that it lies in.
        parameters: names and values for its parameters cell.
        folder: where the executed notebook goes; the command makes it.

    Returns:
        One line; everything in it is quoted where a shell needs that.
    """
    output = PurePosixPath(folder) / PurePosixPath(notebook).name
    words = ["papermill", notebook, str(output)]
    for name, value in parameters.items():
        words += ["-p", name, _plain(value)]
    return f"{shlex.join(['mkdir', '-p', folder])} && {shlex.join(words)}"


def _plain(value: object) -> str:
    """Numbers without rounding dust: 0.3 and not 0.30000000000000004."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
