"""The prototype explorer in a headless Chromium: the same numbers as the library, and soon enough on the screen."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from dsl_lessons.explorers.page import PointSet, explorer_page
from playwright.sync_api import Browser, Page

from benchmarks.measure import figure
from tests.explorer_cases import difference, file_page, module_page, random_set, random_values
from tests.jupyter_page import HOW_TO_INSTALL, browser, chromium

CASES = 500
CLASSES, FEATURES, SAMPLES = 10, 64, 200
"""Of the set that is timed; m = 200 samples a class."""
MOVES = {"p": 8, "m": 200, "quantile": 0.6, "eta_max": 0.9, "noise_rate": 0.4, "alpha": 0.5}
FRAME = """async (name) => {
  const slider = document.querySelector(`input[name=${name}]`), waits = [];
  for (let move = 0; move < 60; move++) {
    await new Promise((go) => requestAnimationFrame(go));
    const start = performance.now();
    slider.value = Number(slider.value) + (move % 2 ? 1 : -1) * Number(slider.step);
    slider.dispatchEvent(new Event("input"));
    document.querySelector("canvas").getContext("2d").getImageData(0, 0, 1, 1);  // only once all is drawn
    waits.push(performance.now() - start);
  }
  return waits.slice(10);
}"""
WATCH = """() => {
  window.waits = [];
  addEventListener("keydown", (event) => {
    addEventListener("input", () => requestAnimationFrame(() => {
      const channel = new MessageChannel();  // its message comes after this frame is painted
      channel.port1.onmessage = () => window.waits.push(performance.now() - event.timeStamp);
      channel.port2.postMessage(0);
    }), { once: true });
  }, true);
}"""


def figures() -> list[dict[str, Any]]:
    """Parity, and milliseconds to a drawn frame and to a painted one; none where there is no browser."""
    if chromium() is None:
        print(HOW_TO_INSTALL)
        return []
    with tempfile.TemporaryDirectory() as folder, browser() as started:
        path = explorer_page(Path(folder) / "page.html", timed_set(), **MOVES)
        with file_page(started, path, width=1400, height=1100) as page:
            frames = {name: page.evaluate(FRAME, name) for name in MOVES}
            keys = key_to_paint(page, presses=50)
        drawn = [_time(f"input event of {name} to drawn frame", waits, 16) for name, waits in frames.items()]
        return [*parity(started), *drawn, _time("key press to painted frame", keys, 40)]


def parity(started: Browser) -> list[dict[str, Any]]:
    """Over random data sets and values: cases with another index, density or label, and the greatest distance."""
    others, apart = 0, 0.0
    with module_page(started) as page:
        for seed in range(CASES):
            draw = torch.Generator().manual_seed(seed)
            same, distance = difference(page, random_set(draw), random_values(draw))
            others, apart = others + (not same), max(apart, distance)
    note = f"similarities and scores rounded to 12 decimals on both sides; greatest distance {apart:.1e}"
    return [
        figure("explorer: cases that differ from the library", others, 0, n=CASES, note=note),
        figure("explorer: greatest distance of an eta or a class score, 1e-9", 1e9 * apart, 1, n=CASES, note=note),
    ]


def timed_set() -> PointSet:
    """200 samples of each of 10 classes with 64 features, 40 % of the labels wrong."""
    draw = torch.Generator().manual_seed(0)
    clean = torch.arange(CLASSES * SAMPLES) % CLASSES
    rows = torch.randn(CLASSES, FEATURES, generator=draw)[clean] + torch.randn(len(clean), FEATURES, generator=draw)
    rates = [tenths / 10 for tenths in range(9)]
    wrong = torch.rand(len(clean), generator=draw)
    noisy = {rate: torch.where(wrong < rate, (clean + 1) % CLASSES, clean) for rate in rates}
    names, order = tuple(map(str, range(CLASSES))), torch.randperm(len(clean), generator=draw)
    return PointSet("timed", "random", rows, rows[:, :2].contiguous(), clean, noisy, names, order, "")


def key_to_paint(page: Page, *, presses: int) -> list[float]:
    """Milliseconds from each key press, by the browser's stamp, until the changed picture is painted."""
    slider = page.locator("input[name=p]")
    slider.press("ArrowLeft")
    page.evaluate(WATCH)
    for press in range(presses):
        slider.press("ArrowLeft" if press % 8 < 4 else "ArrowRight")
        page.wait_for_function(f"() => window.waits.length > {press}", timeout=10_000)
    waits: list[float] = page.evaluate("() => window.waits")
    return waits


def _time(name: str, waits: Sequence[float], limit: float) -> dict[str, Any]:
    note = f"absolute, median; from {min(waits):.1f} to {max(waits):.1f} ms; load {os.getloadavg()[0]:.1f}"
    told = f"explorer, m = {SAMPLES}, {FEATURES} dimensions, {CLASSES} classes: {name}, ms"
    return figure(told, statistics.median(waits), limit, n=len(waits), note=note)
