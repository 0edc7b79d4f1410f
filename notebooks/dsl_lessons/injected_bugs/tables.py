"""Tables of lesson 07: means with intervals over seeds, and differences to the right run, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dsl_lessons.injected_bugs.catalog import VARIANTS
from dsl_teach.metrics import Interval, interval, paired_difference

TITLES = {
    "label_accuracy": "labels right %",
    "changed": "changed %",
    "chance_changed": "by chance %",
    "wrong_to_right": "fixed %",
    "right_to_wrong": "broken %",
    "prototypes_right": "prototypes right %",
    "unrest": "unrest %",
    "seen": "seen %",
    "unseen": "unseen %",
}
"""Columns of rows, and how they are called in a table."""
USUAL = ("label_accuracy", "changed", "chance_changed", "wrong_to_right", "right_to_wrong")


def figures(rows: pd.DataFrame, name: str, column: str = "test_accuracy") -> pd.Series:
    """One figure of one variant in percent, by seed; those that are not known are left out."""
    mine = rows[rows["variant"] == name].set_index("seed")[column]
    return 100 * mine.astype(float).dropna().sort_index()


def difference(rows: pd.DataFrame, name: str, column: str = "test_accuracy") -> Interval | None:
    """A variant minus the run that it names to be compared with, in points; None if they share no seed.

    Args:
        rows: one row a run.
        name: the variant.
        column: which figure.
    """
    ours, theirs = figures(rows, name, column), figures(rows, VARIANTS[name].against, column)
    seeds = ours.index.intersection(theirs.index)
    if name == VARIANTS[name].against or not len(seeds):
        return None
    return paired_difference(ours[seeds].tolist(), theirs[seeds].tolist())


def variant_table(rows: pd.DataFrame, names: Sequence[str], columns: Sequence[str] = USUAL) -> pd.DataFrame:
    """Test accuracy, its difference to the right run, and what reveals the variant; a line a variant.

    Args:
        rows: one row a run.
        names: the variants, in the order of the lines; those without a row are left out.
        columns: further figures, see ``TITLES``.

    Raises:
        ValueError: if there is no row of any of them.
    """
    lines = []
    for name in names:
        accuracies, apart = figures(rows, name), difference(rows, name)
        if len(accuracies):
            line = {"variant": name, "seeds": len(accuracies), "test %": str(interval(accuracies.tolist()))}
            line["difference"] = "" if apart is None else f"{apart.mean:+.1f} ± {apart.half:.1f}"
            known = {column: figures(rows, name, column).tolist() for column in columns}
            lines.append(line | {TITLES[column]: str(interval(x)) if x else "" for column, x in known.items()})
    if not lines:
        raise ValueError(f"No row belongs to any of {', '.join(names)}; run some of them first.")
    return pd.DataFrame(lines).set_index("variant")
