"""Tables of runs: one row a run, and means with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dsl_teach.metrics import interval, paired_difference
from dsl_teach.training.runs import Run, summary

BASELINE = "cross-entropy"


def run_rows(runs: Sequence[Run], labels: Sequence[dict[str, str]]) -> pd.DataFrame:
    """One row a run.

    Args:
        runs: finished runs.
        labels: for each run its ``case`` and ``method``.

    Returns:
        A frame with ``case``, ``method``, ``seed`` and the figures of the run's summary, shares from 0 to 1.
    """
    return pd.DataFrame([label | summary(run) for run, label in zip(runs, labels, strict=True)])


def comparison(rows: pd.DataFrame, *, baseline: str = BASELINE) -> pd.DataFrame:
    """Test accuracy and label accuracy of each method in each case, in percent, with 95 % intervals over seeds.

    The difference to the baseline is paired: seed by seed, on the same split, noise and first weights.

    Args:
        rows: from :func:`run_rows`.
        baseline: the method that others are compared with.
    """
    lines = []
    for (case, method), group in rows.groupby(["case", "method"], sort=False):
        base = rows[(rows["case"] == case) & (rows["method"] == baseline)].set_index("seed")["test_accuracy"]
        figures = group.set_index("seed")
        line = {"case": case, "method": method, "seeds": len(group)}
        line["test accuracy %"] = str(interval((100 * figures["test_accuracy"]).tolist()))
        if method != baseline:
            ours = 100 * figures["test_accuracy"]
            line["difference"] = "{0.mean:+.1f} ± {0.half:.1f}".format(
                paired_difference(ours.tolist(), (100 * base.loc[ours.index]).tolist())
            )
            line["noisy labels right %"] = str(interval((100 * figures["noisy_accuracy"]).tolist()))
            line["corrected labels right %"] = str(interval((100 * figures["label_accuracy"]).tolist()))
        lines.append(line)
    return pd.DataFrame(lines).set_index(["case", "method"]).fillna("")
