"""Tables of suspects: means with intervals over seeds, and differences to the right run, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dsl_lessons.suspects.catalog import SUSPECTS
from dsl_teach.metrics import Interval, interval, paired_difference

TITLES = {
    "label_accuracy": "labels right %",
    "changed": "changed %",
    "chance_changed": "by chance %",
    "wrong_to_right": "mended %",
    "right_to_wrong": "spoilt %",
    "prototypes_right": "prototypes right %",
    "unrest": "unrest %",
    "seen": "seen %",
    "unseen": "unseen %",
}
"""Columns of rows, and how they are called in a table."""
USUAL = ("label_accuracy", "changed", "chance_changed", "wrong_to_right", "right_to_wrong")


def figures(rows: pd.DataFrame, name: str, column: str = "test_accuracy") -> pd.Series:
    """One figure of one suspect in percent, by seed; those that are not known are left out."""
    mine = rows[rows["suspect"] == name].set_index("seed")[column]
    return 100 * mine.astype(float).dropna().sort_index()


def difference(rows: pd.DataFrame, name: str, against: str | None = None, column: str = "test_accuracy") -> Interval:
    """A suspect minus the run it is compared with, in points, on the seeds that both have.

    Args:
        rows: one row a run.
        name: the suspect.
        against: another run; None: the one that the suspect itself names.
        column: which figure.

    Raises:
        ValueError: if they share no seed.
    """
    against = SUSPECTS[name].against if against is None else against
    ours, theirs = figures(rows, name, column), figures(rows, against, column)
    seeds = ours.index.intersection(theirs.index)
    if not len(seeds):
        raise ValueError(f"{name} and {against} share no seed with a known {column}; run both with the same seeds.")
    return paired_difference(ours[seeds].tolist(), theirs[seeds].tolist())


def suspect_table(rows: pd.DataFrame, names: Sequence[str], columns: Sequence[str] = USUAL) -> pd.DataFrame:
    """Test accuracy, its difference to the right run, and what gives the suspect away; a line a suspect.

    Args:
        rows: one row a run.
        names: the suspects, in the order of the lines; those without a row are left out.
        columns: further figures, see ``TITLES``.

    Raises:
        ValueError: if there is no row of any of them.
    """
    lines = []
    for name in names:
        accuracies = figures(rows, name)
        if not len(accuracies):
            continue
        line = {"suspect": name, "seeds": len(accuracies), "test %": str(interval(accuracies.tolist()))}
        other = SUSPECTS[name].against
        compared = name != other and len(figures(rows, other)) > 0
        line["difference"] = "{0.mean:+.1f} ± {0.half:.1f}".format(difference(rows, name)) if compared else ""
        for column in columns:
            known = figures(rows, name, column)
            line[TITLES[column]] = str(interval(known.tolist())) if len(known) else ""
        lines.append(line)
    if not lines:
        raise ValueError(f"No row belongs to any of {', '.join(names)}; run some of them first.")
    return pd.DataFrame(lines).set_index("suspect")


def spread(rows: pd.DataFrame, name: str, against: str | None = None) -> float:
    """The standard deviation over seeds, in points: of a run's test accuracy, or of its difference to another run."""
    values = figures(rows, name)
    if against is not None:
        theirs = figures(rows, against)
        seeds = values.index.intersection(theirs.index)
        values = values[seeds] - theirs[seeds]
    return float(np.std(values.to_numpy(), ddof=1))
