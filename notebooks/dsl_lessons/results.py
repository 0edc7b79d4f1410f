"""What committed rows say: does a method help, by how much, at what cost? For lesson 04, and for the README:

    python -m dsl_lessons.results

prints the README's result table.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from dsl_lessons.finished import KNOBS
from dsl_lessons.methods import BASELINE, PRESET, SMP
from dsl_teach.metrics import Interval, interval, paired_difference, seeds_needed

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
README_FILES = ("digits_methods", "digits_noise", "cifar10_methods")
"""Result files behind the README's table, in its order."""
BETTER, WORSE, OPEN, SINGLE = "better", "worse", "not shown", "one seed"
HEAD = (
    "data and wrong labels", "seeds", "labels right: given, by SMP", BASELINE, SMP, f"{SMP} against {BASELINE}",
    f"{PRESET} against {BASELINE}", "best of the others",
)  # fmt: skip


@dataclass(frozen=True)
class Committed:
    """The rows of one result file, and what made them. Without the file: no rows."""

    path: Path
    rows: pd.DataFrame
    made_by: str = ""
    made_from: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=())
    """Cells of the grid that failed, or were not finished when the file was written."""

    def __str__(self) -> str:
        if self.rows.empty:
            return f"{self.path.name} is not here: nothing to show."
        seeds = self.rows["seed"].nunique()
        left_out = f"; {len(self.missing)} runs are missing" if self.missing else ""
        return f"made by {self.made_by}, {len(self.rows)} runs, up to {seeds} seeds{left_out}; from {self.sources}"

    @property
    def sources(self) -> str:
        """What the rows were made from, without the seed that differs from run to run."""
        told = sorted({re.sub(r"seed \d+", "the run's seed", text) for text in self.made_from})
        words = zip(*(text.split(" ") for text in told), strict=False)
        shared = "".join(f"{each[0]} " for each in takewhile(lambda each: len(set(each)) == 1 < len(each), words))
        return shared + " | ".join(text.removeprefix(shared) for text in told)

    def case(self, name: str) -> pd.DataFrame:
        """The rows of one case."""
        return self.rows[self.rows["case"] == name] if len(self.rows) else self.rows

    @property
    def cases(self) -> list[str]:
        """Names of the cases, in the order of the rows."""
        return list(dict.fromkeys(self.rows["case"])) if len(self.rows) else []


def read_results(name: str, folder: str | Path = RESULTS) -> Committed:
    """The committed rows of a grid.

    Args:
        name: of the grid, as its YAML file is called.
        folder: where result files lie.

    Returns:
        Its rows; none if the file is not there.
    """
    path = Path(folder) / f"{name}.json"
    if not path.is_file():
        return Committed(path, pd.DataFrame())
    content = json.loads(path.read_text(encoding="utf-8"))
    return Committed(
        path, pd.DataFrame(content["rows"]), content["made_by"], tuple(content["made_from"]),
        tuple(content.get("missing", ())),
    )  # fmt: skip


def against(rows: pd.DataFrame, ours: str, theirs: str = BASELINE, *, column: str = "test_accuracy") -> Interval | None:
    """Ours minus theirs in points, seed by seed on the seeds that both have; None if they share no seed.

    Args:
        rows: of one case.
        ours: a method.
        theirs: another.
        column: which share.
    """
    pairs = pairs_of(rows, ours, theirs, column)
    if pairs.empty:
        return None
    return paired_difference((100 * pairs["ours"]).tolist(), (100 * pairs["theirs"]).tolist())


def pairs_of(rows: pd.DataFrame, ours: str, theirs: str, column: str) -> pd.DataFrame:
    """The figures of two methods, one line for each seed that both have."""
    one, other = (rows[rows["method"] == method].set_index("seed")[column] for method in (ours, theirs))
    return pd.DataFrame({"ours": one, "theirs": other}).dropna()


def verdict(difference: Interval) -> str:
    """Whether the interval of a difference leaves 0 out: better, worse, or not shown."""
    if difference.n < 2:
        return SINGLE
    if difference.mean - difference.half > 0:
        return BETTER
    return WORSE if difference.mean + difference.half < 0 else OPEN


def verdict_table(rows: pd.DataFrame, *, baseline: str = BASELINE) -> pd.DataFrame:
    """Each method in each case: test accuracy, the paired difference to the baseline and what it shows, labels, cost.

    Args:
        rows: one row a run, shares from 0 to 1, with ``case``, ``method``, ``seed`` and ``seconds``.
        baseline: the method that others are compared with.

    Returns:
        In percent, means over seeds with half of the 95 % interval. ``cost`` is the median over seeds of the seconds,
        as a multiple of cross-entropy's on the same seed: both may have been measured beside other work.
    """
    lines = [
        _line(case_rows, method, baseline) | {"case": case, "method": method}
        for case, case_rows in rows.groupby("case", sort=False)
        for method in case_rows["method"].unique()
    ]
    return pd.DataFrame(lines).set_index(["case", "method"])


def _line(rows: pd.DataFrame, method: str, baseline: str) -> dict[str, Any]:
    own = rows[rows["method"] == method]
    difference = None if method == baseline else against(rows, method, baseline)
    cost = pairs_of(rows, method, BASELINE, "seconds")
    return {
        "seeds": len(own),
        "test accuracy %": mean_of(own, "test_accuracy"),
        f"against {baseline}": "" if difference is None else signed(difference),
        "verdict": "" if difference is None else verdict(difference),
        "given labels right %": mean_of(own, "noisy_accuracy"),
        "corrected labels right %": mean_of(own, "label_accuracy"),
        "cost": "" if cost.empty else f"{(cost['ours'] / cost['theirs']).median():.1f}",
    }


def mean_of(rows: pd.DataFrame, column: str) -> str:
    """Mean and half interval of a share, in percent; empty where nobody knows it."""
    known = (100 * rows[column].astype(float)).dropna().tolist() if column in rows else []
    return "" if not known else f"{known[0]:.1f}" if len(known) == 1 else str(interval(known))


def signed(difference: Interval) -> str:
    """``+9.0 ± 1.7``; a single seed has no interval."""
    mean = f"{difference.mean:+.1f}".replace("-", "−")
    return mean if math.isnan(difference.half) else f"{mean} ± {difference.half:.1f}"


def in_words(rows: pd.DataFrame, *, ours: str = "", baseline: str = BASELINE) -> str:
    """Which methods are better than the baseline, which are worse, of which nothing is shown.

    Args:
        rows: of one case.
        ours: say only this one, with its figure; empty: all, without figures.
        baseline: the method that others are compared with.
    """
    if ours:
        difference = against(rows, ours, baseline)
        if difference is None:
            return f"{ours} against {baseline}: no seed that both have."
        return (
            f"{ours} against {baseline}: {signed(difference)} points over {difference.n} seeds, {verdict(difference)}."
        )
    said: dict[str, list[str]] = {}
    for method in rows["method"].unique():
        difference = None if method == baseline else against(rows, method, baseline)
        if difference is not None:
            said.setdefault(verdict(difference), []).append(method)
    return (
        "\n".join(f"{word} than {baseline}: {'; '.join(names)}" for word, names in said.items())
        .replace(f"{OPEN} than", f"{OPEN} to differ from")
        .replace(f"{SINGLE} than", f"{SINGLE} beside")
    )


def tally(files: Sequence[Committed], method: str) -> str:
    """In how many cases a method is better than cross-entropy, worse, and neither."""
    found = [against(file.case(case), method) for file in files for case in file.cases]
    said = [verdict(difference) for difference in found if difference is not None]
    counts = ", ".join(f"{said.count(word)} {word}" for word in (BETTER, WORSE, OPEN, SINGLE) if word in said)
    return f"{method} against {BASELINE} in {len(said)} cases: {counts or 'no rows'}"


def labels_in_words(rows: pd.DataFrame) -> str:
    """For each method that corrects by the published rule or our preset: labels right before and after."""
    said = []
    for method in (SMP, PRESET):
        own = rows[rows["method"] == method]
        if len(own) and own["label_accuracy"].notna().any():
            said.append(f"{method} {mean_of(own, 'noisy_accuracy')} -> {mean_of(own, 'label_accuracy')} %")
    return f"labels right, given -> corrected: {'; '.join(said) or 'not known'}"


def together(files: Sequence[Committed], *, methods: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of several files, in their order; only those of some methods, if any are named."""
    known = [file.rows for file in files if len(file.rows)]
    rows = pd.concat(known, ignore_index=True) if known else pd.DataFrame()
    return rows[rows["method"].isin(methods)] if len(rows) and methods else rows


def knob_effects(rows: pd.DataFrame) -> pd.DataFrame:
    """For each value of each knob, test and label accuracy averaged over everything else, seed by seed."""
    lines = {}
    for knob in KNOBS:
        for value, group in rows.groupby(knob):
            shares = group.groupby("seed")[["test_accuracy", "label_accuracy"]].mean()
            lines[(knob, value)] = {
                "runs": len(group),
                "test accuracy %": mean_of(shares, "test_accuracy"),
                "corrected labels right %": mean_of(shares, "label_accuracy"),
            }
    return pd.DataFrame.from_dict(lines, orient="index")


def seeds_table(rows: pd.DataFrame, *, wished: Sequence[float] = (0.5, 1, 2, 5), baseline: str = BASELINE) -> Any:
    """How many seeds a comparison needs to show a wished-for difference, by the spread that was seen.

    Args:
        rows: of one case.
        wished: differences to show, in points.
        baseline: the method that others are compared with.

    Returns:
        One line a method with at least three seeds: the spread of its paired differences, and the seeds.
    """
    lines = {}
    for method in rows["method"].unique():
        pairs = pairs_of(rows, method, baseline, "test_accuracy")
        if method != baseline and len(pairs) >= 3:
            spread = float((100 * (pairs["ours"] - pairs["theirs"])).std(ddof=1))
            needed = {f"for {d:g} points": seeds_needed(d, spread) for d in wished}
            lines[method] = {"seeds so far": len(pairs), "spread, points": f"{spread:.1f}"} | needed
    return pd.DataFrame.from_dict(lines, orient="index")


def flattery(rows: pd.DataFrame) -> pd.Series:
    """How many points each method would gain by picking its best epoch on the test set, in the mean over its runs."""
    gain = rows["test_curve"].map(lambda curve: 100 * (max(curve) - curve[-1]))
    return gain.groupby(rows["method"], sort=False).mean().round(1)


def best_other(rows: pd.DataFrame) -> str | None:
    """The method outside SMP's family with the greatest mean accuracy over the seeds it shares with the baseline."""
    gains = {}
    for method in rows["method"].unique():
        difference = against(rows, method)
        if method not in (BASELINE, PRESET) and not method.startswith(SMP) and difference is not None:
            gains[method] = difference.mean
    return max(gains, key=lambda name: gains[name]) if gains else None


def readme_table(files: Sequence[Committed]) -> str:
    """The README's result table, in Markdown: a line a case.

    Args:
        files: whose cases, in this order; a file without rows gives no line.
    """
    lines = [_row(HEAD), _row(["---"] * len(HEAD))]
    for file in files:
        lines += [_row(_readme_line(case, file.case(case))) for case in file.cases]
    return "\n".join(lines)


def _readme_line(case: str, rows: pd.DataFrame) -> list[str]:
    smp, other = rows[rows["method"] == SMP], best_other(rows)
    right = f"{mean_of(smp, 'noisy_accuracy')} → {mean_of(smp, 'label_accuracy')}" if len(smp) else ""
    others = f"{other}: {_told(against(rows, other))}" if other else ""
    plain, published = (mean_of(rows[rows["method"] == method], "test_accuracy") for method in (BASELINE, SMP))
    compared = [_told(against(rows, method)) for method in (SMP, PRESET)]
    return [case, _seeds(rows), right, plain, published, *compared, others]


def _seeds(rows: pd.DataFrame) -> str:
    counts = rows.groupby("method")["seed"].nunique()
    least, most = counts.min(), counts.max()
    return str(most) if least == most else f"{least} to {most}"


def _told(difference: Interval | None) -> str:
    if difference is None:
        return ""
    words = f"{signed(difference)}, {verdict(difference)}"
    return f"**{words}**" if verdict(difference) == BETTER else words


def _row(entries: Sequence[str]) -> str:
    return f"| {' | '.join(entries)} |"


def main() -> None:
    """Print the README's table."""
    parser = argparse.ArgumentParser(
        prog="python -m dsl_lessons.results", description="Print the README's result table."
    )
    parser.add_argument("--folder", type=Path, default=RESULTS, help="folder of the result files")
    folder = parser.parse_args().folder
    print(readme_table([read_results(name, folder) for name in README_FILES]))


if __name__ == "__main__":
    main()
