"""Wrong labels found by class scores and by cleanlab: average precision, and the processor time of each ranking.

Every training is stopped at several numbers of epochs, because a network that has memorised wrong labels no longer
finds them. Where each ranking is compared at its best number, that number is chosen on other seeds.

``python -m benchmarks.run detection`` takes the digits. Other data go by
``python -m benchmarks.detection settings.yaml --seeds 3``, the settings of the run in a YAML file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measure import figure
from benchmarks.rankings import CLASS_SCORES, CLEANLAB, compare_rankings
from dsl_teach import Settings, interval, load_dataset, paired_difference

RESULTS = Path(__file__).parent / "results"
FOLDS = 5
AT = (3, 5, 10, 20, 40)
"""Epochs after which labels are ranked."""
CHOOSING = range(100, 103)
"""Seeds on which each ranking's best number of epochs is chosen."""

Names = tuple[str, str]
OUR_RANKING: Names = ("SMP", CLASS_SCORES)


def figures(settings: Settings | None = None, *, seeds: int = 10, at: Sequence[int] = AT) -> list[dict[str, Any]]:
    """Ours against cleanlab's rankings by cross-validation, after all epochs and at the best; then all rankings."""
    settings = settings or Settings(noise_rate=0.4)
    rows, chosen_on = (rows_of_seeds(settings, which, at) for which in (range(seeds), CHOOSING))
    found = []
    for title in CLEANLAB.values():
        other = (f"cross-entropy, {FOLDS} folds", title)
        last = {names: settings.epochs for names in (OUR_RANKING, other)}
        best = {names: best_epochs(chosen_on, names) for names in (OUR_RANKING, other)}
        found += [precision(rows, other, last, "after all epochs"), precision(rows, other, best, "each at its best")]
        found += [time_taken(rows, other, last, "after all epochs")]
    found[0]["rankings"] = ranking_table(rows).reset_index().to_dict("records")
    found[0]["by_seed"] = by_seed(rows)
    return found


def rows_of_seeds(settings: Settings, seeds: Iterable[int], at: Sequence[int]) -> pd.DataFrame:
    """Every ranking on every seed: other images held out, other noise, other first weights."""
    frames = []
    for seed in seeds:
        one = settings.replace(seed=seed)
        data = load_dataset(one)
        frames.append(compare_rankings(data, one, folds=FOLDS, at=at).assign(made_from=data.made_from))
    return pd.concat(frames, ignore_index=True)


def ranking_table(rows: pd.DataFrame, *, ours: Names = OUR_RANKING) -> pd.DataFrame:
    """Mean over seeds with its 95 % interval, and how far our ranking is ahead of each other, seed by seed.

    Args:
        rows: of several seeds. Rankings are compared with ours after as many epochs.
        ours: network and ranking that the others are subtracted from.

    Returns:
        A line a ranking and number of epochs; average precision in percent, ``ahead`` in points, processor seconds.
    """
    names, lines = ["network", "ranking"], []
    for (epochs, *key), group in rows.groupby(["epochs", *names], sort=False):
        best = picked(rows[rows["epochs"] == epochs], *ours).set_index("seed")["average_precision"]
        theirs = group["average_precision"]
        ahead = paired_difference((100 * best.loc[group["seed"]]).tolist(), (100 * theirs).tolist())
        line = dict(zip(names, key, strict=True)) | {"epochs": epochs, "seeds": len(group)}
        line["average precision %"] = str(interval((100 * theirs).tolist()))
        line["ahead"] = "" if tuple(key) == ours else f"{ahead.mean:+.1f} ± {ahead.half:.1f}"
        lines.append(line | {"seconds": str(interval(group["seconds"].tolist()))})
    return pd.DataFrame(lines).set_index([*names, "epochs"])


def picked(rows: pd.DataFrame, network: str, ranking: str) -> pd.DataFrame:
    """The rows of one ranking."""
    return rows[(rows["network"] == network) & (rows["ranking"] == ranking)]


def best_epochs(rows: pd.DataFrame, names: Names) -> int:
    """The number of epochs after which a ranking has the best mean average precision."""
    return int(picked(rows, *names).groupby("epochs")["average_precision"].mean().idxmax())


def precision(rows: pd.DataFrame, other: Names, epochs: dict[Names, int], when: str) -> dict[str, Any]:
    """How far up the list wrong labels come: ours over theirs."""
    ours, theirs = (percent(rows, names, epochs[names]) for names in (OUR_RANKING, other))
    ahead = paired_difference(ours, theirs)
    note = (
        f"{rows['made_from'][0]}; after {epochs[OUR_RANKING]} and {epochs[other]} epochs: average precision in % "
        f"{interval(ours)} against {interval(theirs)}, by chance {100 * rows['wrong'].mean():.1f}; ahead by "
        f"{ahead.mean:+.1f} ± {ahead.half:.1f} points, 95 % interval, paired"
    )
    name = f"average precision, class scores / {other[1]} by {FOLDS} folds, {when}"
    ratio = interval(ours).mean / interval(theirs).mean
    return figure(name, ratio, None, n=len(ours), better="higher", note=note)


def time_taken(rows: pd.DataFrame, other: Names, epochs: dict[Names, int], when: str) -> dict[str, Any]:
    """Processor time of all that a ranking needs, its trainings included: ours over theirs."""
    ours, theirs = (at_epoch(rows, names, epochs[names])["seconds"].tolist() for names in (OUR_RANKING, other))
    note = (
        f"processor seconds from the first training step to the ranking, the same epochs in each training: "
        f"{interval(ours)} against {interval(theirs)}; looks at the test set left out"
    )
    name = f"processor time of the ranking, class scores / {other[1]} by {FOLDS} folds, {when}"
    return figure(name, sum(ours) / sum(theirs), 0.5, n=len(ours), note=note)


def at_epoch(rows: pd.DataFrame, names: Names, epochs: int) -> pd.DataFrame:
    """The rows of one ranking after so many epochs, one a seed."""
    return picked(rows[rows["epochs"] == epochs], *names)


def percent(rows: pd.DataFrame, names: Names, epochs: int) -> list[float]:
    """Average precision of one ranking in percent, one a seed."""
    return (100 * at_epoch(rows, names, epochs)["average_precision"]).tolist()


def by_seed(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Average precision of every ranking in percent, in the order of the seeds."""
    keys = rows[["network", "ranking", "epochs"]].drop_duplicates().itertuples(index=False, name=None)
    return {
        f"{network}; {ranking}; {epochs} epochs": [round(x, 2) for x in percent(rows, (network, ranking), epochs)]
        for network, ranking, epochs in keys
    }


def main() -> None:
    """The same on other data: the figures go to a file named after them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", type=Path, help="YAML file with the settings of the run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--at", type=int, nargs="+", default=AT, help="epochs after which labels are ranked")
    options = parser.parse_args()
    settings = Settings.from_yaml(options.settings)
    found = figures(settings, seeds=options.seeds, at=options.at)
    for entry in found:
        print(f"{entry['name']}: {entry['ratio']}  ({entry['note']})")
    print(pd.DataFrame(found[0]["rankings"]).to_string(index=False))
    path = RESULTS / f"detection_{settings.dataset}.json"
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
