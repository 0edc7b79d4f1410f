"""Rows of runs, made here or committed: one way to sum them up, and what a difference between methods shows."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from dsl_lessons.methods import BASELINE
from dsl_lessons.paths import RESULTS
from dsl_teach.metrics import Interval, interval, paired_difference
from dsl_teach.storage import write_atomically
from dsl_teach.sweep import row_of
from dsl_teach.training.runs import Run, environment

SHARES = {
    "test_accuracy": "test accuracy %",
    "noisy_accuracy": "given labels right %",
    "label_accuracy": "corrected labels right %",
    "verified_kept": "verified labels kept %",
}
"""Columns of rows, shares from 0 to 1 -> their titles in tables, in percent."""
BETTER, WORSE, OPEN, SINGLE = "better", "worse", "not shown", "one seed"


def run_rows(runs: Iterable[Run], labels: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a run: its labels (``case`` and ``method`` say), its four knobs and seed, and its figures."""
    return pd.DataFrame([row_of(run) | knobs_of(run) | dict(label) for run, label in zip(runs, labels, strict=True)])


def knobs_of(run: Run) -> dict[str, Any]:
    """The settings that tables and sliders go by."""
    s = run.settings
    return {"p": s.p, "m": s.m, "alpha": s.alpha, "correction_start": s.correction_start, "seed": s.seed}


def write_results(output: Path, rows: pd.DataFrame, **about: Any) -> None:
    """Write ``results.json``: the rows, what they were made from and on what machine, and what else is to be known."""
    content = about | {"made_from": sorted(set(rows["made_from"])), "environment": environment(output)}
    content["rows"] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    write_atomically(output / "results.json", json.dumps(content, indent=1) + "\n")
    print(f"{len(rows)} rows written to results.json")


@dataclass(frozen=True)
class Committed:
    """The rows of one result file, and what made them. Without the file: no rows."""

    name: str
    rows: pd.DataFrame
    made_by: str = ""
    made_from: tuple[str, ...] = ()
    missing: int = 0
    """Trials that failed, or were not finished when the file was written."""

    def __str__(self) -> str:
        if self.rows.empty:
            return f"results/{self.name}.json is not here: nothing to show."
        seeds = self.rows["seed"].nunique()
        missing = f"; {self.missing} runs are missing" if self.missing else ""
        return f"made by {self.made_by}, {len(self.rows)} runs, up to {seeds} seeds{missing}; from {self.sources}"

    @property
    def sources(self) -> str:
        """What the rows were made from, images before labels, without the seed that differs from run to run."""
        told = [re.sub(r"seed \d+", "the run's seed", text).partition("; ") for text in self.made_from]
        images, labels = (dict.fromkeys(text[place] for text in told if text[place]) for place in (0, 2))
        return "; ".join(" | ".join(part) for part in (images, labels) if part)

    def case(self, name: str) -> pd.DataFrame:
        """The rows of one case."""
        return self.rows[self.rows["case"] == name] if len(self.rows) else self.rows

    @property
    def cases(self) -> list[str]:
        """Names of the cases, in the order of the rows."""
        return list(dict.fromkeys(self.rows["case"])) if len(self.rows) else []


def read_results(name: str, folder: Path = RESULTS) -> Committed:
    """The committed rows of a sweep or a notebook, by the name of its YAML file; none if the file is not there."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return Committed(name, pd.DataFrame())
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = pd.DataFrame(content["rows"])
    made_from = tuple(sorted(set(rows["made_from"])))
    return Committed(name, rows, content["made_by"], made_from, len(content.get("missing", ())))


def pairs_of(rows: pd.DataFrame, ours: str, theirs: str, column: str) -> pd.DataFrame:
    """The figures of two methods of one case, one line for each seed that both have."""
    one, other = (rows[rows["method"] == method].set_index("seed")[column] for method in (ours, theirs))
    return pd.DataFrame({"ours": one, "theirs": other}).dropna()


def against(
    rows: pd.DataFrame, ours: str, theirs: str = BASELINE, *, column: str = "test_accuracy",
    test_share: float | None = None,
) -> Interval | None:  # fmt: skip
    """Ours minus theirs in points, on the seeds that both have in the rows of one case; None if they share no seed."""
    pairs = pairs_of(rows, ours, theirs, column)
    if pairs.empty:
        return None
    return widened(paired_difference((100 * pairs["ours"]).tolist(), (100 * pairs["theirs"]).tolist()), test_share)


def widened(found: Interval, test_share: float | None) -> Interval:
    """An interval over seeds, as much wider as :func:`wider` says."""
    return replace(found, half=found.half * wider(found.n, test_share))


def wider(seeds: int, test_share: float | None) -> float:
    r"""How many times wider an interval over seeds gets that split the same images anew; 1 if they do not.

    .. math:: \sqrt{1 + n \, n_\text{test} / n_\text{train}}

    Source: Nadeau, Bengio, "Inference for the Generalization Error", Machine Learning 2003.
    """
    return 1.0 if test_share is None else math.sqrt(1 + seeds * test_share / (1 - test_share))


def verdict(difference: Interval) -> str:
    """Whether the interval of a difference leaves 0 out: better, worse, or not shown."""
    if difference.n < 2:
        return SINGLE
    if difference.mean - difference.half > 0:
        return BETTER
    return WORSE if difference.mean + difference.half < 0 else OPEN


def signed(difference: Interval | None) -> str:
    """``+9.0 ± 1.7``; a single seed has no interval."""
    if difference is None:
        return ""
    mean = f"{difference.mean:+.1f}".replace("-", "−")
    return mean if math.isnan(difference.half) else f"{mean} ± {difference.half:.1f}"


def mean_of(rows: pd.DataFrame, column: str, test_share: float | None = None) -> str:
    """Mean and half interval of a share, in percent; empty where nobody knows it."""
    known = (100 * rows[column].astype(float)).dropna().tolist() if column in rows else []
    if len(known) < 2:
        return "".join(f"{share:.1f}" for share in known)
    return str(widened(interval(known), test_share))


def summarise(
    rows: pd.DataFrame, by: str | Sequence[str], *, baseline: str = "", test_share: float | None = None
) -> pd.DataFrame:
    """Means over seeds in percent with half of the 95 % interval: a line for each group of rows.

    Args:
        rows: one a run, shares from 0 to 1.
        by: the column, or columns, whose values make a group.
        baseline: a method that the others are compared with inside each case, seed by seed; ``by`` must be
            ``case`` and ``method`` then. Adds the paired difference, what it shows, and the cost: the median over
            seeds of the seconds, as a multiple of cross-entropy's.
        test_share: the share held out where each seed splits the same images anew; widens the intervals.
    """
    names, lines = [by] if isinstance(by, str) else list(by), []
    for values, group in rows.groupby(names, sort=bool(not baseline)):
        line: dict[str, Any] = dict(zip(names, values, strict=True)) | {"seeds": group["seed"].nunique()}
        shares = {title: mean_of(group, column, test_share) for column, title in SHARES.items()}
        line[SHARES["test_accuracy"]] = shares.pop(SHARES["test_accuracy"])
        if baseline:
            line |= _compared(rows[rows["case"] == line["case"]], line["method"], baseline, test_share)
        lines.append(line | shares)
    table = pd.DataFrame(lines).set_index(names)
    return table.loc[:, (table != "").any()]


def folded(table: pd.DataFrame, title: str) -> HTML:
    """A table below a line that opens it."""
    return HTML(f"<details><summary>{html.escape(title)}</summary>{table.to_html()}</details>")


def _compared(rows: pd.DataFrame, method: str, baseline: str, test_share: float | None) -> dict[str, str]:
    difference = None if method == baseline else against(rows, method, baseline, test_share=test_share)
    cost = pairs_of(rows, method, BASELINE, "seconds") if "seconds" in rows else pd.DataFrame()
    return {
        f"against {baseline}": signed(difference),
        "verdict": "" if difference is None else verdict(difference),
        "cost": "" if cost.empty else f"{(cost['ours'] / cost['theirs']).median():.1f}",
    }
