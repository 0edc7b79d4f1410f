"""The switchboard of lesson 07: a box for each suspect; the curves of those that are ticked, at once."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import ipywidgets
import pandas as pd

from dsl_lessons.suspects.catalog import SUSPECTS
from dsl_lessons.suspects.plots import suspect_curves


def switchboard(rows: pd.DataFrame, on: Sequence[str] = ()) -> Switchboard:
    """Boxes to tick over rows that are there already: nothing is trained.

    Args:
        rows: one row a run, from :func:`dsl_lessons.suspects.runs.run_jobs`.
        on: the suspects that are ticked at first.
    """
    return Switchboard(rows, on)


class Switchboard(ipywidgets.VBox):
    """A widget without logic of its own: ticked names -> :func:`suspect_curves` -> a picture and a list of stories."""

    def __init__(self, rows: pd.DataFrame, on: Sequence[str]):
        self.rows = rows
        names = [name for name in SUSPECTS if (rows["suspect"] == name).any() and name not in ("SMP", "cross-entropy")]
        layout = ipywidgets.Layout(width="190px")
        self.boxes = {
            name: ipywidgets.Checkbox(value=name in on, description=name, indent=False, layout=layout) for name in names
        }
        self.image, self.stories = ipywidgets.Image(format="png"), ipywidgets.HTML()
        grid = ipywidgets.Box(list(self.boxes.values()), layout=ipywidgets.Layout(flex_flow="row wrap"))
        super().__init__([grid, self.image, self.stories])
        for box in self.boxes.values():
            box.observe(self.redraw, "value")
        self.redraw()

    @property
    def on(self) -> list[str]:
        """The suspects that are ticked."""
        return [name for name, box in self.boxes.items() if box.value]

    def redraw(self, change: object = None) -> None:
        """Draw the suspects that are ticked; called whenever a box is."""
        self.image.value = png(suspect_curves(self.rows, self.on))
        self.stories.value = stories(self.on)

    def __repr__(self) -> str:
        return f"Switchboard({', '.join(self.on)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Beside the widget the picture itself, which stays where a saved notebook is read without a kernel."""
        data = super()._repr_mimebundle_(**kwargs)
        return data | {"image/png": base64.b64encode(self.image.value).decode()}


def png(figure: Any) -> bytes:
    """A figure as the bytes of a PNG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def stories(names: Sequence[str]) -> str:
    """What each suspect does, as a list in HTML."""
    lines = (f"<li><b>{html.escape(name)}</b>: {html.escape(SUSPECTS[name].story)}</li>" for name in names)
    return f"<ul>{''.join(lines)}</ul>" if names else "Nothing is ticked: the method as it should be."
