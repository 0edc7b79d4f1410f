"""Print the result tables of README and docs/results.md from the committed rows: ``python tools/readme_table.py``."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from dsl_lessons.comparison import best_other
from dsl_lessons.methods import BASELINE, SMP
from dsl_lessons.tables import BETTER, Committed, against, mean_of, read_results, signed, verdict

FILES = ("digits_methods", "digits_noise", "cifar10_methods")
"""Result files behind the table of docs/results.md, in its order."""
FIRST = (
    ("CIFAR-10, augmented", "memorised_cifar10", "idn_40, augmented, 30 epochs", ""),
    ("CIFAR-10, augmented", "memorised_cifar10", "random-1, augmented, 30 epochs", ""),
    ("CIFAR-10, plain", "memorised_cifar10", "idn_40, plain, 30 epochs", ""),
    ("digits", "digits_methods", "digits, 40 % wrong", "ELR, mixup, averaged weights"),
    ("digits", "digits_noise", "digits, 20 % wrong", "GCE"),
    ("digits", "digits_noise", "digits, clean", "GCE"),
)
"""The README's lines: data, result file, case in it, and the strongest other method that was run there."""
HEAD = (
    "data and wrong labels", "seeds", "labels right: given, by SMP", BASELINE, SMP, f"{SMP} against {BASELINE}",
    "best of the others",
)  # fmt: skip


def first_table() -> str:
    """The README's first table in Markdown: SMP beside cross-entropy, and beside the strongest other method."""
    lines = [
        ("images", "wrong labels", "seeds", BASELINE, SMP, f"{SMP} − {BASELINE}", f"{SMP} − strongest other run there")
    ]
    lines.append(("---",) * len(lines[0]))
    for data, file, case, other in FIRST:
        rows = read_results(file).case(case)
        means = (mean_of(rows[rows["method"] == method], "test_accuracy") for method in (BASELINE, SMP))
        last = f"{signed(against(rows, SMP, other))} ({other})" if other else "none run yet"
        wrong = case.split(", ")[0 if file.startswith("memorised") else 1]
        seeds = str(rows[rows["method"] == SMP]["seed"].nunique())
        lines.append((data, wrong, seeds, *means, f"**{signed(against(rows, SMP))}**", last))
    return "\n".join(f"| {' | '.join(entries)} |" for entries in lines)


def readme_table(files: Sequence[Committed]) -> str:
    """The table in Markdown: a line a case.

    Args:
        files: whose cases, in this order; a file without rows gives no line.
    """
    lines = [HEAD, ["---"] * len(HEAD), *(_line(case, file.case(case)) for file in files for case in file.cases)]
    return "\n".join(f"| {' | '.join(entries)} |" for entries in lines)


def _line(case: str, rows: pd.DataFrame) -> list[str]:
    smp, other = rows[rows["method"] == SMP], best_other(rows)
    right = f"{mean_of(smp, 'noisy_accuracy')} → {mean_of(smp, 'label_accuracy')}" if len(smp) else ""
    counts = rows.groupby("method")["seed"].nunique()
    seeds = str(counts.max()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    plain, published = (mean_of(rows[rows["method"] == method], "test_accuracy") for method in (BASELINE, SMP))
    others = f"{other}: {_told(rows, other)}" if other else ""
    return [case, seeds, right, plain, published, _told(rows, SMP), others]


def _told(rows: pd.DataFrame, method: str) -> str:
    difference = against(rows, method)
    if difference is None:
        return ""
    words = f"{signed(difference)}, {verdict(difference)}"
    return f"**{words}**" if verdict(difference) == BETTER else words


if __name__ == "__main__":
    print(first_table(), readme_table([read_results(name) for name in FILES]), sep="\n\n")
