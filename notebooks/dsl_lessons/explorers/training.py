"""The training explorer: the four knobs of the method over stored runs, and a run that starts and stops beside them."""

from __future__ import annotations

import html
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from dsl_lessons.explorers.page import HERE, write_page
from dsl_teach.config import KNOBS, Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import interval
from dsl_teach.training.records import Callback, EpochRecord, State
from dsl_teach.training.runs import run

CURVES = ("test_accuracy", "label_accuracy", "memorised")
KNOB_WORDS = ("prototypes a class", "samples a class", "weight of corrected labels", "epochs without")
STEPS = (1, 10, 0.05, 1)


class _Stopped(Exception):
    """Raised at the end of an epoch to leave a run that the reader stopped."""


class _Following(Callback):
    """Hands each epoch's record on."""

    def __init__(self, take: Callable[[EpochRecord], None]):
        self.take = take

    def on_epoch_end(self, state: State) -> None:
        self.take(state.history[-1])


class TrainingExplorer(anywidget.AnyWidget):
    """Four sliders; each position shows the stored run that lies nearest, and, with data, Train runs it for real.

    The run lives in a thread of its own, so that the notebook stays free; the curves grow with each epoch, and Stop
    ends the run with the epoch that it is in.

    Args:
        data: to train on; without them there are only stored runs.
        settings: everything that has no slider.
        rows: of a sweep over the four knobs; runs that differ by their seed alone are shown by their mean.
        made_by: which file made the rows.
        notebook: that the batch command runs.

    Raises:
        ValueError: if there are neither data nor rows.
    """

    _esm, _css = HERE / "explorer.mjs", HERE / "explorer.css"
    sliders: traitlets.List[Any] = traitlets.List().tag(sync=True)
    runs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True, echo_update=False)
    command = traitlets.Unicode().tag(sync=True)
    live = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        data: NoisyDataset | None = None,
        settings: Settings | None = None,
        *,
        rows: pd.DataFrame | None = None,
        made_by: str = "",
        notebook: str = "",
    ):
        runs = [] if rows is None or rows.empty else stored_runs(rows, made_by)
        if data is None and not runs:
            raise ValueError("There is no finished run to show. Train one first, or name the folder of those you have.")
        self.data, self.settings = data, settings or Settings()
        best = max(
            [one for one in runs if one["knobs"]["alpha"]] or runs, key=lambda one: one["accuracy"], default=None
        )
        own = {name: getattr(self.settings, name) for name in KNOBS}
        super().__init__(
            runs=runs, sliders=knob_sliders(runs, self.settings), command=batch_command(notebook),
            values=own if data is not None or best is None else best["knobs"],
        )  # fmt: skip
        self.error: Exception | None = None
        self._stop, self._thread = threading.Event(), threading.Thread()
        self._history: list[EpochRecord] = []
        if data is not None:
            self.live = {"enabled": ["train"], "epochs": self.settings.epochs}
        self.on_msg(lambda _widget, content, _buffers: {"train": self.train, "stop": self.stop}[content["button"]]())

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._thread.is_alive()

    def train(self) -> None:
        """Start a run with the values of the sliders, unless one is under way."""
        if self.running or self.data is None:
            return
        before = curves(self._history) if self._history else None
        self._history, self.error = [], None
        self._stop.clear()
        arguments = (self.data, self.settings.replace(**self.values), before)
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

    def _run(self, data: NoisyDataset, settings: Settings, before: Mapping[str, Any] | None) -> None:
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
            run(settings, data, callbacks=[_Following(take)])
            tell("Finished", "train")
        except _Stopped:
            tell("Stopped", "train")
        except Exception as error:  # a thread has nobody above it: keep the error for the reader and for wait()
            self.error = error
            tell(f"Ended by an error ({error})", "train")

    def __repr__(self) -> str:
        return f"TrainingExplorer({', '.join(f'{name}={value}' for name, value in self.values.items())})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Beside the widget a picture of the stored runs, which stays where there is no kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if not bundle or not self.runs:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return data | {"image/svg+xml": runs_frame(self.runs)}, metadata


def runs_page(path: str | Path, rows: pd.DataFrame, *, made_by: str) -> Path:
    """Write stored runs as one file that opens in a browser without a server, like ``explorer_page``."""
    shown = TrainingExplorer(rows=rows, made_by=made_by)
    given = {"runs": shown.runs, "sliders": shown.sliders, "values": shown.values, "command": ""}
    return write_page(path, given, runs_frame(shown.runs))


def stored_runs(rows: pd.DataFrame, made_by: str) -> list[dict[str, Any]]:
    """One for each combination of the four knobs: its curves, as means over the seeds, and its figures in words."""
    found = []
    for _, group in rows.groupby(list(KNOBS)):
        around = interval([100 * share for share in group["test_accuracy"]])
        labels = group["label_accuracy"].dropna() if "label_accuracy" in group else pd.Series(dtype=float)
        told = f"test accuracy {f'{around.mean:.1f}' if around.n == 1 else around} % over {around.n} seed(s)"
        told += f", corrected labels right {labels.mean():.1%}" if len(labels) else ""
        source = made_by or str(group["made_from"].iloc[0])
        means = {name: _mean_curve(group[f"{name.partition('_')[0]}_curve"]) for name in CURVES[:2]
                 if f"{name.partition('_')[0]}_curve" in group}  # fmt: skip
        knobs = {name: group[name].iloc[0].item() for name in KNOBS}
        found.append({"knobs": knobs, "accuracy": around.mean / 100, "told": f"{told} ({source}).", "curves": means})
    return found


def _mean_curve(column: pd.Series) -> list[float | None]:
    """The mean over runs, epoch by epoch; None where one of them has no figure."""
    known = [list(curve) for curve in column if isinstance(curve, Sequence)]
    shares = np.array([curve[: min(map(len, known))] for curve in known], dtype=float)
    return [None if np.isnan(mean) else float(mean) for mean in shares.mean(axis=0)] if len(known) else []


def knob_sliders(runs: Sequence[Mapping[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """A slider a knob, over the values of the stored runs; without runs over what is of use."""
    ends = {"p": (1, 16), "m": (20, max(200, settings.m)), "alpha": (0, 1), "correction_start": (0, settings.epochs)}
    sliders = []
    for name, words, step in zip(KNOBS, KNOB_WORDS, STEPS, strict=True):
        known = [one["knobs"][name] for one in runs] or ends[name]
        low, high = min(known), max(max(known), min(known) + step)
        sliders.append({"name": name, "words": words, "min": low, "max": high, "step": step})
    return sliders


def batch_command(notebook: str) -> str:
    """The papermill command that runs a notebook, for a POSIX shell in its folder; ``{p}`` and the like are values."""
    if not notebook:
        return ""
    words = shlex.join(["papermill", notebook, f"../runs/{notebook}"])
    return f"mkdir -p ../runs && {words}" + "".join(f" -p {name} {{{name}}}" for name in KNOBS)


def curves(history: Sequence[EpochRecord]) -> dict[str, list[float | None]]:
    """Shares epoch by epoch, by the names of the curves."""
    return {name: [getattr(record, name) for record in history] for name in CURVES}


def runs_frame(runs: Sequence[Mapping[str, Any]]) -> str:
    """An SVG picture of the test curves of all stored runs, the best one in colour."""
    best = max(runs, key=lambda one: one["accuracy"])
    lines = []
    for one in (*runs, best):
        shares = one["curves"]["test_accuracy"]
        step = 560 / max(len(shares) - 1, 1)
        points = " ".join(f"{50 + step * x:.1f},{230 - 210 * y:.1f}" for x, y in enumerate(shares) if y is not None)
        ink, width = ("#1f5fa8", 2.5) if one is best else ("#c9c9c9", 1)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="{width}"/>')
    told = html.escape(f"Best of {len(runs)} stored runs: {best['told']}")
    names = '<text x="6" y="26">100 %</text><text x="22" y="234">0 %</text><text x="300" y="252">epochs</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 290" width="620" role="img" font-size="13" '
        f'font-family="sans-serif" fill="#5b6572"><title>{told}</title>{names}{"".join(lines)}'
        f'<text x="6" y="280">{told}</text></svg>'
    )
