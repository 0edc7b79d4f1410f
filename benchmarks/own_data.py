"""Doubtful labels: our scores beside cleanlab's, on planted mistakes, and on labels that come with the images.

One JSON row a (noise, rate, seed, method); rows that are there already are skipped. Seconds are of everything from the
features on: cross-validation, neighbours, scores and ranking. Of a folder of photographs every seed has all images; of
CIFAR-10 with the labels of a file, each seed has 3,000 others; the digits' features are their pixels.

    python -m benchmarks.own_data data/clothing-dataset-small --rows rows.jsonl --seeds 10
    python -m benchmarks.own_data digits --rows digits.jsonl --only "class means" "density peaks"
    python -m benchmarks.own_data data --labels data/labels.npz idn_40 random_label1 --rows cifar.jsonl
    python -m benchmarks.own_data --million --rows million.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks.rankings import average_precision
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.backbones import PREFIX, backbone, frozen_maps
from dsl_teach.data.cifar import cifar, linear_probabilities, published_labels
from dsl_teach.data.dataset import Images
from dsl_teach.data.digits import neighbour_probabilities
from dsl_teach.noise import instance_dependent_noise, symmetric_noise
from dsl_teach.own_data.correct import NETWORK
from dsl_teach.own_data.folder import read_folder
from dsl_teach.own_data.scores import class_mean_scores, judge, label_scores, principal_axes, wrong_in_first
from dsl_teach.prototypes import class_scores, label_margin, select_prototypes
from dsl_teach.prototypes.variants import neighbour_scores, ridge_head
from dsl_teach.seeds import stream
from dsl_teach.training.runs import environment

RATES = (0.005, 0.01, 0.05, 0.1, 0.2, 0.4)
OTHER = f"{PREFIX}tf_efficientnet_lite2"
FIRST = 100
SAMPLE = slice(2, FIRST, 5)
"""Of the first, those that the page estimates the share by."""
IMAGES = 3000
"""Of CIFAR-10, for a seed."""

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
    parts = [score(axes, labels, k) for score in (means, neighbours, ridge)]
    return torch.stack([(part - part.mean()) / part.std() for part in parts]).mean(dim=0)


CHOSEN = "ours"
"""What the command does: class means, and the votes of neighbours where these say more of the given labels back."""
OURS: dict[str, Scores] = {
    "class means": means,
    "density peaks": density_peaks,
    "neighbours": neighbours,
    "ridge": ridge,
    "mean of three": pooled,
}


def ours(
    features: Tensor, labels: Tensor, k: int, only: Collection[str] = (CHOSEN, *OURS)
) -> Iterator[tuple[str, Tensor, float, dict[str, float]]]:
    """Each score's ranking: by the probability of the given label, and by the margin of the scores themselves."""
    for name in only:
        start = time.perf_counter()
        axes = principal_axes(features)
        if name == CHOSEN:
            scores, _ = label_scores(features, axes, labels, num_classes=k)
        else:
            scores = OURS[name](axes, labels, k)
        found = judge(scores, labels)
        seconds = time.perf_counter() - start
        said = dict(zip(("expected", "low", "high"), wrong_in_first(found), strict=True))
        yield name, found.quality, seconds, said
        yield f"{name}, margin", label_margin(scores, labels), seconds, {}


def cleanlab(features: Tensor, labels: Tensor, k: int) -> Iterator[tuple[str, Tensor, float, dict[str, float]]]:
    """Its scores of a logistic regression's cross-validated probabilities; Datalab by neighbours, if installed."""
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
    with contextlib.suppress(ImportError):  # an extra of cleanlab's
        from cleanlab import Datalab

        start, lab = time.perf_counter(), Datalab({"label": y.tolist()}, label_name="label", verbosity=0)
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
        "wrong_in_20": int(wrong[order[:20]].sum()),
        "wrong_in_sample": int(wrong[order[SAMPLE]].sum()),
        "wrong_in_first": int(wrong[order[:FIRST]].sum()),
    }


Case = tuple[str, float, int, Tensor, Tensor, Tensor]
"""Noise, rate, seed; features (N, D), given and true labels (N,)."""


def planted(features: Tensor, clean: Tensor, confused: Tensor, seeds: int) -> Iterator[Case]:
    """Mistakes at random, and where ``confused``, (N, K) probabilities, finds the classes alike."""
    for seed in range(seeds):
        for noise in ("random", "confusion"):
            for rate in RATES:
                generator = stream(seed, "noise")
                made = (
                    symmetric_noise(clean, rate, num_classes=confused.shape[1], generator=generator)
                    if noise == "random"
                    else instance_dependent_noise(confused, clean, rate, generator=generator)
                )
                yield noise, rate, seed, features, made.noisy_labels, clean


def network_features(images: Images, network: str = NETWORK) -> Tensor:
    return frozen_maps(images, backbone(network, "bundled"), 10**6, network).flatten(2).float().mean(dim=1)


def photographs(root: Path, seeds: int) -> Iterator[Case]:
    folder = read_folder(root)
    other = frozen_maps(folder.files, backbone(OTHER, "bundled"), 10**6, OTHER)[:, 0].flatten(1).float()
    yield from planted(network_features(folder.files), folder.labels, linear_probabilities(other, folder.labels), seeds)


def digits(seeds: int) -> Iterator[Case]:
    data = load_dataset(Settings(noise_rate=0.0))
    assert isinstance(data.images, Tensor)
    pixels, clean = data.images.flatten(1) / 255, data.noisy_labels
    yield from planted(pixels, clean, neighbour_probabilities(pixels, clean, num_classes=10), seeds)


def cifar_labels(root: Path, file: str, names: list[str], seeds: int) -> Iterator[Case]:
    labelled = {name: cifar("cifar10", root, labels=published_labels(file, name), official=False) for name in names}
    for seed in range(seeds):
        rows = torch.arange(seed * IMAGES, (seed + 1) * IMAGES)
        features = network_features(labelled[names[0]].images[rows])
        for name, data in labelled.items():
            assert data.clean_labels is not None
            given, clean = data.noisy_labels[rows], data.clean_labels[rows]
            yield name, round(float((given != clean).double().mean()), 4), seed, features, given, clean


def million(number: int = 1_000_000, few: int = 100_000, width: int = 512, k: int = 100) -> dict[str, object]:
    """Seconds and peak memory of our ranking, and of cleanlab's self-confidence on ``few`` of the same rows."""
    generator = stream(0, "million")
    clean = torch.randint(k, (number,), generator=generator)
    features = torch.randn(number, width, generator=generator)
    middles = torch.randn(k, width, generator=generator) / 8
    for x, y in zip(features.split(10_000), clean.split(10_000), strict=True):
        x += middles[y]
    noisy = symmetric_noise(clean, 0.05, num_classes=k, generator=generator).noisy_labels
    before, start = peak_gigabytes(), time.perf_counter()
    quality = judge(class_mean_scores(principal_axes(features), noisy, num_classes=k), noisy).quality
    order = quality.argsort(stable=True)
    seconds = time.perf_counter() - start
    made: dict[str, object] = {"images": number, "features": width, "classes": k, "seconds": round(seconds, 1)}
    made |= {"peak_GB": round(peak_gigabytes(), 2), "peak_GB_before": round(before, 2)}
    made |= {"wrong_in_first": int((noisy != clean)[order[:FIRST]].sum())}
    made |= {"average_precision": round(average_precision(quality, noisy, clean), 4)}
    _, quality, seconds, _ = next(cleanlab(features[:few].clone(), noisy[:few], k))
    made |= {"cleanlab_images": few, "cleanlab_seconds": round(seconds, 1)}
    made |= {
        "cleanlab_seconds_scaled": round(seconds * number / few),
        "scaled": "in proportion to images, not measured",
    }
    made |= {"cleanlab_average_precision_of_few": round(average_precision(quality, noisy[:few], clean[:few]), 4)}
    return made | {"threads": torch.get_num_threads(), **environment(Path())}


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="digits, a folder of photographs, or with --labels the folder of CIFAR")
    parser.add_argument("--labels", nargs="+", metavar=("FILE", "NAME"))
    parser.add_argument("--rows", type=Path, default=Path("own_data.jsonl"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=(CHOSEN, *OURS), default=(CHOSEN, *OURS))
    parser.add_argument("--without-cleanlab", action="store_true")
    parser.add_argument("--million", action="store_true")
    args = parser.parse_args()
    if args.million:
        args.rows.write_text(json.dumps(million(), indent=1) + "\n")
        return print(args.rows.read_text())
    rows = [json.loads(line) for line in args.rows.read_text().splitlines()] if args.rows.exists() else []
    done = {(row["noise"], row["rate"], row["seed"], row["method"]) for row in rows}
    groups = {name: partial(ours, only=[name]) for name in args.only}
    groups |= {} if args.without_cleanlab else {"cleanlab, self_confidence": cleanlab}
    if args.labels:
        cases = cifar_labels(Path(args.data), args.labels[0], args.labels[1:], args.seeds)
    else:
        cases = digits(args.seeds) if args.data == "digits" else photographs(Path(args.data), args.seeds)
    with args.rows.open("a") as file:
        for noise, rate, seed, features, noisy, clean in cases:
            for first, methods in groups.items():
                if (noise, rate, seed, first) in done:
                    continue
                made: list[dict[str, Any]] = []
                for method, quality, seconds, said in methods(features, noisy, int(clean.max()) + 1):
                    key = {"noise": noise, "rate": rate, "seed": seed, "method": method}
                    made.append(key | row_of(quality, noisy, clean) | said | {"seconds": seconds})
                file.write("".join(json.dumps(row) + "\n" for row in made))
                file.flush()
                rows += made
    print(table(pd.DataFrame(rows)))


def table(rows: pd.DataFrame) -> str:
    """Average precision and precision in the first 100, %, by method, noise and rate; and where intervals hold."""
    rate = rows.rate if rows.rate.nunique() <= len(RATES) else rows.groupby("noise").rate.transform("mean").round(3)
    means = rows.assign(rate=rate).pivot_table(
        index="method", columns=["noise", "rate"], values=["average_precision", "first"]
    )
    said = rows.dropna(subset="expected") if "expected" in rows else rows.iloc[:0]
    half = 0.5  # bounds are printed as whole numbers
    held: dict[str, Any] = {"at random": said.wrong_in_first.between(said.low - half, said.high + half)}
    for name in ("wrong_in_20", "wrong_in_sample") if "wrong_in_20" in rows else ():
        held[name] = [covered(k, 20, w) for k, w in zip(said[name], said.wrong_in_first, strict=True)]
    seconds = rows.groupby("method").seconds.median()
    parts = [(100 * means[name]).round(1).to_string() for name in ("average_precision", "first")]
    coverage = said[["method", "noise"]].assign(**held, runs=1.0).groupby(["method", "noise"])
    return "\n\n".join([*parts, coverage.sum().astype(int).to_string(), seconds.to_string()])


def covered(k: int, n: int, wrong: int) -> bool:
    """Does Wilson's 95 % interval of k wrong among n hold the share of wrong among the first 100?"""
    z = 1.96
    middle, half = k + z * z / 2, z * (k * (n - k) / n + z * z / 4) ** 0.5
    return middle - half <= wrong / FIRST * (n + z * z) <= middle + half


if __name__ == "__main__":
    main()
