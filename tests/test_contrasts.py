"""Contrasts: the textbook's tests where seeds are independent, wider intervals where they are not, Holm, and tables."""

import io

import numpy as np
import pandas as pd
import pytest
from dsl_lessons import contrasts
from dsl_lessons.figures import NEUTRAL, RIGHT, WRONG
from scipy import stats
from statsmodels.stats.multitest import multipletests

RANDOM = np.random.default_rng(0)
OURS, THEIRS = 0.8 + 0.02 * RANDOM.standard_normal(7), 0.78 + 0.02 * RANDOM.standard_normal(7)


@pytest.fixture
def rows():
    lines = [("ours", seed, 0.8 + 0.001 * seed) for seed in range(6)]
    lines += [("much worse", seed, 0.5 + 0.002 * seed) for seed in range(5)]
    lines += [("better", seed, 0.9 - 0.003 * seed) for seed in range(6)]
    lines += [("anywhere", seed, 0.8 + (0.2 if seed % 2 else -0.2)) for seed in range(6)]
    lines += [("one seed", 0, 0.1)]
    return pd.DataFrame(lines, columns=["method", "seed", "label_accuracy"])


def test_independent_seeds_give_the_paired_t_test():
    found, paired = contrasts.contrast(OURS, THEIRS, bound=1.0), stats.ttest_rel(100 * OURS, 100 * THEIRS)
    assert found.p == pytest.approx(paired.pvalue)
    low, high = paired.confidence_interval()
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    sides = [
        stats.ttest_1samp(100 * (OURS - THEIRS), side * 1.0, alternative=way).pvalue
        for side, way in ((-1, "greater"), (1, "less"))
    ]
    assert found.equivalent == pytest.approx(max(sides))


def test_seeds_that_split_the_same_images_anew_widen_the_interval_by_the_sizes_of_the_split():
    apart, anew = (contrasts.contrast(OURS, THEIRS, bound=1.0, test_share=share) for share in (None, 0.2))
    assert anew.mean == apart.mean
    assert anew.half / apart.half == pytest.approx(((1 / 7 + 20 / 80) / (1 / 7)) ** 0.5)
    assert anew.p > apart.p


def test_p_values_are_raised_as_by_statsmodels():
    for size in (1, 2, 6, 20):
        p = RANDOM.uniform(size=size) ** 3
        assert contrasts.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_each_method_is_compared_on_the_seeds_that_both_have(rows):
    found = contrasts.against_each(rows, "ours", "label_accuracy", bound=2.5, test_share=0.2)
    assert list(found) == ["much worse", "better", "anywhere"]
    assert found["much worse"][0].seeds == 5
    table = contrasts.contrast_table(rows, "ours", found, "label_accuracy", 0.2)
    assert table["ours is"].tolist() == ["", "better", "worse", "open"]
    assert table.loc["much worse", "ours − this, points"].startswith("+29.8 ± ")
    assert table.loc["better", "ours − this, points"].startswith("−9.0 ± ")
    assert table.loc["ours", "seeds"] == 6
    figure = contrasts.contrast_figure(found, "ours", "labels right")
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert [bar.lines[0].get_color() for bar in figure.axes[0].containers] == [RIGHT, WRONG, NEUTRAL]
