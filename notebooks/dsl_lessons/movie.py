"""Lesson 03: the correction phase as an animated picture, corrected labels and prototypes epoch by epoch."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dsl_lessons.figures import CLASS_COLOURS
from dsl_lessons.self_learning import clean_labels_of
from dsl_lessons.toy import points_of
from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import accuracy
from dsl_teach.training.records import Callback, Correction, State
from dsl_teach.training.runs import run

SECONDS, SIZE, HELD = 1.2, 420, 2
"""A picture stands for so long, and the last one for HELD pictures more; the side of the picture, in pixels."""


class Movie:
    """An animated SVG; a notebook shows it, and keeps it."""

    def __init__(self, svg: str):
        self.svg = svg

    def __repr__(self) -> str:
        return "labels and prototypes, epoch by epoch"

    def _repr_svg_(self) -> str:
        return self.svg


class _Corrections(Callback):
    """Keeps every correction of a run."""

    def __init__(self) -> None:
        self.by_epoch: dict[int, Correction] = {}

    def on_epoch_end(self, state: State) -> None:
        if state.correction is not None:
            self.by_epoch[state.correction.epoch] = state.correction

    on_train_end = on_epoch_end


def movie(data: NoisyDataset, settings: Settings) -> Movie:
    """Train on points in the plane, and draw the labels that each correction gives them, with its prototypes as stars.

    A wrong label has a black rim. Where a reader's system asks for little motion, the last picture stands still.

    Args:
        data: points in the plane with clean labels, N of them.
        settings: of the run; its corrections are the pictures, after that of the given labels.
    """
    kept = _Corrections()
    run(settings, data, callbacks=[kept])
    made = list(kept.by_epoch.values())
    points, clean = points_of(data), clean_labels_of(data)
    places = (points * torch.tensor([1.0, -1.0]) / (1.04 * points.abs().max()) + 1) * SIZE / 2
    labels = torch.stack([data.noisy_labels, *(one.labels for one in made)])  # (T, N)
    texts = [f"given labels: {accuracy(data.noisy_labels, clean):.0%} right"]
    texts += [f"corrected after epoch {one.epoch}: {one.report.label_accuracy:.0%} right" for one in made]
    last = len(texts) - 1
    style: list[str] = []
    parts = []
    for x, y, told, true in zip(*places.T.tolist(), labels.T.tolist(), clean.tolist(), strict=True):
        looks = [f"fill:{CLASS_COLOURS[c]};stroke:{'none' if c == true else '#111'}" for c in told]
        parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4.5" {_moving(looks, style)}/>')
    for c, ways in enumerate(_ways([one.prototypes.index for one in made], places)):
        for way in ways.tolist():
            looks = ["opacity:0", *(f"opacity:1;transform:translate({x:.0f}px,{y:.0f}px)" for x, y in way)]
            parts.append(
                f'<path d="{STAR}" fill="{CLASS_COLOURS[c]}" stroke="#111" {_moving(looks, style, hold=0.7)}/>'
            )
    for place, text in enumerate(texts):
        looks = [f"opacity:{int(at == place)}" for at in range(last + 1)]
        parts.append(f'<text x="14" y="{SIZE + 24}" {_moving(looks, style)}>{html.escape(text)}</text>')
    told = f"{data.name}: {texts[0]}, {texts[-1]}. Black rims: wrong labels. Stars: the prototypes of each class."
    return Movie(FRAME.format(told=html.escape(told), style="".join(style), parts="".join(parts), high=SIZE + 40,
                              seconds=SECONDS * (last + 1 + HELD), size=SIZE))  # fmt: skip


STAR = "M0,-11L2.6,-3.6L10.5,-3.4L4.2,1.4L6.5,8.9L0,4.4L-6.5,8.9L-4.2,1.4L-10.5,-3.4L-2.6,-3.6Z"
FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {high}" width="{size}" role="img" id="dsl-movie"
 font-size="15" font-family="Helvetica, Arial, sans-serif"><title>{told}</title><style>@media (prefers-reduced-motion:no-preference){{
#dsl-movie [class]{{animation:{seconds:.1f}s step-end infinite}}#dsl-movie path[class]{{animation-timing-function:ease-in-out}}
{style}}}</style><rect width="{size}" height="{high}" rx="12" fill="#fff"/>{parts}</svg>
"""


def _ways(indices: Sequence[Tensor], places: Tensor) -> list[Tensor]:
    """For each class (P, T, 2): where its P prototypes lie, T times; each goes to the nearest that is free."""
    found = []
    for c in range(len(indices[0])):
        steps = [places[indices[0][c]]]
        for index in indices[1:]:
            now = places[index[c]]
            steps.append(now[linear_sum_assignment(torch.cdist(steps[-1], now).numpy())[1]])
        found.append(torch.stack(steps, dim=1))
    return found


def _moving(looks: Sequence[str], style: list[str], hold: float = 0.0) -> str:
    """The attributes of something that looks so, one picture after the other; alike things share their keyframes."""
    if len(set(looks)) == 1:
        return f'style="{looks[0]}"'
    share = 100 / (len(looks) + HELD)
    stops = "".join(_stops(looks, share, hold))
    at = next((at for at, rule in enumerate(style) if f"{{{stops}}}\n" in rule), len(style))
    name = f"dsl-{at}"
    if at == len(style):
        style.append(f"#dsl-movie .{name}{{animation-name:{name}}}@keyframes {name}{{{stops}}}\n")
    return f'class="{name}" style="{looks[-1]}"'


def _stops(looks: Sequence[str], share: float, hold: float) -> Iterable[str]:
    for at, look in enumerate(looks):
        if at == 0 or look != looks[at - 1] or hold:
            yield f"{share * at:.2f}%{{{look}}}"
        if hold and at < len(looks) - 1:
            yield f"{share * (at + hold):.2f}%{{{look}}}"
    yield f"100%{{{looks[-1]}}}"
