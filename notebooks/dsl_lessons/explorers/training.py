"""The training explorer: the four knobs of the method, a run that starts and stops, and its curves as they grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dsl_lessons.explorers.drawing import FAINT, INK, Panel, element, epoch_axes, picture, polyline, words
from dsl_lessons.explorers.shell import KNOB_WORDS, Explorer, Slider, batch_command
from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.training.records import Callback, EpochRecord, State
from dsl_teach.training.runs import run

TEST, LABELS, MEMORISED = "#1f5fa8", "#1b7f5c", "#c4452f"
CURVES = {
    "test_accuracy": (TEST, "test samples right"),
    "label_accuracy": (LABELS, "corrected labels right"),
    "memorised": (MEMORISED, "wrong labels memorised"),
}


@dataclass(frozen=True)
class TrainingView:
    """What the training explorer shows: the epochs of a run so far, and those of the run before it."""

    settings: Settings
    history: Sequence[EpochRecord]
    before: Sequence[EpochRecord] = ()
    state: str = "not started"


class _Stopped(Exception):
    """Raised at the end of an epoch to leave a run that the reader stopped."""


class _Following(Callback):
    """Hands each epoch's record on."""

    def __init__(self, take: Callable[[EpochRecord], None]):
        self.take = take

    def on_epoch_end(self, state: State) -> None:
        self.take(state.history[-1])


def training_picture(view: TrainingView) -> str:
    """The curves of a run, epoch by epoch, with the run before it in grey; as SVG."""
    epochs = max(view.settings.epochs, len(view.before), 2)
    panel = Panel(60, 44, 480, 250, (1, epochs), (0, 1))
    parts = [
        epoch_axes(panel, epochs, title=_knobs(view.settings), ylabel="share"),
        *_start_parts(panel, view.settings),
    ]
    for name, (colour, _) in CURVES.items():
        parts.append(_curve(panel, view.before, name, FAINT))
        parts.append(_curve(panel, view.history, name, colour))
    parts += _legend(panel, view)
    return picture(764, 352, parts, description=training_summary(view))


def training_summary(view: TrainingView) -> str:
    """One line: how far the run is, and its last figures."""
    if not view.history:
        return f"{view.state.capitalize()}: 0 of {view.settings.epochs} epochs."
    last = view.history[-1]
    shares = [
        f"{label} {getattr(last, name):.1%}" for name, (_, label) in CURVES.items() if getattr(last, name) is not None
    ]
    return f"{view.state.capitalize()}: {len(view.history)} of {view.settings.epochs} epochs; {', '.join(shares)}."


class TrainingExplorer(Explorer):
    """Four sliders, a button that trains, a button that stops.

    The run lives in a thread of its own, so that the notebook stays free; the curves grow with each epoch, and Stop
    ends the run with the epoch that it is in.
    """

    def __init__(
        self,
        data: NoisyDataset,
        settings: Settings,
        *,
        notebook: str = "00_start_here.ipynb",
        sliders: Sequence[Slider] = (),
    ):
        self.data, self.settings, self.notebook = data, settings, notebook
        self.view = TrainingView(settings, ())
        self.error: Exception | None = None
        self._stop, self._thread = threading.Event(), threading.Thread()
        super().__init__(sliders or training_sliders(settings), settings.to_dict(), {"train": "Train", "stop": "Stop"})
        self.enabled = ["train"]

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._thread.is_alive()

    def show(self, values: dict[str, Any]) -> dict[str, str]:
        """The command for the sliders; the curves stay, or, before the first run, their axes name the values."""
        settings = self.settings.replace(**values)
        if not self.view.history and not self.running:
            self.view = TrainingView(settings, ())
        return self.texts(self.view) | {"command": batch_command(self.notebook, values)}

    def texts(self, view: TrainingView) -> dict[str, str]:
        """Picture and summary of a run as far as it is."""
        return {"picture": training_picture(view), "summary": training_summary(view)}

    def press(self, button: str) -> None:
        """Train or stop."""
        if button == "train":
            self.train()
        elif button == "stop":
            self.stop()

    def train(self) -> None:
        """Start a run with the values of the sliders, unless one is under way."""
        if self.running:
            return
        before = self.view.history
        self.view = TrainingView(self.settings.replace(**self.values), (), before, "running")
        self.error = None
        self._stop.clear()
        self.enabled = ["stop"]
        self._thread = threading.Thread(target=self._run, name="training explorer", daemon=True)
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

    def _run(self) -> None:
        try:
            run(self.view.settings, self.data, callbacks=[_Following(self._take)])
            self._draw("finished")
        except _Stopped:
            self._draw("stopped")
        except Exception as error:  # a thread has nobody above it: keep the error for the reader and for wait()
            self.error, self.problem = error, str(error) or type(error).__name__
            self._draw("ended by an error")
        finally:
            self.enabled = ["train"]

    def _take(self, record: EpochRecord) -> None:
        self.view = TrainingView(self.view.settings, [*self.view.history, record], self.view.before, "running")
        if self._stop.is_set():
            raise _Stopped
        self._draw("running")

    def _draw(self, state: str) -> None:
        self.view = TrainingView(self.view.settings, self.view.history, self.view.before, state)
        with self.hold_sync():
            for name, text in self.texts(self.view).items():
                setattr(self, name, text)


def training_sliders(settings: Settings) -> tuple[Slider, ...]:
    """The four knobs, by their names in :class:`dsl_teach.config.Settings`."""
    return (
        Slider("p", 1, 16, 1, KNOB_WORDS["p"]),
        Slider("m", 20, max(200, settings.m), 20, KNOB_WORDS["m"]),
        Slider("alpha", 0, 1, 0.05, KNOB_WORDS["alpha"]),
        Slider("correction_start", 0, settings.epochs, 1, KNOB_WORDS["correction_start"]),
    )


def _knobs(s: Settings) -> str:
    return f"p = {s.p}, m = {s.m}, alpha = {s.alpha:g}, correction_start = {s.correction_start}"


def _start_parts(panel: Panel, settings: Settings) -> list[str]:
    if settings.alpha == 0 or settings.correction_start >= settings.epochs:
        return []
    x = settings.correction_start + 0.5
    note = words(float(panel.x(x)) + 5, panel.top + 4, "first correction", font_size=12)
    return [polyline(panel, [x, x], [0, 1], colour=INK, width=1, dashed=True), note]


def _curve(panel: Panel, history: Sequence[EpochRecord], name: str, colour: str) -> str:
    known = [(record.epoch + 1, getattr(record, name)) for record in history if getattr(record, name) is not None]
    return polyline(panel, [x for x, _ in known], [y for _, y in known], colour=colour) if known else ""


def _legend(panel: Panel, view: TrainingView) -> list[str]:
    entries = [*CURVES.values(), *([(FAINT, "the run before")] if view.before else [])]
    x, lines = panel.left + panel.width + 24, []
    for place, (colour, label) in enumerate(entries):
        y = panel.top + 10 + 24 * place
        lines.append(element("rect", x=x, y=y - 6, width=14, height=4, fill=colour))
        lines.append(words(x + 20, y, label, font_size=12))
    return lines
