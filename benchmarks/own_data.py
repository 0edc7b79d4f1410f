"""Doubtful labels of photographs: our scores beside cleanlab's, on planted mistakes at random and by confusion.

One JSON row a (noise, rate, seed, method); rows that are there already are skipped. Seconds are of everything from the
features on: cross-validation, neighbours, scores and ranking.

    python -m benchmarks.own_data data/clothing-dataset-small --rows rows.jsonl --seeds 10
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dsl_teach.data.backbones import PREFIX, backbone, frozen_maps
from dsl_teach.data.cifar import linear_probabilities
from dsl_teach.metrics import average_precision
from dsl_teach.noise import instance_dependent_noise, symmetric_noise
from dsl_teach.own_data.correct import NETWORK
from dsl_teach.own_data.folder import read_folder
from dsl_teach.own_data.scores import class_mean_scores, judge, principal_axes, wrong_in_first
from dsl_teach.prototypes import class_scores, label_margin, select_prototypes
from dsl_teach.prototypes.ridge import ridge_head
from dsl_teach.prototypes.variants import neighbour_scores
from dsl_teach.seeds import stream

RATES = (0.005, 0.01, 0.05, 0.1, 0.2, 0.4)
OTHER = f"{PREFIX}tf_efficientnet_lite2"
FIRST = 100

Scores = Callable[[Tensor, Tensor, int], Tensor]


def density_peaks(axes: Tensor, labels: Tensor, k: int) -> Tensor:
    return class_scores(axes, select_prototypes(axes, labels, num_classes=k))


def means(axes: Tensor, labels: Tensor, k: int) -> Tensor:
    return class_mean_scores(axes, labels, num_classes=k)


def neighbours(axes: Tensor, labels: Tensor, k: int) -> Tensor:
    return neighbour_scores(axes, labels, torch.arange(len(labels)), num_classes=k)


def ridge(axes: Tensor, labels: Tensor, k: int) -> Tensor:
    return ridge_head(axes, labels, num_classes=k).left_out.float()


def pooled(axes: Tensor, labels: Tensor, k: int) -> Tensor:
    """The mean of the three that leave the sample's own label out, each divided by its deviation."""
    parts = (score(axes, labels, k) for score in (means, neighbours, ridge))
    return sum((part - part.mean()) / part.std() for part in parts) / 3


OURS: dict[str, Scores] = {
    "class means": means,
    "density peaks": density_peaks,
    "neighbours": neighbours,
    "ridge": ridge,
    "mean of three": pooled,
}


def ours(features: Tensor, labels: Tensor, k: int) -> Iterator[tuple[str, Tensor, float, dict[str, float]]]:
    """Each score's ranking: by the probability of the given label, and by the margin of the scores themselves."""
    for name, score in OURS.items():
        start = time.perf_counter()
        scores = score(principal_axes(features), labels, k)
        found = judge(scores, labels)
        seconds = time.perf_counter() - start
        said = dict(zip(("expected", "low", "high", "most"), wrong_in_first(found), strict=True))
        yield name, found.quality, seconds, said
        yield f"{name}, margin", label_margin(scores, labels), seconds, {}


def cleanlab(features: Tensor, labels: Tensor, k: int) -> Iterator[tuple[str, Tensor, float, dict[str, float]]]:
    """Cross-validated probabilities of a logistic regression with its scores, and Datalab by neighbours alone."""
    from cleanlab import Datalab
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    x, y, start = features.float().numpy(), labels.numpy(), time.perf_counter()
    seen = cross_val_predict(LogisticRegression(max_iter=1000), x, y, cv=5, method="predict_proba")
    find_label_issues(y, seen)
    seconds = time.perf_counter() - start
    for method in ("self_confidence", "normalized_margin"):
        quality = get_label_quality_scores(y, seen, method=method)
        yield f"cleanlab, {method}", torch.from_numpy(quality), seconds, {}
    start = time.perf_counter()
    lab = Datalab({"label": y.tolist()}, label_name="label", verbosity=0)
    lab.find_issues(features=x, issue_types={"label": {}})
    quality = torch.tensor(lab.get_issues("label")["label_score"].to_numpy())
    yield "cleanlab, neighbours", quality, time.perf_counter() - start, {}


def row_of(quality: Tensor, noisy: Tensor, clean: Tensor) -> dict[str, float]:
    wrong, order = noisy != clean, quality.argsort(stable=True)
    planted = int(wrong.sum())
    return {
        "average_precision": average_precision(quality, noisy, clean),
        "first": float(wrong[order[:FIRST]].double().mean()),
        "at_planted": float(wrong[order[:planted]].double().mean()),  # precision and recall are the same there
        "recall_at_twice": float(wrong[order[: 2 * planted]].sum() / planted),
        "wrong_in_first": int(wrong[order[:FIRST]].sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=Path, default=Path("own_data.jsonl"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--without-cleanlab", action="store_true")
    args = parser.parse_args()
    folder = read_folder(args.folder)
    clean, k = folder.labels, len(folder.class_names)
    maps = [frozen_maps(folder.files, backbone(name, "bundled"), 10**6, name) for name in (NETWORK, OTHER)]
    features, other = maps[0].flatten(2).float().mean(dim=1), maps[1][:, 0].flatten(1).float()
    confused = linear_probabilities(other, clean)
    rows = [json.loads(line) for line in args.rows.read_text().splitlines()] if args.rows.exists() else []
    done = {(row["noise"], row["rate"], row["seed"], row["group"]) for row in rows}
    groups = {"ours": ours} | ({} if args.without_cleanlab else {"cleanlab": cleanlab})
    with args.rows.open("a") as file:
        for seed in range(args.seeds):
            for noise in ("random", "confusion"):
                for rate in RATES:
                    generator = stream(seed, "noise")
                    noisy = (
                        symmetric_noise(clean, rate, num_classes=k, generator=generator)
                        if noise == "random"
                        else instance_dependent_noise(confused, clean, rate, generator=generator)
                    ).noisy_labels
                    for group, methods in groups.items():
                        if (noise, rate, seed, group) in done:
                            continue
                        made = []
                        for method, quality, seconds, said in methods(features, noisy, k):
                            key = {"noise": noise, "rate": rate, "seed": seed, "group": group, "method": method}
                            made.append(key | row_of(quality, noisy, clean) | said | {"seconds": seconds})
                        file.write("".join(json.dumps(row) + "\n" for row in made))
                        file.flush()
                        rows += made
    print(table(pd.DataFrame(rows)))


def table(rows: pd.DataFrame) -> str:
    """Average precision and precision in the first 100, %, by method, noise and rate; and where intervals hold."""
    means = rows.pivot_table(index="method", columns=["noise", "rate"], values=["average_precision", "first"])
    said = rows.dropna(subset="expected") if "expected" in rows else rows.iloc[:0]
    half = 0.5  # bounds are printed as whole numbers
    within = said.assign(
        at_random=said.wrong_in_first.between(said.low - half, said.high + half),
        widest=said.wrong_in_first.between(said.low - half, said.most + half),
    )
    covered = within.groupby(["method", "noise"])[["at_random", "widest"]].mean()
    seconds = rows.groupby("method").seconds.median()
    parts = [(100 * means[name]).round(1).to_string() for name in ("average_precision", "first")]
    return "\n\n".join([*parts, covered.to_string(), seconds.to_string()])


if __name__ == "__main__":
    main()
