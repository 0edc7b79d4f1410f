"""The first picture of the prototype explorer as SVG, for where no script runs: samples, ring, and decision graph."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dsl_lessons.figures import CLASS_COLOURS
from dsl_teach.prototypes import Prototypes, best_class, class_scores
from dsl_teach.prototypes.density import cosine_similarity, density, eta, similarity_threshold

if TYPE_CHECKING:
    from dsl_lessons.explorers.page import PointSet

RING = 1.63
"""Radius of the ring around points in the plane."""
LEFT, RIGHT, TOP, BOTTOM = 600, 985, 40, 420
"""Of the decision graph, in pixels."""
TICKS = (-1, 0, 0.5, 0.8, 0.95, 0.99, 1)
FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 588" width="1000" role="img" font-family="sans-serif"
 font-size="14" fill="#5b6572"><title>{title}. {told}</title>{parts}<g>{legend}</g></svg>"""
LEGEND = (
    "Dots: samples, in the colour of the corrected label{ring}.",
    "Larger discs: changed labels, rim given, core corrected. Crosses: the corrected label is wrong.",
    "Stars: prototypes; hollow ones did not pass the gate and fill up.",
)


def colour_of(c: int) -> str:
    """The colour of a class, the same as in figures; after the last one the colours begin again."""
    return CLASS_COLOURS[c % len(CLASS_COLOURS)]


def reach(points: PointSet) -> float:
    """Half the width of the part of the plane that is shown; around points in the plane there is room for a ring."""
    return 1.75 if points.embeddings.shape[1] == 2 else 1.02 * float(points.places.abs().max())


def picture(points: PointSet, values: Mapping[str, Any], found: Prototypes, corrected: Tensor) -> str:
    """Left, the samples where they lie, right, rho over eta: what the script draws of the same values."""
    given, plane = points.noisy_labels[values["noise_rate"]], points.embeddings.shape[1] == 2
    at = 240 + 225 * points.places.double() * torch.tensor([1.0, -1.0]) / reach(points)
    parts = [_ring(found, reach(points)) if plane else "", _samples(at, given, corrected, values["alpha"])]
    wrong = at[corrected != points.clean_labels].tolist()
    crosses = "".join(f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6" for x, y in wrong)
    parts += [f'<path d="{crosses}" stroke="#1d232b"/>', _stars(at, found, values["eta_max"])]
    parts += [_graph(points, values, found, given)]
    for c, name in enumerate(points.class_names):
        parts.append(f'<text x="474" y="{40 + 20 * c}" fill="{colour_of(c)}">● {html.escape(name)}</text>')
    before, after = (100 * float((labels == points.clean_labels).double().mean()) for labels in (given, corrected))
    told = f"Labels right: {before:.1f} % given, {after:.1f} % corrected. Prototypes a class: {values['p']}."
    ring = "; the ring: what each direction gets" if plane else ""
    lines = (*(line.format(ring=ring) for line in LEGEND), told)
    legend = "".join(_words(10, 514 + 22 * at, line) for at, line in enumerate(lines))
    return FRAME.format(title=html.escape(points.told), told=told, legend=legend, parts="".join(parts))


def _samples(at: Tensor, given: Tensor, corrected: Tensor, alpha: float) -> str:
    """A dot each; a changed label is a disc with a rim of the given colour, and a core of the corrected one."""
    parts, core = [], 5 * math.sqrt(alpha)
    for c in corrected[corrected == given].unique().tolist():
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in at[(corrected == c) & (given == c)].tolist())
        parts.append(f'<path d="{dots}" stroke="{colour_of(c)}" stroke-width="5" stroke-linecap="round"/>')
    for i in (corrected != given).nonzero().flatten().tolist():
        rim, fill = colour_of(int(given[i])), colour_of(int(corrected[i]))
        parts.append(
            f'<circle cx="{at[i, 0]:.1f}" cy="{at[i, 1]:.1f}" r="{(5 + core) / 2:.2f}" fill="{fill}" stroke="{rim}" '
            f'stroke-width="{5 - core:.2f}"/>'
        )
    return "".join(parts)


def _ring(found: Prototypes, reach: float, steps: int = 180) -> str:
    """The label that each direction gets, since a cosine knows only directions."""
    angles = torch.arange(2 * steps + 1, dtype=torch.float64) * math.pi / steps
    directions = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = best_class(class_scores(directions[1::2], found))
    ends = (240 + 225 * RING / reach * directions[::2] * torch.tensor([1.0, -1.0])).tolist()
    parts = []
    for c in labels.unique().tolist():
        steps_of_c = (labels == c).nonzero().flatten().tolist()
        arcs = "".join("M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*ends[i], *ends[i + 1]) for i in steps_of_c)
        parts.append(f'<path d="{arcs}" stroke="{colour_of(c)}" stroke-width="6"/>')
    return "".join(parts)


def _stars(at: Tensor, found: Prototypes, eta_max: float) -> str:
    """The prototypes; those that did not pass the gate and fill up are hollow."""
    parts = []
    for c, (index, etas) in enumerate(zip(found.index.tolist(), found.eta.tolist(), strict=True)):
        for i, eta_ in zip(index, etas, strict=True):
            if i >= 0:
                fill, edge = (colour_of(c), "#1d232b") if eta_ < eta_max else ("#ffffff", colour_of(c))
                parts.append(f'<text x="{at[i, 0]:.1f}" y="{at[i, 1] + 6:.1f}" fill="{fill}" stroke="{edge}">★</text>')
    return f'<g font-size="20" text-anchor="middle">{"".join(parts)}</g>'


def _graph(points: PointSet, values: Mapping[str, Any], found: Prototypes, given: Tensor) -> str:
    """The decision graph of the samples that were drawn, with the gate."""
    rows, parts = points.rows(values["noise_rate"], values["m"]), []
    rho, eta_ = torch.zeros(len(given), dtype=torch.float64), torch.zeros(len(given), dtype=torch.float64)
    for own in (rows[given[rows] == c] for c in range(len(points.class_names))):
        if len(own):
            S = cosine_similarity(points.embeddings[own].double())
            rho[own] = (dense := density(S, similarity_threshold(S, values["quantile"]))).double()
            eta_[own] = eta(S, dense)
    most = max(1.0, float(rho.abs().max()))
    across = LEFT + _stretch(eta_) * (RIGHT - LEFT)
    at = torch.stack([across, (TOP + BOTTOM) / 2 - rho / most * (BOTTOM - TOP) / 2.1], dim=1)
    gate = LEFT + float(_stretch(torch.tensor(min(values["eta_max"], 1.0)))) * (RIGHT - LEFT)
    parts.append(f'<path d="M{LEFT} {TOP}H{gate:.1f}V{BOTTOM}H{LEFT}Z" fill="#8a8a8a" fill-opacity="0.12"/>')
    parts.append(f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="#5b6572"/>')
    parts.append(f'<path d="M{gate:.1f} {TOP}V{BOTTOM}" stroke="#1d232b" stroke-dasharray="5 4"/>')
    parts.append(f'<g text-anchor="middle"><text x="{gate:.1f}" y="{TOP - 8}">gate: η &lt; {values["eta_max"]}</text>')
    for tick, place in zip(TICKS, _stretch(torch.tensor(TICKS)).tolist(), strict=True):
        parts.append(f'<text x="{LEFT + place * (RIGHT - LEFT):.1f}" y="{BOTTOM + 18}">{tick}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 40}">η, similarity to something denser</text></g>')
    parts.append(_words(LEFT + 6, TOP + 14, "ρ, density") + _level(most, most) + _level(0, most) + _level(-most, most))
    parts.append(_samples(at[rows], given[rows], given[rows], 0))
    return "".join(parts) + _stars(at, found, values["eta_max"])


def _level(rho: float, most: float) -> str:
    return _words(LEFT - 6, (TOP + BOTTOM) / 2 - rho / most * (BOTTOM - TOP) / 2.1 + 5, f"{rho:g}", "end")


def _words(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _stretch(cosines: Tensor) -> Tensor:
    """A place from 0 to 1 for a cosine, with most of the room for those close to 1."""
    return 1 - (cosines.clamp(-1, 1).acos() / math.pi).sqrt()
