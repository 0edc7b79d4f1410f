"""The shell that both explorers share: labelled sliders, buttons, a picture, a sentence, and the batch command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from dsl_teach.config import Settings

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Slider:
    """One knob: the name of a setting, the ends of its slider, and the step between two values."""

    name: str
    least: float
    most: float
    step: float
    words: str = ""
    """What stands beside the name; empty: the help of the setting."""

    @property
    def label(self) -> str:
        """What the reader sees, and a screen reader says."""
        return f"{self.name}: {self.words or Settings.model_fields[self.name].description}"


KNOB_WORDS = {
    "p": "prototypes a class",
    "m": "samples a class",
    "alpha": "weight of corrected labels",
    "correction_start": "epochs without",
}
"""What stands beside the four knobs."""


def knob_sliders(values: Mapping[str, Sequence[Any]], steps: Mapping[str, float]) -> tuple[Slider, ...]:
    """A slider a knob, from the least to the greatest of its values; a step wide at least.

    Args:
        values: knob -> the values that it takes among some runs.
        steps: knob -> step.
    """
    return tuple(
        Slider(name, min(known), max(max(known), min(known) + steps[name]), steps[name], KNOB_WORDS[name])
        for name, known in values.items()
    )


def batch_command(notebook: str, parameters: Mapping[str, object]) -> str:
    """The papermill command that runs a notebook with these parameters, ready for a POSIX shell in its folder.

    Args:
        notebook: file name of the notebook.
        parameters: names and values for its parameters cell.

    Returns:
        One line; everything in it is quoted where a shell needs that. The executed notebook goes to ``../runs``.
    """
    words = ["papermill", notebook, f"../runs/{notebook}"]
    for name, value in parameters.items():  # numbers without rounding dust: 0.3 and not 0.30000000000000004
        words += ["-p", name, f"{value:.10g}" if isinstance(value, float) else str(value)]
    return f"mkdir -p ../runs && {shlex.join(words)}"


class Explorer(anywidget.AnyWidget):
    """A widget without logic of its own. A subclass says what to show for the values of the sliders.

    An error in a callback is shown as a sentence under the picture and raised again, so that nothing hides it.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    sliders: traitlets.List[Any] = traitlets.List().tag(sync=True)
    buttons: traitlets.List[Any] = traitlets.List().tag(sync=True)
    enabled: traitlets.List[Any] = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True, echo_update=False)  # an echo would be one more message a move
    picture = traitlets.Unicode().tag(sync=True)
    summary = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)
    command = traitlets.Unicode().tag(sync=True)

    def __init__(self, sliders: Sequence[Slider], values: Mapping[str, Any], buttons: Mapping[str, str] | None = None):
        specs = [{**asdict(slider), "label": slider.label} for slider in sliders]
        super().__init__(
            sliders=specs,
            values={slider.name: values[slider.name] for slider in sliders},
            buttons=[{"name": name, "label": label} for name, label in (buttons or {}).items()],
        )
        self.observe(self.redraw, "values")
        self.on_msg(self._press)
        self.redraw()

    def show(self, values: dict[str, Any]) -> dict[str, str]:
        """Picture, summary and command for the values of the sliders, by these names."""
        raise NotImplementedError

    def press(self, button: str) -> None:
        """What a button does; none by default."""

    def redraw(self, change: object = None) -> None:
        """Show the present values; called whenever a slider moves."""
        with self.hold_sync(), self.reporting():
            for name, text in self.show(dict(self.values)).items():
                setattr(self, name, text)

    def reporting(self) -> _Reporting:
        """A block whose errors are shown to the reader, and raised."""
        return _Reporting(self)

    def __repr__(self) -> str:
        """Name and values, without an address, so that saved outputs are the same in every run."""
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.values.items())})"

    def _press(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        if "button" in content:
            with self.reporting():
                self.press(str(content["button"]))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Beside the widget the picture itself, which stays where a saved notebook is read without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return data | {"image/svg+xml": self.picture}, metadata


class _Reporting:
    """Show an error of the block in the explorer, and let it pass on."""

    def __init__(self, explorer: Explorer):
        self.explorer = explorer

    def __enter__(self) -> None:
        self.explorer.problem = ""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            self.explorer.problem = str(error) or type(error).__name__
