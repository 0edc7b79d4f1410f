"""How many seeds an experiment needs before it can show a difference."""

from __future__ import annotations

import math
from bisect import bisect_left

MOST_SEEDS = 10**6
"""No experiment has so many seeds."""


def seeds_needed(difference: float, spread: float, *, power: float = 0.8, confidence: float = 0.95) -> int:
    r"""How many seeds a paired comparison needs to show a true difference.

    With n seeds, Student's t of the paired differences follows the noncentral t distribution T' with n - 1 degrees of
    freedom. A two-sided test sees the difference with the chance

    .. math:: P\bigl(|T'_{n-1}(\delta)| > t_{n-1}\bigr), \qquad \delta = \sqrt{n} \, |d| / s,

    where t is the quantile that :func:`dsl_teach.metrics.interval` uses: such an interval then leaves 0 out. The
    answer is the smallest n from 2 on that reaches the power.

    Args:
        difference: d, the true mean of ours minus theirs, in the unit of the figures (points of accuracy, say).
        spread: s, the standard deviation of that difference from seed to seed, in the same unit.
        power: the share of such experiments that are to show the difference.
        confidence: of the test; 0.95 is a test at the 5 % level.

    Returns:
        The number of seeds, at least 2.

    Raises:
        ValueError: if the difference is 0 (no number of seeds would do) or an argument is out of range; the sentence
            names it.

    Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, chapter 2.
    """
    _require_comparison(difference, spread, power, confidence)
    if spread == 0:
        return 2
    effect, counts = abs(difference) / spread, range(2, MOST_SEEDS)
    place = bisect_left(counts, power, key=lambda n: _power(n, effect, confidence))
    if place == len(counts):
        raise ValueError(
            f"difference is too small beside spread ({difference} against {spread}): a comparison that shows it "
            f"needs {MOST_SEEDS} seeds or more. Name a larger difference."
        )
    return counts[place]


def _power(n: int, effect: float, confidence: float) -> float:
    """The chance that a two-sided t test on n pairs sees a true difference of so many standard deviations."""
    from scipy import stats

    t = stats.t.ppf((1 + confidence) / 2, df=n - 1)
    # The square of T' is noncentral F. SciPy's noncentral t itself gives NaN in its far tail.
    return float(stats.ncf.sf(t**2, 1, n - 1, n * effect**2))


def _require_comparison(difference: float, spread: float, power: float, confidence: float) -> None:
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"difference must be a finite number other than 0, but it is {difference}: name what to show.")
    if spread < 0 or not math.isfinite(spread):
        raise ValueError(f"spread must be a finite number of at least 0, but it is {spread}.")
    for name, share in (("power", power), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ValueError(f"{name} must be above 0 and below 1, but it is {share}.")
