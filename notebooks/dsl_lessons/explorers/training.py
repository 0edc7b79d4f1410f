"""The training explorer: the four knobs of the method, and a run that starts and stops beside stored ones."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import traitlets

from dsl_lessons.explorers.runs import KNOB_WORDS, KnobsWidget, committed_rows, stored_runs
from dsl_teach.config import KNOBS, Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.training.records import Callback, EpochRecord, State
from dsl_teach.training.runs import run

CURVES = ("test_accuracy", "label_accuracy", "memorised")


class _Stopped(Exception):
    """Raised at the end of an epoch to leave a run that the reader stopped."""


class _Following(Callback):
    """Hands each epoch's record on."""

    def __init__(self, take: Callable[[EpochRecord], None]):
        self.take = take

    def on_epoch_end(self, state: State) -> None:
        self.take(state.history[-1])


class TrainingExplorer(KnobsWidget):
    """Train runs the values of the sliders for real; stored runs, if there are any, are shown beside.

    The run lives in a thread of its own, so that the notebook stays free; the curves grow with each epoch, and Stop
    ends the run with the epoch that it is in.

    Args:
        data: to train on.
        settings: everything that has no slider.
        rows: of stored runs, or their YAML file, as for ``RunsExplorer``; a knob that is no column is that of the settings.
        made_by: which file made the rows.
        notebook: that the batch command runs.
        test_share: as for :func:`dsl_lessons.tables.summarise`.
    """

    live = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        data: NoisyDataset,
        settings: Settings,
        rows: pd.DataFrame | str | Path | None = None,
        *,
        made_by: str = "",
        notebook: str = "",
        test_share: float | None = None,
    ):
        command = batch_command(notebook) if notebook else ""
        if isinstance(rows, (str, Path)):
            rows, made_by, single = committed_rows(rows)
            command = command or single
        own = {name: getattr(settings, name) for name in KNOBS}
        stored = None if rows is None else pd.DataFrame(own, rows.index).assign(**rows)
        runs = [] if stored is None else stored_runs(stored, made_by, test_share)
        super().__init__(runs=runs, sliders=range_sliders(runs, settings), command=command, values=own)
        self.data, self.settings = data, settings
        self.error: Exception | None = None
        self._stop, self._thread = threading.Event(), threading.Thread()
        self._history: list[EpochRecord] = []
        self.live = {"enabled": ["train"], "epochs": settings.epochs}
        self.on_msg(lambda _widget, content, _buffers: {"train": self.train, "stop": self.stop}[content["button"]]())

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._thread.is_alive()

    def train(self) -> None:
        """Start a run with the values of the sliders, unless one is under way."""
        if self.running:
            return
        before = curves(self._history) if self._history else None
        self._history, self.error = [], None
        self._stop.clear()
        arguments = (self.settings.replace(**{name: self.values[name] for name in KNOBS}), before)
        self._thread = threading.Thread(target=self._run, args=arguments, name="training explorer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the run to end with its present epoch; :meth:`wait` for it if need be."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the run has ended.

        Raises:
            Exception: the error that ended it, if one did.
            TimeoutError: if it has not ended after so many seconds.
        """
        if self._thread.ident is not None:
            self._thread.join(seconds)
        if self.running:
            raise TimeoutError(f"The run is still under way after {seconds} seconds.")
        if self.error is not None:
            raise self.error

    def _run(self, settings: Settings, before: Mapping[str, Any] | None) -> None:
        def tell(state: str, *enabled: str) -> None:
            told = {"state": state, "epochs": settings.epochs, "curves": curves(self._history), "before": before}
            self.live = told | {"enabled": list(enabled)}

        def take(record: EpochRecord) -> None:
            self._history.append(record)
            if self._stop.is_set():
                raise _Stopped
            tell("Running", "stop")

        tell("Running", "stop")
        try:
            run(settings, self.data, callbacks=[_Following(take)])
            tell("Finished", "train")
        except _Stopped:
            tell("Stopped", "train")
        except Exception as error:  # a thread has nobody above it: keep the error for the reader and for wait()
            self.error = error
            tell(f"Ended by an error ({error})", "train")


def range_sliders(runs: Sequence[Mapping[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """A slider a knob, over what is of use and what stored runs have."""
    ends = {"p": (1, 16), "m": (20, max(200, settings.m)), "alpha": (0, 1), "correction_start": (0, settings.epochs)}
    sliders = []
    for (name, (low, high)), step in zip(ends.items(), (1, 10, 0.05, 1), strict=True):
        known = [one["knobs"][name] for one in runs]
        told = {"name": name, "words": KNOB_WORDS[name], "step": step}
        sliders.append(told | {"min": min([low, *known]), "max": max([high, *known])})
    return sliders


def batch_command(notebook: str) -> str:
    """The papermill command that runs a notebook, for a POSIX shell in its folder; ``{p}`` and the like are values."""
    words = shlex.join(["papermill", notebook, f"../runs/{notebook}"])
    return f"mkdir -p ../runs && {words}" + "".join(f" -p {name} {{{name}}}" for name in KNOBS)


def curves(history: Sequence[EpochRecord]) -> dict[str, list[float | None]]:
    """Shares epoch by epoch, by the names of the curves."""
    return {name: [getattr(record, name) for record in history] for name in CURVES}
