"""Print the result tables of README and docs/results.md from the committed rows: ``python -m tools.readme_table``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from dsl_lessons.comparison import best_other
from dsl_lessons.methods import BASELINE, SMP
from dsl_lessons.tables import BETTER, Committed, against, mean_of, read_results, signed, verdict

from dsl_teach.data.clothes import TEST_SHARE as CLOTHES_SHARE
from dsl_teach.data.digits import TEST_SHARE as DIGITS_SHARE

HEAD_ALONE = Path(__file__).parents[1] / "benchmarks" / "results" / "head_alone.jsonl"
FILES = ("digits_methods", "digits_noise", "cifar10_methods")
"""Result files behind the table of docs/results.md, in its order."""
AUGMENTED, PLAIN, METHODS = "idn_40, augmented, 30 epochs", "idn_40, plain, 30 epochs", "CIFAR-10, idn_40"
FIRST: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("CIFAR-10, augmented", "idn_40", {"memorised_cifar10": AUGMENTED, "cifar10_augmented": AUGMENTED}),
    ("CIFAR-10, augmented", "random-1", {"memorised_cifar10": "random-1, augmented, 30 epochs"}),
    ("CIFAR-10, plain", "idn_40", {"memorised_cifar10": PLAIN, "cifar10_parts": METHODS, "cifar10_methods": METHODS}),
    ("digits", "40 % wrong", {"digits_methods": "digits, 40 % wrong"}),
    ("digits", "clean", {"digits_noise": "digits, clean"}),
)
"""The README's lines: images, wrong labels, and the result files of the case with its name there."""
SPLIT_ANEW = {"digits": DIGITS_SHARE, "photographs": CLOTHES_SHARE, "clothes": CLOTHES_SHARE}
"""Share of test images where seeds split the same images anew, by the first word of a case: intervals allow for it."""
HEAD = (
    "data and wrong labels", "seeds", "labels right: given, by SMP", BASELINE, SMP, f"{SMP} against {BASELINE}",
    "best of the others",
)  # fmt: skip


def share_of(case: str) -> float | None:
    """Share of test images of a case whose seeds split the same images anew; None where the test images are fixed."""
    return SPLIT_ANEW.get(case.split(",")[0])


def first_table() -> str:
    """The README's first table in Markdown: SMP beside cross-entropy, and the highest mean of all that were run."""
    told = [("images", "wrong labels", "seeds", BASELINE, SMP, f"{SMP} − {BASELINE}", "highest mean there")]
    told.append(("---",) * len(told[0]))
    cases = [(x, y, pd.concat([read_results(name).case(case) for name, case in of.items()])) for x, y, of in FIRST]
    cases.insert(3, ("photographs, ImageNet weights, augmented", "40 % wrong", photographs()))
    for images, wrong, rows in cases:
        rows, share = rows.drop_duplicates(["method", "seed"]), share_of(images)
        runs = {name: own for name, own in rows.groupby("method")}
        best = max(runs, key=lambda name: runs[name]["test_accuracy"].mean())
        plain, smp, highest = (mean_of(runs[name], "test_accuracy", share) for name in (BASELINE, SMP, best))
        seeds, gain = len(runs[BASELINE]), signed(against(rows, SMP, test_share=share))
        few = "" if len(runs[best]) == seeds else f" ({len(runs[best])} seeds)"
        told.append((images, wrong, str(seeds), plain, smp, gain, f"{best}: {highest}{few}"))
    return "\n".join(f"| {' | '.join(entries)} |" for entries in told)


def photographs() -> pd.DataFrame:
    """Rows of clothes with 40 % wrong labels: cross-entropy, SMP, the preset, its company, and the head alone.

    Cross-entropy is the training of H3's fine-tuned features: there labels are corrected only when it is over.
    """
    tuned = read_results("features_clothes").rows.query("method == 'fine-tuned, leave-one-out head'")
    preset, company = (read_results(name).rows for name in ("preset_clothes", "company_clothes"))
    rows = [tuned.assign(method=BASELINE), preset, company, pd.read_json(HEAD_ALONE, lines=True)]
    return pd.concat(rows).query("case == @preset.case[0]")


def readme_table(files: Sequence[Committed]) -> str:
    """The table in Markdown: a line a case.

    Args:
        files: whose cases, in this order; a file without rows gives no line.
    """
    lines = [HEAD, ["---"] * len(HEAD), *(_line(case, file.case(case)) for file in files for case in file.cases)]
    return "\n".join(f"| {' | '.join(entries)} |" for entries in lines)


def _line(case: str, rows: pd.DataFrame) -> list[str]:
    smp, other = rows[rows["method"] == SMP], best_other(rows)
    share = share_of(case)
    given, now = (mean_of(smp, column, share) for column in ("noisy_accuracy", "label_accuracy"))
    counts = rows.groupby("method")["seed"].nunique()
    seeds = str(counts.max()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    plain, published = (mean_of(rows[rows["method"] == name], "test_accuracy", share) for name in (BASELINE, SMP))
    others = f"{other}: {_told(rows, other, share)}" if other else ""
    return [case, seeds, f"{given} → {now}" if now else "", plain, published, _told(rows, SMP, share), others]


def _told(rows: pd.DataFrame, method: str, test_share: float | None) -> str:
    difference = against(rows, method, test_share=test_share)
    if difference is None:
        return ""
    words = f"{signed(difference)}, {verdict(difference)}"
    return f"**{words}**" if verdict(difference) == BETTER else words


if __name__ == "__main__":
    print(first_table(), readme_table([read_results(name) for name in FILES]), sep="\n\n")
