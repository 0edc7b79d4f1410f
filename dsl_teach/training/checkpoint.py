"""The folder of a run: settings, environment, history, corrected labels and checkpoints, each whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.training.records import EpochRecord

KEPT = 2
"""Checkpoints in a folder: if the last one is damaged, the one before serves."""


class RunFolderError(OSError):
    """A run folder that cannot be used."""


def run_folder(parent: str | Path, settings: Settings) -> Path:
    """The folder under ``parent`` that belongs to these settings: other settings, other folder."""
    short = hashlib.sha256(settings.to_yaml().encode()).hexdigest()[:10]
    return Path(parent) / f"{settings.dataset}-{short}"


class RunFolder:
    """A folder that this process alone writes to.

    Args:
        path: is made if it is not there.
        settings: of the run.

    Raises:
        RunFolderError: if it cannot be written to, holds a run with other settings, or another process writes to it.
    """

    def __init__(self, path: str | Path, settings: Settings):
        self.path = open_folder(path)
        for inside in ("checkpoints", "labels"):
            open_folder(self.path / inside)
        self._lock = (self.path / ".lock").open("w")
        try:
            self._require_free()
            self._require_same(settings)
            for part in self.path.rglob("*.part"):  # what a killed process was writing
                part.unlink()
        except RunFolderError:
            self.close()
            raise

    def _require_free(self) -> None:
        try:
            import fcntl
        except ImportError:  # no such lock on this system
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(f"Another process is writing to {self.path}. Wait for it, or stop it.") from error

    def _require_same(self, settings: Settings) -> None:
        before = self.path / "settings.yaml"
        if not before.exists():
            write_atomically(before, settings.to_yaml())
        elif Settings.from_yaml(before) != settings:
            raise RunFolderError(
                f"The run folder {self.path} holds a run with other settings. Name another folder, or take "
                f"{before.name} from it to continue that run."
            )
        if (self.path / "result.json").exists() and not self.checkpoints():
            raise RunFolderError(f"{self.path} holds a finished run without its checkpoint. Name another folder.")

    def close(self) -> None:
        """Let others write to the folder."""
        self._lock.close()

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted((self.path / "checkpoints").glob("*.pt"))

    def save_checkpoint(self, content: dict[str, Any], epoch: int, step: int) -> None:
        """Write a checkpoint and drop all but the last two.

        Raises:
            RunFolderError: if it cannot be written, for want of room say; the former ones stay as they are.
        """
        path = self.path / "checkpoints" / f"epoch-{epoch:05d}-step-{step:08d}.pt"
        try:
            write_whole(path, lambda file: torch.save(content, file))
        except (OSError, RuntimeError) as error:
            raise RunFolderError(
                f"The checkpoint of epoch {epoch} cannot be written to {path.parent} ({_reason(error)}). The one "
                "before is kept: make room and run it again to continue."
            ) from error
        for old in self.checkpoints()[:-KEPT]:
            old.unlink()

    def latest_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read; None in a folder without any.

        Raises:
            RunFolderError: if there are checkpoints and none can be read.

        Warns:
            UserWarning: if a newer one could not be read; it is put aside.
        """
        found = self.checkpoints()
        for path in reversed(found):
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # a damaged file fails in many ways
                aside = path.with_suffix(".damaged")
                os.replace(path, aside)
                warnings.warn(
                    f"The checkpoint {path.name} cannot be read ({_reason(error)}). It is put aside as {aside.name}; "
                    "the run continues from the one before.",
                    stacklevel=4,
                )
        if found:
            raise RunFolderError(f"No checkpoint in {self.path} can be read. Name another folder to start anew.")
        return None

    def write_history(self, history: list[EpochRecord]) -> None:
        """One JSON object a line, one line an epoch."""
        write_atomically(self.path / "history.jsonl", "".join(json.dumps(asdict(record)) + "\n" for record in history))

    def write_labels(self, labels: Tensor, epoch: int | None) -> None:
        """Corrected labels by index: those given after ``epoch`` epochs, or the last ones (None)."""
        name = "corrected_labels.pt" if epoch is None else f"labels/epoch-{epoch:05d}.pt"
        write_whole(self.path / name, lambda file: torch.save(labels.cpu(), file))

    def write_environment(self, environment: dict[str, str]) -> None:
        """Add one line: what the run was started with, this time."""
        path = self.path / "environment.jsonl"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        write_atomically(path, before + json.dumps(environment) + "\n")

    def write_result(self, result: dict[str, Any]) -> None:
        """The figures of the finished run; this file says that it is finished."""
        write_atomically(self.path / "result.json", json.dumps(result, indent=2) + "\n")


def open_folder(folder: str | Path) -> Path:
    """Make a folder, or find it there, and make sure that it can be written to.

    Raises:
        RunFolderError: if it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunFolderError(
            f"The run folder {folder} cannot be written to ({error.strerror}). Name another folder."
        ) from error
    return folder


def write_atomically(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_whole(Path(path), lambda file: file.write(text.encode()))


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file whole or not at all, also if the power fails: beside it first, then into its place.

    Args:
        path: the file.
        write: writes the content to an open file.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Make the new name last; not every system lets a folder be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: BaseException) -> str:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return words.splitlines()[0][:200]
