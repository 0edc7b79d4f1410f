"""Tables of runs: one row a run, and means with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dsl_lessons.methods import BASELINE
from dsl_teach.metrics import interval, paired_difference
from dsl_teach.training.runs import Run, summary

OUR_RANKING = ("SMP", "class scores")


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


def ranking_table(rows: pd.DataFrame, *, ours: tuple[str, str] = OUR_RANKING) -> pd.DataFrame:
    """Mean over seeds with its 95 % interval, and how far one ranking is ahead of each other, seed by seed.

    Args:
        rows: of :func:`dsl_lessons.detection.compare_rankings`, of several seeds. Rankings are compared with ours
            after as many epochs.
        ours: network and ranking that the others are subtracted from.

    Returns:
        A line a ranking and number of epochs; average precision in percent, ``ahead`` in points, processor seconds.
    """
    names, lines = ["network", "ranking"], []
    for (epochs, *key), group in rows.groupby(["epochs", *names], sort=False):
        best = picked(rows[rows["epochs"] == epochs], *ours).set_index("seed")["average_precision"]
        theirs = group["average_precision"]
        ahead = paired_difference((100 * best.loc[group["seed"]]).tolist(), (100 * theirs).tolist())
        line = dict(zip(names, key, strict=True)) | {"epochs": epochs, "seeds": len(group)}
        line["average precision %"] = str(interval((100 * theirs).tolist()))
        line["ahead"] = "" if tuple(key) == ours else f"{ahead.mean:+.1f} ± {ahead.half:.1f}"
        lines.append(line | {"seconds": str(interval(group["seconds"].tolist()))})
    return pd.DataFrame(lines).set_index([*names, "epochs"])


def picked(rows: pd.DataFrame, network: str, ranking: str) -> pd.DataFrame:
    """The rows of one ranking."""
    return rows[(rows["network"] == network) & (rows["ranking"] == ranking)]
