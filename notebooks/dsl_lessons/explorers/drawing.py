"""Pictures as SVG text: plain numbers in, a string out, quick enough to redraw while a slider moves."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsl_lessons.figures import CLASS_COLOURS

INK, FAINT, PAPER = "#333333", "#cccccc", "#ffffff"

Tick = tuple[float, str]


@dataclass(frozen=True)
class Panel:
    """A rectangle of the picture, in pixels, and the ranges of the numbers that are drawn in it."""

    left: float
    top: float
    width: float
    height: float
    xlim: tuple[float, float]
    ylim: tuple[float, float]

    def x(self, values: ArrayLike) -> NDArray[np.float64]:
        """Pixels from the left."""
        return self.left + self.width * _share(values, self.xlim)

    def y(self, values: ArrayLike) -> NDArray[np.float64]:
        """Pixels from the top: larger numbers stand higher."""
        return self.top + self.height * (1 - _share(values, self.ylim))


def colour_of(c: int) -> str:
    """The colour of a class, the same as in figures; after the last one the colours begin again."""
    return CLASS_COLOURS[c % len(CLASS_COLOURS)]


def element(name: str, content: str = "", **attributes: object) -> str:
    """One SVG element. Attribute values are escaped; the content is taken as SVG. ``_`` in a name becomes ``-``."""
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{''.join(pairs)}>{content}</{name}>"


def words(x: float, y: float, text: str, **attributes: object) -> str:
    """A line of text, escaped."""
    common = {"font-size": 13, "fill": INK} | {key.replace("_", "-"): value for key, value in attributes.items()}
    return element("text", html.escape(text), x=round(x, 1), y=round(y, 1), **common)


def dots(panel: Panel, xs: ArrayLike, ys: ArrayLike, *, colour: str, size: float = 5, opacity: float = 1) -> str:
    """Many round dots as one path: lines of length zero with round ends."""
    if not np.size(xs):
        return ""
    path = repeat("M%.1f %.1fh0", np.stack([panel.x(xs), panel.y(ys)], axis=-1))
    return element(
        "path", d=path, stroke=colour, stroke_width=size, stroke_linecap="round", stroke_opacity=opacity, fill="none"
    )


def stars(panel: Panel, xs: ArrayLike, ys: ArrayLike, *, colour: str, size: float = 10, hollow: bool = False) -> str:
    """Five-pointed stars with a dark edge; hollow ones are white inside and have an edge in their colour."""
    if not np.size(xs):
        return ""
    turn = np.arange(10) * math.pi / 5
    radius = size * np.where(np.arange(10) % 2, 0.45, 1)
    corners = np.stack([radius * np.sin(turn), -radius * np.cos(turn)], axis=1)
    places = np.stack([panel.x(xs), panel.y(ys)], axis=-1).reshape(-1, 1, 2) + corners
    fill, edge = (PAPER, colour) if hollow else (colour, "#000000")
    path = repeat("M%.1f %.1f" + "L%.1f %.1f" * 9 + "Z", places)
    return element("path", d=path, fill=fill, stroke=edge, stroke_width=1.6 if hollow else 1)


def repeat(form: str, numbers: NDArray[np.float64]) -> str:
    """A printf form, filled again and again until all numbers are used up: much faster than number by number."""
    flat = numbers.ravel().tolist()
    return form * (len(flat) // form.count("%")) % tuple(flat)


def polyline(panel: Panel, xs: ArrayLike, ys: ArrayLike, *, colour: str, width: float = 2, dashed: bool = False) -> str:
    """A line through the points, in their order."""
    points = repeat("%.1f,%.1f ", np.stack([panel.x(xs), panel.y(ys)], axis=-1))
    dash = "5 4" if dashed else None
    return element("polyline", points=points, stroke=colour, stroke_width=width, stroke_dasharray=dash, fill="none")


def axes(panel: Panel, *, title: str, xlabel: str, ylabel: str, xticks: Sequence[Tick], yticks: Sequence[Tick]) -> str:
    """The frame of a panel: a title above it, two lines, ticks with their names."""
    low_x, low_y, bottom = panel.xlim[0], panel.ylim[0], panel.top + panel.height
    turned = f"translate({panel.left - 40:.0f} {panel.top + panel.height / 2:.0f}) rotate(-90)"
    parts = [
        words(panel.left, panel.top - 14, title, font_weight="bold"),
        polyline(panel, [low_x, low_x, panel.xlim[1]], [panel.ylim[1], low_y, low_y], colour=INK, width=1),
        words(panel.left + panel.width / 2, bottom + 38, xlabel, text_anchor="middle"),
        words(0, 0, ylabel, text_anchor="middle", transform=turned),
    ]
    for value, name in xticks:
        parts.append(words(float(panel.x(value)), bottom + 18, name, text_anchor="middle", font_size=12))
    for value, name in yticks:
        parts.append(words(panel.left - 7, float(panel.y(value)) + 4, name, text_anchor="end", font_size=12))
    return "".join(parts)


def epoch_axes(panel: Panel, epochs: int, *, title: str, ylabel: str) -> str:
    """The frame of a panel of curves: shares from 0 to 1 over epochs, counted from 1."""
    ticks = sorted({1, *range(0, epochs + 1, max(1, epochs // 5))} - {0})
    return axes(
        panel, title=title, xlabel="epoch", ylabel=ylabel,
        xticks=[(tick, str(tick)) for tick in ticks], yticks=[(k / 4, f"{25 * k} %") for k in range(5)],
    )  # fmt: skip


def picture(width: int, height: int, parts: Iterable[str], *, description: str) -> str:
    """A whole SVG picture on white paper, with a description for those who cannot see it."""
    sheet = element("rect", width=width, height=height, fill=PAPER)
    content = element("title", html.escape(description)) + sheet + "".join(parts)
    return element(
        "svg", content, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", width=width,
        height=height, role="img", font_family="Helvetica, Arial, sans-serif", style="max-width: 100%; height: auto",
    )  # fmt: skip


def _share(values: ArrayLike, limits: tuple[float, float]) -> NDArray[np.float64]:
    low, high = limits
    return (np.asarray(values, dtype=np.float64) - low) / (high - low)
