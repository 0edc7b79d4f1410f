"""Contrasts by docs/plan.md: paired by seed, also where seeds re-split the images; Holm's correction, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dsl_lessons.figures import NEUTRAL, RIGHT, WRONG, styled
from dsl_lessons.tables import BETTER, WORSE, pairs_of, signed, wider
from dsl_teach.metrics import Interval

COLOURS = {BETTER: RIGHT, WORSE: WRONG}


@dataclass(frozen=True)
class Contrast:
    """The mean of ours minus theirs in points, paired by seed."""

    mean: float
    half: float
    seeds: int
    p: float
    """Two-sided, of no difference."""
    equivalent: float
    """The greater p of two one-sided tests: below 0.05 the difference lies within the bound."""

    @property
    def points(self) -> str:
        """The mean with its interval, as tables have it."""
        return signed(Interval(self.mean, self.half, self.seeds))

    def verdict(self, p_holm: float) -> str:
        """By the plan: better, worse, equivalent or open."""
        if p_holm < 0.05:
            return BETTER if self.mean > 0 else WORSE
        return "equivalent" if self.equivalent < 0.05 else "open"


def contrast(
    ours: Sequence[float], theirs: Sequence[float], *, bound: float, test_share: float | None = None
) -> Contrast:
    """Paired t over at least two seeds, of shares from 0 to 1; with ``test_share`` as :func:`wider` says."""
    from scipy import stats  # takes a second to import

    difference, n = 100 * np.subtract(ours, theirs), len(ours)
    error = max(float(difference.std(ddof=1) / np.sqrt(n) * wider(n, test_share)), 1e-12)  # also where no seed differs
    t = stats.t(df=n - 1)
    p = float(2 * t.sf(abs(difference.mean()) / error))
    one_sided = max(float(t.sf((bound + side * difference.mean()) / error)) for side in (1, -1))
    return Contrast(float(difference.mean()), float(t.ppf(0.975) * error), n, p, one_sided)


def holm(p: Sequence[float]) -> list[float]:
    """The p values after Holm's correction: the smallest times all, the next times all but one, none below another."""
    order = np.argsort(p)
    raised = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return raised[np.argsort(order)].tolist()


def small(p: float) -> str:
    """A p value as tables have it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def against_each(
    rows: pd.DataFrame, ours: str, column: str, *, bound: float, test_share: float | None = None
) -> dict[str, tuple[Contrast, float]]:
    """One method minus each other one of a case, on the seeds that both have; each with its p after Holm over all.

    Methods that share fewer than two seeds with ``ours`` are left out.
    """
    pairs = {name: pairs_of(rows, ours, name, column) for name in dict.fromkeys(rows["method"]) if name != ours}
    found = {
        name: contrast(pair["ours"].tolist(), pair["theirs"].tolist(), bound=bound, test_share=test_share)
        for name, pair in pairs.items()
        if len(pair) > 1
    }
    return dict(zip(found, zip(found.values(), holm([one.p for one in found.values()]), strict=True), strict=True))


def contrast_table(
    rows: pd.DataFrame, ours: str, found: Mapping[str, tuple[Contrast, float]], column: str, test_share: float | None
) -> pd.DataFrame:
    """A line a method: seeds, mean of the column in percent, how far ``ours`` is ahead, p after Holm, the verdict."""
    lines = {}
    for name in (ours, *found):
        shares = rows.loc[rows["method"] == name, column]
        mean = contrast(shares.tolist(), [0.0] * len(shares), bound=0, test_share=test_share)
        lines[name] = {"seeds": len(shares), "mean, %": f"{mean.mean:.1f} ± {mean.half:.1f}"}
        one, p = found.get(name, (None, 1.0))
        lines[name] |= {
            "ours − this, points": "" if one is None else one.points,
            "p (Holm)": "" if one is None else small(p),
            "ours is": "" if one is None else one.verdict(p),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


@styled
def contrast_figure(found: Mapping[str, tuple[Contrast, float]], ours: str, what: str) -> Figure:
    """How far ``ours`` is ahead of each other method, with its interval; the colour is the verdict after Holm."""
    figure = Figure(figsize=(8, 1.1 + 0.34 * len(found)))
    axes = figure.subplots()
    for place, (one, p) in enumerate(found.values()):
        colour = COLOURS.get(one.verdict(p), NEUTRAL)
        axes.errorbar(one.mean, place, xerr=one.half, color=colour, marker="o", capsize=3)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set(title=f"{ours} minus …", xlabel=f"points of {what}, 95 % interval")
    return figure
