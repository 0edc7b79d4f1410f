"""The number of seeds that shows a difference: simulated, from published tables, and what is refused."""

import math

import numpy as np
import pytest
from dsl_lessons.power import seeds_needed

from dsl_teach.metrics import interval


def share_of_experiments_that_show_it(n, difference, spread):
    draws = np.random.default_rng(3).normal(difference, spread, size=(4000, n))
    return np.mean([abs(found.mean) > found.half for found in map(interval, draws)])


@pytest.mark.parametrize(("difference", "spread", "power"), [(1.0, 1.0, 0.8), (-3.0, 2.0, 0.9), (0.5, 0.2, 0.6)])
def test_so_many_seeds_show_the_difference_and_one_fewer_does_not(difference, spread, power):
    n = seeds_needed(difference, spread, power=power)
    margin = 4 * math.sqrt(power * (1 - power) / 4000)
    assert share_of_experiments_that_show_it(n, difference, spread) > power - margin
    assert share_of_experiments_that_show_it(n - 1, difference, spread) < power + margin


@pytest.mark.parametrize(("effect", "n"), [(1.0, 10), (0.5, 34), (0.8, 15), (0.2, 199), (0.01, 78491), (1e6, 2)])
def test_seeds_needed_are_those_of_the_published_tables(effect, n):
    assert seeds_needed(effect, 1) == seeds_needed(-effect, 1) == seeds_needed(10 * effect, 10) == n


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("difference", x) for x in (0, math.nan, 1e-9)), ("spread", -1), ("power", 1), ("confidence", 95)],
)
def test_seeds_needed_names_the_argument_that_cannot_be(name, value):
    with pytest.raises(ValueError, match=f"{name} (must be|is too small)"):
        seeds_needed(**{"difference": 1.0, "spread": 1.0, name: value})
