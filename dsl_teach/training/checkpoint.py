"""Saving, resuming and stopping a run: its folder, and the callback that writes to it; every file whole or absent."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import signal
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from dsl_teach import __version__
from dsl_teach.config import Settings, without_places
from dsl_teach.data.batches import Batch, Batches
from dsl_teach.data.fingerprint import digest, first_difference
from dsl_teach.errors import listening
from dsl_teach.storage import (
    SUMS,
    DamagedFile,
    RunFolderError,
    damages,
    locked,
    open_folder,
    read_checked,
    reason,
    write_checked,
)
from dsl_teach.training.distributed import by_leader, from_leader, largest, world_size
from dsl_teach.training.records import SAVED, Callback, State

KEPT = 2  # checkpoints in a folder: if the last one is damaged, the one before serves
AGREE_EVERY = 10  # steps from one question among several processes whether to stop to the next


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop by the signal of this number, and has saved what it has."""

    def __init__(self, number: int, then: str = "."):
        super().__init__(f"Stopped by {signal.Signals(number).name}{then}")
        self.number = number


def run_folder(parent: str | Path, settings: Settings) -> Path:
    """The folder under ``parent`` that belongs to these settings: other settings, other folder; places do not count."""
    said = json.dumps(without_places(settings.to_dict()), sort_keys=True)
    return Path(parent) / f"{settings.dataset}-{hashlib.sha256(said.encode()).hexdigest()[:10]}"


class RunFolder:
    """A folder that this process alone writes to; if it holds another run, or cannot be written to: RunFolderError."""

    def __init__(self, path: str | Path, settings: Settings):
        self.path = open_folder(path)
        self.identity: dict[str, Any] = {"settings": without_places(settings.to_dict()), "version": __version__}
        for inside in ("checkpoints", "labels"):
            open_folder(self.path / inside)
        with contextlib.ExitStack() as held:
            held.enter_context(locked(self.path))
            self._require_same(settings)
            self.close = held.pop_all().close  # lets others write to the folder
        for part in self.path.rglob("*.part"):  # what a killed process was writing
            part.unlink()

    def _require_same(self, settings: Settings) -> None:
        before = self.path / "settings.yaml"
        if not before.exists():
            self.write_text(before.name, settings.to_yaml())
        read_checked(before)
        if difference := self._difference(Settings.from_yaml(before).to_dict()):
            advice = f"Name another folder, or take {before.name} from it to continue that run."
            raise RunFolderError(f"The run folder {self.path} holds a run with other settings: {difference}. {advice}")
        if (self.path / "result.json").exists() and not self.checkpoints():
            raise RunFolderError(f"{self.path} holds a finished run without its checkpoint. Name another folder.")

    def _difference(self, before: dict[str, Any]) -> str | None:
        """From the settings of this run, the first; what an older version did not know counts as its default."""
        before, now = Settings().to_dict() | before, self.identity["settings"]
        return next((f"{name} was {before[name]} and is {x}" for name, x in now.items() if before[name] != x), None)

    def require_same_data(self, found: dict[str, Any]) -> None:
        """Remember the fingerprint of the data; if the run in this folder was begun on others: RunFolderError."""
        path, said = self.path / "data.json", json.dumps(found)
        self.identity["data"] = digest(found)
        if not path.exists() and not self.checkpoints():
            self.write_text(path.name, said + "\n")
        before = json.loads(read_checked(path)) if path.exists() else None
        difference = first_difference(before, json.loads(said)) if before else "Nothing in it says on which."
        if difference:
            advice = "Name another folder (--output) to start anew, or put the data back."
            raise RunFolderError(f"The run in {self.path} was trained on other data. {difference} {advice}")

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted((self.path / "checkpoints").glob("*.pt"))

    def save_checkpoint(self, content: dict[str, Any], epoch: int, step: int) -> None:
        """Write a checkpoint and drop all but the last two; if it cannot be written, those stay."""
        path = self.path / "checkpoints" / f"epoch-{epoch:05d}-step-{step:08d}.pt"
        others, content = [old for old in self.checkpoints() if old != path], content | {"identity": self.identity}
        try:
            write_checked(path, lambda file: torch.save(content, file), instead_of=others[: 1 - KEPT])
        except (OSError, RuntimeError) as error:
            problem = f"The checkpoint of epoch {epoch} cannot be written to {path.parent} ({reason(error)})."
            advice = "The one before is kept: make room and run it again to continue."
            raise RunFolderError(f"{problem} {advice}") from error

    def latest_checkpoint(self) -> bytes | None:
        """The content of the newest checkpoint that is whole, None if there is none; damaged ones are put aside."""
        found = self.checkpoints()
        for path in reversed(found):
            try:
                content = read_checked(path)
                self._require_own(path, load_checkpoint(content)["identity"])
                return content
            except DamagedFile as error:
                aside = path.with_suffix(".damaged")
                os.replace(path, aside)
                advice = f"It is put aside as {aside.name}; the run continues from the one before."
                warnings.warn(f"{error} {advice}", stacklevel=4)
            except RunFolderError:
                raise
            except Exception as error:  # of a right checksum, so not damaged: memory is short, or it is another's
                raise RunFolderError(f"The checkpoint {path} cannot be read now ({reason(error)}).") from error
        if found:
            raise RunFolderError(f"No checkpoint in {self.path} can be read. Name another folder to start anew.")
        return None

    def _require_own(self, path: Path, before: dict[str, Any]) -> None:
        """A checkpoint must be of this run: its settings, its data; another version of the package is said."""
        other_data = "it was trained on other data" if before["data"] != self.identity["data"] else None
        difference = self._difference(before["settings"]) or other_data
        if difference:
            raise RunFolderError(f"The checkpoint {path} is of another run: {difference}. Take it out, or start anew.")
        if before["version"] != __version__:
            told = f"{path} was written by version {before['version']} of dsl_teach; this is {__version__}."
            warnings.warn(told, stacklevel=5)

    def write_labels(self, labels: Tensor, name: str) -> None:
        """Corrected labels by index."""
        write_checked(self.path / name, lambda file: torch.save(labels.cpu(), file))

    def write_text(self, name: str, text: str) -> None:
        """A text file of the run."""
        write_checked(self.path / name, lambda file: file.write(text.encode()))


def check(folder: str | Path) -> list[str]:
    """What is damaged or missing in a run folder, or in all inside a folder, in sentences; no run: RunFolderError."""
    runs = sorted({path.parent for name in ("settings.yaml", "checkpoints") for path in Path(folder).rglob(name)})
    if not runs:
        told = f"{folder} holds no run: no settings.yaml and no checkpoints in it or below. Name another."
        raise RunFolderError(told)
    found = []
    for run in runs:
        needed, result = ["settings.yaml", SUMS], run / "result.json"
        if (run / "history.jsonl").exists():
            needed += ["data.json", f"checkpoints/{SUMS}"]
        if result.exists() and b'"changed"' in result.read_bytes():
            needed.append("corrected_labels.pt")
        found += [f"{run / name} is missing." for name in needed if not (run / name).exists()]
    return found + damages(Path(folder))


class Checkpoint(Callback):
    """Keeps a run in a folder: after every epoch, every ``minutes`` within one, and when a signal asks to stop.

    A second signal stops at once. Several processes agree, so that all stop after the same step; the first of them
    has the folder.
    """

    def __init__(self, folder: str | Path | None, settings: Settings, *, minutes: float):
        opened = None if folder is None else by_leader(lambda: RunFolder(folder, settings))
        self.folder: RunFolder | None = opened  # None in the others
        self.seconds = minutes * 60
        self.asked_to_stop, self._saved_at = 0, time.monotonic()
        self._state: State | None = None
        self._listening = contextlib.ExitStack()

    def on_train_begin(self, state: State) -> None:
        """Continue from the newest checkpoint that is whole; without one, start anew."""
        self._state = state
        content = from_leader(by_leader(lambda: self.folder and self.folder.latest_checkpoint()))
        if content is not None:
            state.restore(load_checkpoint(content, next(state.network.parameters()).device))
        self._saved_at = time.monotonic()

    def on_batch_end(self, state: State, batch: Batch, embeddings: Tensor) -> None:
        """Save if it is time to, stop if that was asked for."""
        late = time.monotonic() - self._saved_at > self.seconds
        self._save_or_stop(state, late, everyone_is_here=state.step % AGREE_EVERY == 0)

    def on_epoch_end(self, state: State) -> None:
        """Write the labels that were trained on, the history, and the checkpoint that they belong to."""
        self._write_labels(state, state.epoch - 1)
        if self.folder:
            lines = "".join(json.dumps(asdict(record)) + "\n" for record in state.history)
            self.folder.write_text("history.jsonl", lines)
        self.save(state)

    def on_train_end(self, state: State) -> None:
        """Write the last corrected labels, and the checkpoint of a finished run."""
        self._write_labels(state, state.epoch)
        self.save(state)

    def watch(self, batches: Batches) -> Batches:
        """The same batches; a pass in order, which does not train, can be stopped after each one too."""
        watched, whole = copy.copy(batches), len(batches.noisy_labels) // batches.batch_size

        def in_order() -> Iterator[Batch]:
            for number, batch in enumerate(batches.in_order()):
                yield batch
                if self._state is not None:  # of the last, cut batch a process may have no part
                    here = number % AGREE_EVERY == 0 and number < whole
                    self._save_or_stop(self._state, False, everyone_is_here=here)

        watched.in_order = in_order  # type: ignore[method-assign]
        return watched

    def save(self, state: State) -> None:
        """Write a checkpoint; all processes come here together."""
        content = state.to_dict()
        if self.folder:
            self.folder.save_checkpoint(content, state.epoch, state.step)
        self._saved_at = time.monotonic()

    def _write_labels(self, state: State, epoch: int) -> None:
        if self.folder and state.correction is not None and state.correction.epoch == epoch:
            self.folder.write_labels(state.correction.labels, f"labels/epoch-{epoch:05d}.pt")

    def _save_or_stop(self, state: State, late: bool, *, everyone_is_here: bool) -> None:
        """Of several processes all do so after the same step, for which they ask each other now and then."""
        stop = self.asked_to_stop
        if world_size() > 1:
            if not everyone_is_here:
                return
            device = next(state.network.parameters()).device
            stop, late = largest(torch.tensor([stop, int(late)], device=device)).tolist()
        if late or (stop and state.under_way):
            self.save(state)
        if stop:
            raise Interrupted(stop, f" in epoch {state.epoch}, step {state.step}. Run it again to continue.")

    def __enter__(self) -> Checkpoint:
        if self.folder is not None or world_size() > 1:
            self._listening.enter_context(listening(self._ask))
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()
        if self.folder:
            self.folder.close()
        if self.asked_to_stop and error[0] is None:  # what comes after the run is not to begin
            raise Interrupted(self.asked_to_stop, ", when the run was finished.")

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._state is None:
            raise Interrupted(number, " before training began.")
        if self.asked_to_stop and world_size() == 1:  # torchrun passes signals on: its processes hear them twice
            raise Interrupted(number, " at once. The last checkpoint stays.")
        self.asked_to_stop = number


def load_checkpoint(content: bytes, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What :meth:`State.to_dict` gave, its tensors on a device; it may hold no classes but SAVED."""
    with torch.serialization.safe_globals(list(SAVED)):
        return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
