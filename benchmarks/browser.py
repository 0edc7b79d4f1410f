"""How long a reader waits from a key press to a changed picture, in JupyterLab in a headless Chromium."""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import figure
from tests.jupyter_page import (
    HOW_TO_INSTALL,
    NotebookPage,
    browser,
    chromium,
    jupyter_lab,
    open_notebook,
    write_notebook,
)

CELL = """
from dsl_teach import Settings
from dsl_teach.data.toy import toy_clusters
from dsl_lessons.explorers.prototypes import PrototypeExplorer
PrototypeExplorer(toy_clusters(seed=0, modes=4), Settings(m=200))
"""
LIMIT_MS = 60.0
WATCH = """() => {
  window.waits = [];
  let pressed = null;
  addEventListener('keydown', (event) => { pressed = event.timeStamp; }, true);
  const changed = () => {
    if (pressed === null) return;
    const start = pressed;
    pressed = null;
    requestAnimationFrame(() => window.waits.push(performance.now() - start));
  };
  new MutationObserver(changed).observe(document.querySelector('.dsl-picture'), { childList: true });
}"""


def figures() -> list[dict[str, Any]]:
    """The one figure of this module, in milliseconds; none where there is no browser."""
    if chromium() is None:
        print(HOW_TO_INSTALL)
        return []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        write_notebook(Path(folder) / "explorer.ipynb", CELL)
        with (
            jupyter_lab(Path(folder), Path(scratch)) as lab,
            browser() as chrome,
            open_notebook(chrome, lab, "explorer.ipynb") as opened,
        ):
            opened.run_all(seconds=120)
            waits = key_to_picture(opened, presses=20)
    note = f"absolute, median; from {min(waits):.0f} to {max(waits):.0f} ms; load {os.getloadavg()[0]:.1f}"
    return [
        figure(
            "prototype explorer: key press to changed picture, ms", statistics.median(waits), LIMIT_MS, n=20, note=note
        )
    ]


def key_to_picture(opened: NotebookPage, *, presses: int) -> list[float]:
    """Milliseconds from each key press, as the browser stamps it, until the frame that paints the changed picture."""
    slider = opened.scroll_to('.dsl-explorer input[name="p"]')
    slider.focus()
    for key in ("ArrowLeft", "ArrowRight", "ArrowLeft"):  # a warm-up
        slider.press(key)
        opened.page.wait_for_timeout(300)
    opened.page.evaluate(WATCH)
    for press in range(presses):
        slider.press("ArrowLeft" if press % 8 < 4 else "ArrowRight")
        opened.page.wait_for_function(f"() => window.waits.length > {press}", timeout=10_000)
        opened.page.wait_for_timeout(100)
    waits: list[float] = opened.page.evaluate("() => window.waits")
    return waits
