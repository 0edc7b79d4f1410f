"""H2 of docs/plan.md: test accuracy against how right the labels are; benchmarks/results/rightness.jsonl."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from dsl_lessons.contrasts import Contrast, against_each, contrast, small
from dsl_lessons.tables import read_results
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import page_trend_test

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
PLANNED = 8
"""Seeds that the plan asks for: with fewer, its verdict is not given yet."""
CASE, KINDS = "idn_40, augmented, 15 epochs", ("random errors", "own errors")
RIGHTNESS = ROOT / "benchmarks" / "results" / "rightness.jsonl"


def h2() -> str:
    """Does what counts lie in how right the corrected labels are? Standing labels of chosen rightness, and SMP."""
    rows, plain = standing_rows()
    found = against_each(pd.concat([plain, rows]), "cross-entropy", "test_accuracy", bound=1.0)
    lines = [
        "| labels in place of ŷ | right % | test accuracy % | minus cross-entropy | p (Holm) | verdict |",
        "| --- |" + " --- |" * 5,
    ]
    for method, (one, p) in found.items():
        own = rows[rows["method"] == method]
        gain = Contrast(-one.mean, one.half, one.seeds, one.p, one.equivalent)
        right, test = 100 * own["labels_right"].mean(), 100 * own["test_accuracy"].mean()
        lines.append(f"| {method} | {right:.0f} | {test:.1f} | {gain.points} | {small(p)} | {gain.verdict(p)} |")
    trends = [trend(errors, *gains_by_rightness(rows, plain, errors)) for errors in KINDS]
    lines += ["", *(told for told, _ in trends)]
    seeds = rows["seed"].nunique()
    rises = [rise for _, rise in trends]
    answer = "not decided yet" if seeds < PLANNED else "yes" if all(rises) else "open" if any(rises) else "no"
    lines += ["", f"Seeds: {seeds} of {PLANNED}. H2: **{answer}**."]
    return "\n".join(lines)


def standing_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of the case: SMP and standing labels, without seeds that are under way; cross-entropy."""
    rows = pd.read_json(RIGHTNESS, lines=True).query("case == @CASE")
    whole = rows.groupby("seed")["method"].nunique() == rows["method"].nunique()
    plain = read_results("memorised_cifar10").case(CASE).query("method == 'cross-entropy'")
    return rows[rows["seed"].map(whole)], plain


def gains_by_rightness(rows: pd.DataFrame, plain: pd.DataFrame, errors: str) -> tuple[np.ndarray, np.ndarray]:
    """(L,) rightness in percent and (L, S) points more than cross-entropy, for one kind of errors, rising."""
    own = rows[rows["method"].str.startswith(errors)]
    right = own.groupby("method")["labels_right"].mean().sort_values()
    table = own.pivot_table(index="method", columns="seed", values="test_accuracy").loc[right.index]
    base = plain.set_index("seed")["test_accuracy"].reindex(table.columns)
    return 100 * right.to_numpy(), 100 * (table.to_numpy() - base.to_numpy())


def trend(errors: str, right: np.ndarray, gains: np.ndarray) -> tuple[str, bool]:
    """Page's test of a rise, and where the line through the two levels around 0 crosses it; whether both are there."""
    p, means = float(page_trend_test(gains.T).pvalue), gains.mean(axis=1)
    changes = [k for k in range(len(means) - 1) if means[k] < 0 <= means[k + 1]]
    where = "no change of sign"
    if changes:
        k = changes[0]
        even = right[k] - means[k] * (right[k + 1] - right[k]) / (means[k + 1] - means[k])
        where = f"break-even at {even:.0f} % right"
    return f"{errors.capitalize()}: Page's trend test p {small(p)}, {where}.", p < 0.05 and bool(changes)


def accuracy_against_rightness() -> Figure:
    """Points more than cross-entropy against how many of the labels in place of ŷ are right."""
    curves = {errors: gains_by_rightness(*standing_rows(), errors) for errors in KINDS}
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    for (errors, (right, gains)), colour in zip(curves.items(), ("#2f6fc4", "#c4452f"), strict=True):
        halves = [contrast((row / 100).tolist(), [0.0] * len(row), bound=0).half for row in gains]
        axes.errorbar(right, gains.mean(axis=1), yerr=halves, color=colour, marker="o", capsize=3, label=errors)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="labels in place of ŷ that are right, %", ylabel="test accuracy − cross-entropy, points")
    axes.legend(fontsize=8, frameon=False)
    return figure


def draw(figure: Figure, name: str) -> None:
    """Write a figure; the same one is the same file, to the last byte."""
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
