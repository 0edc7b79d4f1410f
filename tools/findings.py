"""What docs/findings.md says of committed rows: contrasts with intervals and verdicts by docs/plan.md, and figures.

    .venv/bin/python -m tools.findings           # prints the tables in Markdown, draws docs/figures/*.svg

Nothing is trained: it reads notebooks/results. The verdicts follow from the rows by the rules of the plan alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from dsl_lessons.comparison import gain_against_memorised
from dsl_lessons.contrasts import Contrast, against_each, contrast, contrast_table, holm, small
from dsl_lessons.injected_bugs.tables import committed_rows
from dsl_lessons.methods import SMP
from dsl_lessons.tables import pairs_of, read_results
from matplotlib.figure import Figure

from dsl_teach.data.clothes import TEST_SHARE
from dsl_teach.data.digits import TEST_SHARE as DIGITS_SHARE
from tools.readme_table import HEAD_ALONE, photographs, share_of
from tools.rightness import PLANNED, RIGHTNESS, accuracy_against_rightness, draw, h2

RESAMPLES = 10_000
COMPANY = "ELR, mixup, averaged weights"
LITTLE = 1 / 3
"""Less than this share of the wrong labels is *little memorised*."""


def rows_of(name: str) -> pd.DataFrame:
    """The rows of a sweep, one line a trial."""
    return read_results(name).rows


def by_seed(rows: pd.DataFrame, case: str, method: str, column: str = "test_accuracy") -> np.ndarray:
    """One value a seed, in the order of the seeds."""
    chosen = rows[(rows["case"] == case) & (rows["method"] == method)].sort_values("seed")
    return chosen[column].to_numpy(float)


def slope(memorised: np.ndarray, gain: np.ndarray) -> tuple[float, float, float]:
    """Points of gain for each point memorised, over the cells' means, with a 95 % interval by bootstrap over seeds.

    Both are (cells, seeds); a resample takes whole seeds, the same in every cell.
    """
    generator, seeds = np.random.default_rng(0), memorised.shape[1]
    draws = [np.arange(seeds), *generator.integers(seeds, size=(RESAMPLES, seeds))]
    slopes = [np.polyfit(memorised[:, draw].mean(axis=1), gain[:, draw].mean(axis=1), 1)[0] for draw in draws]
    low, high = np.percentile(slopes[1:], (2.5, 97.5))
    return float(slopes[0]), float(low), float(high)


def h1() -> str:
    """Does the gain of SMP over cross-entropy grow with what cross-entropy memorises?"""
    rows = rows_of("memorised_cifar10")
    cases = list(dict.fromkeys(rows["case"]))
    plain, smp = ([by_seed(rows, case, method) for case in cases] for method in ("cross-entropy", "SMP"))
    memorised = np.stack([by_seed(rows, case, "cross-entropy", "memorised") for case in cases])
    contrasts = [contrast(ours, theirs, bound=1.0) for ours, theirs in zip(smp, plain, strict=True)]
    corrected = holm([found.p for found in contrasts])
    lines = [
        "| cell | memorised % | cross-entropy % | SMP % | SMP − cross-entropy | p (Holm) | verdict |",
        "| --- |" + " --- |" * 6,
    ]
    for case, share, ours, theirs, found, p in zip(cases, memorised, smp, plain, contrasts, corrected, strict=True):
        means = f"{100 * share.mean():.0f} | {100 * theirs.mean():.1f} | {100 * ours.mean():.1f}"
        lines.append(f"| {case} | {means} | {found.points} | {small(p)} | {found.verdict(p)} |")
    rise, low, high = slope(100 * memorised, 100 * (np.stack(smp) - np.stack(plain)))
    little = memorised.mean(axis=1) < LITTLE
    gains_there = [
        case
        for case, few, found, p in zip(cases, little, contrasts, corrected, strict=True)
        if few and found.verdict(p) == "better"
    ]
    answer = (
        "not decided yet"
        if contrasts[0].seeds < PLANNED
        else "yes"
        if low > 0 and not gains_there
        else "no"
        if high < 0 or gains_there
        else "open"
    )
    lines += [
        "",
        f"Seeds: {contrasts[0].seeds} of {PLANNED}. Slope over the cells: {rise:+.3f} points of gain for each point "
        f"memorised, 95 % interval {low:+.3f} to {high:+.3f}. Cells in which less than a third is "
        f"memorised: {int(little.sum())}, with a gain after Holm: {len(gains_there)}. H1: **{answer}**.",
    ]
    return "\n".join(lines)


def h3() -> str:
    """Do features that never saw the wrong labels correct better? Every cell against the untouched ones, after Holm."""
    rows, ours = rows_of("features_clothes"), "untouched, leave-one-out head"
    found = against_each(rows, ours, "label_accuracy", bound=2.5, test_share=TEST_SHARE)
    primary, p = found["fine-tuned, leave-one-out head"]
    answer = {"better": "yes", "worse": "no"}.get(primary.verdict(p), "open")
    return f"{markdown(rows, ours, found, 'label_accuracy')}\n\nSeeds: {primary.seeds} of 10. H3: **{answer}**."


def by_plan(case: str, pairs: pd.DataFrame) -> Contrast:
    """Pairs of one case compared as the plan says: equivalent is within one point on CIFAR-10, within 2.5 elsewhere."""
    share = share_of(case)
    return contrast(pairs["ours"], pairs["theirs"], bound=2.5 if share else 1.0, test_share=share)


def preset() -> str:
    """The preset against cross-entropy, the head alone, SMP and its company: every case, Holm per opponent."""
    ours, names = "untouched features", ("preset_clothes_20", "preset_digits", "preset_cifar10")
    rows = pd.concat([photographs(), *map(rows_of, names), pd.read_json(HEAD_ALONE, lines=True)])
    cases = list(rows.drop_duplicates(["case", "method", "seed"]).groupby("case", sort=False))
    head = "| images, wrong labels | seeds | preset, % | {0}, % | preset − {0} | p (Holm) | the preset is |\n| --- |"
    tables = []
    for other in ("cross-entropy", "head alone", SMP, COMPANY):
        pairs = {case: pairs_of(own, ours, other, "test_accuracy") for case, own in cases}
        pairs = {case: pair for case, pair in pairs.items() if len(pair) > 1}
        found = [by_plan(case, pair) for case, pair in pairs.items()]
        lines = [head.format(other) + " --- |" * 6]
        for case, gain, p in zip(pairs, found, holm([one.p for one in found]), strict=True):
            means = " | ".join(f"{100 * mean:.1f}" for mean in pairs[case].mean())
            lines.append(f"| {case} | {gain.seeds} | {means} | {gain.points} | {small(p)} | {gain.verdict(p)} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def h4() -> str:
    """Is the article's pattern that of right code where little is memorised, or of misplaced labels?"""
    cifar, case = rows_of("memorised_cifar10"), "idn_40, augmented, 30 epochs"
    styles = committed_rows().query("classes == 50").assign(case="50 digit styles")
    code = {
        f"SMP, CIFAR-10 {case}": (cifar, case, SMP),
        "kept by place, 50 digit styles": (styles, "50 digit styles", "kept by place"),
    }
    found = [
        contrast(by_seed(rows, where, name), by_seed(rows, where, "cross-entropy"), bound=bound, test_share=share)
        for (rows, where, name), bound, share in zip(code.values(), (1.0, 2.5), (None, DIGITS_SHARE), strict=True)
    ]
    lines = ["| code | seeds | minus cross-entropy | p (Holm) | verdict |", "| --- |" + " --- |" * 4]
    for name, one, p in zip(code, found, holm([one.p for one in found]), strict=True):
        lines.append(f"| {name} | {one.seeds} | {one.points} | {small(p)} | {one.verdict(p)} |")
    short = "idn_40, augmented, 15 epochs"
    rows = pd.read_json(RIGHTNESS, lines=True).query("case == @short and method == 'SMP'").sort_values("seed")
    module, given, test = (rows[name].to_numpy() for name in ("module_on_test", "given_right", "test_accuracy"))
    for name, ours, theirs in (
        ("module on test images − given labels right", module, given), ("network − its module", test, module),
    ):  # fmt: skip
        one = contrast(ours.tolist(), theirs.tolist(), bound=1.0)
        lines.append(f"| {name}, CIFAR-10 {short} | {one.seeds} | {one.points} | | |")
    return "\n".join(lines)


def h5() -> str:
    """Are several density peaks needed? Against one peak, class means, neighbours and random prototypes."""
    case, methods = "digits, 40 % wrong", ["random prototypes", "class means", "neighbours", "one peak"]
    digits = pd.concat([rows_of("digits_methods"), rows_of("peaks_digits")])
    digits = digits[digits["method"].isin([SMP, *(f"{SMP}, {name}" for name in methods)])]
    where = "idn_40, augmented, 15 epochs"
    cifar = rows_of("memorised_cifar10").query("case == @where and method == @SMP")
    parts = {
        f"CIFAR-10, {where}, test accuracy": markdown_against(
            pd.concat([cifar, rows_of("peaks_cifar10")]), SMP, "test_accuracy", 1.0, None
        ),
        f"{case}, test accuracy": markdown_against(digits, SMP, "test_accuracy", 2.5, DIGITS_SHARE),
        "clothes, 40 %, untouched features, corrected labels right": markdown_against(
            rows_of("peaks_clothes"), "density peaks", "label_accuracy", 2.5, TEST_SHARE
        ),
    }
    return "\n\n".join(f"{title}:\n\n{table}" for title, table in parts.items())


def markdown_against(rows: pd.DataFrame, ours: str, column: str, bound: float, test_share: float | None) -> str:
    """One method minus each other one, in Markdown, after Holm."""
    found = against_each(rows, ours, column, bound=bound, test_share=test_share)
    return markdown(rows, ours, found, column, test_share)


def company() -> str:
    """Stronger company than cross-entropy, CIFAR-10 with augmentation: every arm against cross-entropy."""
    rows = pd.concat([rows_of("memorised_cifar10"), rows_of("cifar10_augmented")])
    rows = rows[rows["case"] == "idn_40, augmented, 30 epochs"]
    return markdown_against(rows, "cross-entropy", "test_accuracy", 1.0, None)


def markdown(
    rows: pd.DataFrame,
    ours: str,
    found: Mapping[str, tuple[Contrast, float]],
    column: str,
    test_share: float | None = TEST_SHARE,
) -> str:
    """A line a method in Markdown, ``ours`` first."""
    table = contrast_table(rows, ours, found, column, test_share)
    head = ["method", *(str(name).replace("ours", ours) for name in table.columns)]
    lines = [head, ["---"] * len(head), *([str(name), *map(str, line)] for name, *line in table.itertuples())]
    return "\n".join(f"| {' | '.join(entries)} |" for entries in lines)


def labels_by_epoch(rows: pd.DataFrame) -> Figure:
    """Labels right by epoch: corrected by the network's own features as it learns, and by untouched ones."""
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    for method, colour in ((SMP, "#c4452f"), ("untouched features", "#2f6fc4")):
        curves = rows[rows["method"] == method]["label_curve"].tolist()
        shares = 100 * np.array([[np.nan if x is None else x for x in curve] for curve in curves], dtype=float)
        epochs = np.arange(1, shares.shape[1] + 1)
        for curve in shares:
            axes.plot(epochs, curve, color=colour, linewidth=0.6, alpha=0.4)
        axes.plot(epochs, shares.mean(axis=0), color=colour, linewidth=2.2, label=method)
    axes.axhline(100 * rows["noisy_accuracy"].mean(), color="0.5", linestyle="--", linewidth=1, label="given labels")
    axes.set(xlabel="epoch", ylabel="labels right, %", xticks=range(1, int(epochs[-1]) + 1, 2))
    axes.legend(fontsize=8, frameon=False)
    return figure


HYPOTHESES = {
    "H1": h1, "H2": h2, "H3": h3, "H4": h4, "H5": h5, "preset": preset, "company": company,
}  # fmt: skip
"""What stands between two markers of the page, by their name."""

if __name__ == "__main__":
    for title, answer in HYPOTHESES.items():
        print(f"## {title}\n\n{answer()}\n")
    draw(gain_against_memorised(rows_of("memorised_cifar10")), "gain_against_memorised")
    draw(accuracy_against_rightness(), "accuracy_against_rightness")
    draw(labels_by_epoch(rows_of("preset_clothes")), "labels_right_by_epoch")
