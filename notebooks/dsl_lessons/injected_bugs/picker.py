"""A box for each variant of lesson 07; the curves of those that are ticked, at once."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import ipywidgets
import pandas as pd

from dsl_lessons.injected_bugs.catalog import VARIANTS
from dsl_lessons.injected_bugs.figures import curves


class Picker(ipywidgets.VBox):
    """Boxes to tick over rows that are there already: nothing is trained.

    Args:
        rows: one row a run, of :func:`dsl_lessons.injected_bugs.runs.run_trials`.
        on: the variants that are ticked at first.
    """

    def __init__(self, rows: pd.DataFrame, on: Sequence[str] = ()):
        names = [name for name in VARIANTS if name not in ("SMP", "cross-entropy") and name in set(rows["method"])]
        self.rows, look = rows, {"indent": False, "layout": {"width": "190px"}}
        self.boxes = {name: ipywidgets.Checkbox(name in on, description=name, **look) for name in names}
        self.image, self.stories = ipywidgets.Image(format="png"), ipywidgets.HTML()
        boxes = ipywidgets.Box(list(self.boxes.values()), layout={"flex_flow": "row wrap"})
        super().__init__([boxes, self.image, self.stories])
        for box in self.boxes.values():
            box.observe(self.redraw, "value")
        self.redraw()

    def redraw(self, change: object = None) -> None:
        """Draw the variants that are ticked; called whenever a box is."""
        names, buffer = [name for name, box in self.boxes.items() if box.value], io.BytesIO()
        curves(self.rows, names).savefig(buffer, format="png", dpi=90)
        self.image.value = buffer.getvalue()
        lines = [f"<li><b>{html.escape(name)}</b>: {html.escape(VARIANTS[name].story)}</li>" for name in names]
        self.stories.value = f"<ul>{''.join(lines)}</ul>" if names else "Nothing is ticked: the method as it should be."

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Beside the widget the picture itself, which stays where a saved notebook is read without a kernel."""
        data = super()._repr_mimebundle_(**kwargs)
        return data | {"image/png": base64.b64encode(self.image.value).decode()}
