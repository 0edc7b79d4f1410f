"""Wrong labels found by class scores and by cleanlab: average precision, and the processor time of each ranking.

``python -m benchmarks.run detection`` takes the digits. CIFAR-10 with published labels goes by
``python -m benchmarks.detection cifar.yaml --seeds 3``, the settings of the run in a YAML file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measure import figure
from dsl_teach import Settings, interval, load_dataset, paired_difference
from dsl_teach.lab.detection import CLASS_SCORES, QUALITIES, compare_rankings, ranking_table

RESULTS = Path(__file__).parent / "results"
FOLDS = 5
OURS = ("SMP", CLASS_SCORES)
THEIRS = f"cross-entropy, {FOLDS} folds"


def figures(settings: Settings | None = None, *, seeds: int = 10) -> list[dict[str, Any]]:
    """Ours, by the network that SMP trained, against cleanlab's rankings by cross-validation; then all rankings."""
    rows = rows_of_seeds(settings or Settings(noise_rate=0.4), seeds)
    against = [(THEIRS, title) for title in QUALITIES.values()]
    found = [precision(rows, other) for other in against] + [time_taken(rows, against[0])]
    found[0]["rankings"] = ranking_table(rows, against=OURS).reset_index().to_dict("records")
    found[0]["average_precision_by_seed"] = by_seed(rows)
    return found


def rows_of_seeds(settings: Settings, seeds: int) -> pd.DataFrame:
    """Every ranking on every seed: other images held out, other noise, other first weights."""
    frames = []
    for seed in range(seeds):
        one = settings.replace(seed=seed)
        data = load_dataset(one)
        frames.append(compare_rankings(data, one, folds=FOLDS).assign(made_from=data.made_from))
    return pd.concat(frames, ignore_index=True)


def precision(rows: pd.DataFrame, other: tuple[str, str]) -> dict[str, Any]:
    """How far up the list wrong labels come: ours over theirs."""
    ours, theirs = (percent(rows, names) for names in (OURS, other))
    ahead = paired_difference(ours, theirs)
    note = (
        f"{rows['made_from'][0]}; average precision in %: {interval(ours)} against {interval(theirs)}, by chance "
        f"{100 * rows['wrong'].mean():.1f}; ahead by {ahead.mean:+.1f} ± {ahead.half:.1f} points, 95 % interval, paired"
    )
    name = f"average precision, class scores / {other[1]} by {FOLDS} folds"
    ratio = interval(ours).mean / interval(theirs).mean
    return figure(name, ratio, 1.0, n=len(ours), better="higher", note=note)


def time_taken(rows: pd.DataFrame, other: tuple[str, str]) -> dict[str, Any]:
    """Processor time of all that a ranking needs, its trainings included: ours over theirs."""
    ours, theirs = (picked(rows, names)["seconds"].tolist() for names in (OURS, other))
    note = (
        f"processor seconds from the first training step to the ranking, the same epochs in each training: "
        f"{interval(ours)} against {interval(theirs)}; looks at the test set left out"
    )
    name = f"processor time of the ranking, class scores / {other[1]} by {FOLDS} folds"
    return figure(name, sum(ours) / sum(theirs), 0.5, n=len(ours), note=note)


def picked(rows: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """The rows of one ranking, one a seed."""
    return rows[(rows["network"] == names[0]) & (rows["ranking"] == names[1])]


def percent(rows: pd.DataFrame, names: tuple[str, str]) -> list[float]:
    """Average precision of one ranking in percent, one a seed."""
    return (100 * picked(rows, names)["average_precision"]).tolist()


def by_seed(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Average precision of every ranking in percent, in the order of the seeds."""
    keys = rows[["network", "ranking"]].drop_duplicates().itertuples(index=False, name=None)
    return {"; ".join(names): [round(x, 2) for x in percent(rows, names)] for names in keys}


def main() -> None:
    """The same on other data: the figures go to a file named after them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", type=Path, help="YAML file with the settings of the run")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    settings = Settings.from_yaml(options.settings)
    found = figures(settings, seeds=options.seeds)
    for entry in found:
        print(f"{entry['name']}: {entry['ratio']}  ({entry['note']})")
    print(pd.DataFrame(found[0]["rankings"]).to_string(index=False))
    path = RESULTS / f"detection_{settings.dataset}.json"
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
