"""What watches over a run: it saves the state as training goes, and takes a broken run up again."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import torch

from dsl_teach.data.batches import Batch, Batches
from dsl_teach.training.checkpoint import RunFolder
from dsl_teach.training.distributed import ALONE, Team
from dsl_teach.training.state import State

AGREE_EVERY = 10
"""Steps from one question among several processes whether to stop to the next."""


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop, and has saved what it has."""

    def __init__(self, sentence: str, number: int):
        super().__init__(sentence)
        self.number = number
        """Of the signal: SIGINT or SIGTERM."""


class Keeper:
    """Saves nothing and looks at nothing; what ``fit`` uses by itself."""

    def resume(self, state: State) -> None:
        """Called before training: bring the state to where a broken run left it."""

    def keep(self, state: State) -> None:
        """Called after every epoch."""

    def watch(self, batches: Batches, state: State) -> Batches:
        """The same batches; a keeper may look up between two of them."""
        return batches


class RunKeeper(Keeper):
    """Keeps a run in a folder: after every epoch, every few minutes, and when it is asked to stop.

    Args:
        folder: where to; with several processes only the first one has it.
        team: the processes that train together.
        minutes: between two checkpoints within an epoch.
        on_step: called after every training step with the number of epochs trained so far, 3.25 say.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        *,
        team: Team = ALONE,
        minutes: float = 10.0,
        on_step: Callable[[float], None] | None = None,
    ):
        self.folder, self.team, self.seconds, self.on_step = folder, team, minutes * 60, on_step
        self.asked_to_stop, self._saved_at = 0, time.monotonic()

    def resume(self, state: State) -> None:
        """Take up the newest checkpoint that can be read; without one, start anew."""
        device = next(state.network.parameters()).device
        saved = self.team.from_leader(self.folder.latest_checkpoint() if self.folder else None)
        if saved is not None:
            state.restore(saved, self.team, device)
        self._saved_at = time.monotonic()

    def keep(self, state: State) -> None:
        """Write corrected labels and history, then the checkpoint that they belong to."""
        if self.folder:
            if state.correction is not None and state.correction.epoch == state.epoch:
                self.folder.write_labels(state.correction.labels, state.epoch)
            self.folder.write_history(state.history)
        self.save(state)

    def save(self, state: State) -> None:
        """Write a checkpoint; all processes come here together."""
        content = state.to_dict(self.team)
        if self.folder:
            self.folder.save_checkpoint(content, state.epoch, state.under_way.step if state.under_way else 0)
        self._saved_at = time.monotonic()

    def watch(self, batches: Batches, state: State) -> Batches:
        """The same batches, with a look up after each of them."""
        return Watched(batches, lambda share: self.look_up(state, share))

    def look_up(self, state: State, trained: float | None) -> None:
        """Between two steps: save if it is time to, stop if that was asked for.

        Args:
            state: what to save.
            trained: the share of the epoch's training that is done; None in a pass that does not train.

        Raises:
            Interrupted: after saving, if the process was asked to stop.
        """
        step = state.under_way.step if state.under_way else 0
        if trained is not None and self.on_step is not None:
            self.on_step(state.epoch + trained)
        stop, due = self._agree(state, trained is not None)
        if due or (stop and state.under_way):
            self.save(state)
        if stop:
            where = f"epoch {state.epoch}, step {step}"
            raise Interrupted(f"Stopped by {signal.Signals(stop).name} in {where}. Run it again to continue.", stop)

    def _agree(self, state: State, training: bool) -> tuple[int, bool]:
        """The signal that asks to stop (or 0), and whether a checkpoint is due: the same answer in every process."""
        due = training and time.monotonic() - self._saved_at > self.seconds
        if self.team.alone:
            return self.asked_to_stop, due
        if not training or state.under_way is None or state.under_way.step % AGREE_EVERY:
            return 0, False
        answers = torch.tensor([self.asked_to_stop, int(due)], device=state.under_way.sums.device)
        stop, due = self.team.largest(answers).tolist()
        return stop, bool(due)

    def __enter__(self) -> RunKeeper:
        """From here on SIGTERM and Ctrl-C stop a kept run in good order; a second one stops it at once."""
        self._former = {}
        kept = self.folder is not None or not self.team.alone
        if kept and threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        if self.folder:
            self.folder.close()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked_to_stop:
            raise KeyboardInterrupt("Stopped at once. The last checkpoint stays.")
        self.asked_to_stop = number


class Watched:
    """Batches that somebody looks after.

    Args:
        batches: any batches.
        look_up: called after each batch with the share of the training pass that is done; with None in other passes.
    """

    def __init__(self, batches: Batches, look_up: Callable[[float | None], None]):
        self.batches, self.look_up = batches, look_up
        self.noisy_labels, self.batch_size = batches.noisy_labels, batches.batch_size

    def shuffled(self, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """Those of the batches, with a look up after each."""
        steps = math.ceil(len(self.noisy_labels) / self.batch_size)
        for step, batch in enumerate(self.batches.shuffled(generator, skip), start=skip + 1):
            yield batch
            self.look_up(step / steps)

    def in_order(self) -> Iterator[Batch]:
        """Those of the batches, with a look up after each."""
        for batch in self.batches.in_order():
            yield batch
            self.look_up(None)
