"""Tables of lesson 07: means over seeds, and differences to the right run, seed by seed.

Each seed splits the same digits anew; the intervals allow for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dsl_lessons.injected_bugs.catalog import VARIANTS
from dsl_lessons.tables import against, mean_of, read_results, signed
from dsl_teach.data.digits import TEST_SHARE
from dsl_teach.metrics import Interval

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


def committed_rows() -> pd.DataFrame:
    """The rows of all variants with 10 seeds; none if the file is not there."""
    rows = read_results("why_reproductions_fall_short_10_seeds").rows
    return rows.rename(columns={"suspect": "method"})  # the file keeps the word of its time


def difference(rows: pd.DataFrame, name: str, column: str = "test_accuracy") -> Interval | None:
    """A variant minus the run that it names to be compared with, in points; None if they share no seed."""
    other = VARIANTS[name].against
    return None if name == other else against(rows, name, other, column=column, test_share=TEST_SHARE)


def variant_table(rows: pd.DataFrame, names: Sequence[str], columns: Sequence[str] = USUAL) -> pd.DataFrame:
    """Test accuracy, its difference to the right run, and what reveals the variant; a line a variant that has rows.

    Raises:
        ValueError: if there is no row of any of them.
    """
    lines = {}
    for name in names:
        mine = rows[rows["method"] == name]
        if len(mine):
            line = {"seeds": len(mine), "test %": mean_of(mine, "test_accuracy", TEST_SHARE)}
            line |= {"difference": signed(difference(rows, name))}
            lines[name] = line | {TITLES[column]: mean_of(mine, column, TEST_SHARE) for column in columns}
    if not lines:
        raise ValueError(f"No row belongs to any of {', '.join(names)}; run some of them first.")
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("method")
