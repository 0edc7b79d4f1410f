"""What lesson 04 runs: CIFAR with its noise, or digits in its place; the methods on equal terms; who corrects best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from dsl_lessons.detection import probabilities
from dsl_lessons.finished import row_of
from dsl_lessons.lessons import fit_to, prototypes_right
from dsl_lessons.methods import methods
from dsl_teach.config import Settings
from dsl_teach.data.catalog import load_dataset
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.relabel import with_labels
from dsl_teach.noise import instance_dependent_noise, noise_report
from dsl_teach.seeds import stream
from dsl_teach.training.correction import correct
from dsl_teach.training.records import Result
from dsl_teach.training.runs import Run, make_batches

DIGITS = {"dataset": "digits", "data_root": "", "labels_file": "", "labels_name": "", "subset": 0}
CORRECTORS = ("density_peaks", "random", "class_means", "neighbours", "head")
HOW_TO_GET_CIFAR = (
    "CIFAR-10 is not in {}, so the lesson goes on with handwritten digits. To get CIFAR, run in the folder of the "
    "repository: python data_scripts/download_cifar.py cifar10"
)
Plan = tuple[str, NoisyDataset, Settings]


class Opened(NamedTuple):
    """The data of the lesson, and what to tell the reader about them."""

    settings: Settings
    data: NoisyDataset
    said: str


def open_cifar_or_digits(settings: Settings) -> Opened:
    """CIFAR-10 as the settings name it; where its files are not there, digits, and how to get the files.

    Args:
        settings: with ``dataset`` ``cifar10``. ``noise_rate`` is used where no file of labels is named.

    Raises:
        FileNotFoundError: if CIFAR is there, but not the named file of labels.
        ValueError: if files are there and damaged.
    """
    try:
        return Opened(settings, load(settings), "")
    except FileNotFoundError:
        if settings.labels_file:
            raise
        instead = settings.replace(**DIGITS, network="small_cnn")
        return Opened(instead, load(instead), HOW_TO_GET_CIFAR.format(settings.data_root))


def load(settings: Settings) -> NoisyDataset:
    """The data of a run: CIFAR without published labels gets input-dependent noise, as digits do."""
    data = load_dataset(settings)
    if settings.dataset != "cifar10" or settings.labels_file or settings.noise_rate == 0:
        return data
    return with_look_alike_noise(data, settings)


def with_look_alike_noise(data: NoisyDataset, settings: Settings, *, epochs: int = 3) -> NoisyDataset:
    """Wrong labels where images are confusing: a small network, trained shortly on the true labels, says which are.

    Args:
        data: with its clean labels as the given ones.
        settings: the seed, the noise rate and its temperature; and the network, which starts from other weights.
        epochs: that the network trains before it is asked.
    """
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which images to mislabel.")
    judge = settings.replace(alpha=0.0, loss="cross_entropy", mixup=0.0, epochs=epochs, seed=settings.seed + 10_000)
    run = fit_to(with_labels(data, data.clean_labels, made_from="clean labels"), judge)
    seen = probabilities(run.network, make_batches(data, judge, "cpu")[0])
    noise = instance_dependent_noise(
        seen, data.clean_labels, settings.noise_rate, generator=stream(settings.seed, "noise"),
        temperature=settings.noise_temperature,
    )  # fmt: skip
    told = f"{settings.noise_rate:.0%} label noise by a small network's confusions"
    return with_labels(data, noise.noisy_labels, made_from=told)


def worst_confusions(data: NoisyDataset, count: int = 5) -> pd.DataFrame:
    """The most frequent wrong labels: true class, given label, how many images, and their share of the class."""
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which labels are wrong.")
    counts = noise_report(data.clean_labels, data.noisy_labels, data.num_classes).counts.clone()
    sizes = counts.sum(dim=1)
    worst = counts.fill_diagonal_(-1).flatten().argsort(descending=True, stable=True)[:count]
    lines = []
    for place in worst.tolist():
        true, given = divmod(place, data.num_classes)
        images = int(counts[true, given])
        share = f"{100 * images / int(sizes[true]):.0f}"
        names = data.class_names[true], data.class_names[given]
        lines.append(
            dict(zip(("true class", "given label"), names, strict=True)) | {"images": images, "of it %": share}
        )
    return pd.DataFrame(lines)


def plan(base: Settings, names: Sequence[str], seeds: Sequence[int]) -> list[Plan]:
    """What to run: each method on the same data for a seed. Data are loaded once a seed."""
    known, plans = methods(), []
    for seed in seeds:
        data = load(base.replace(seed=seed))
        plans += [(name, data, base.replace(seed=seed, **known[name])) for name in names]
    return plans


def rows_of(plans: Sequence[Plan], runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run, as a grid writes them: ``case``, ``method``, ``seed``, figures, curves and seconds."""
    labels = [{"case": data.name, "method": name, "seed": settings.seed} for name, data, settings in plans]
    return pd.DataFrame([row_of(run) | label for run, label in zip(runs, labels, strict=True)])


def compare_correctors(run: Run) -> pd.DataFrame:
    """One correction phase by each way to correct, all on the embeddings of the same finished network.

    Args:
        run: finished, on data whose clean labels are known.

    Returns:
        Shares in percent: prototypes whose label is right, labels mended and spoilt, and labels right afterwards.
    """
    train = make_batches(run.data, run.settings, "cpu")[0]
    lines = {}
    for who in CORRECTORS:
        settings = run.settings.replace(correct_by=who)
        correction = correct(run.network, train, settings, settings.epochs, clean_labels=run.data.clean_labels)
        by_sample = bool((correction.prototypes.index >= 0).any())
        result = Result(run.result.history, correction)
        right = prototypes_right(Run(settings, run.data, run.network, result)) if by_sample else None
        report = correction.report
        shares = (right, report.wrong_to_right, report.right_to_wrong, report.label_accuracy)
        lines[who] = ["" if share is None else f"{100 * share:.1f}" for share in shares]
    columns = ["prototypes right %", "mended %", "spoilt %", "labels right afterwards %"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def purity_by_method(runs: Mapping[str, Run]) -> pd.DataFrame:
    """For each method that corrects: the share of right labels among its prototypes, beside those given."""
    lines = {}
    for name, run in runs.items():
        if run.result.correction is not None and run.data.clean_labels is not None:
            report = run.result.correction.report
            shares = {
                "given labels right %": report.noisy_accuracy or 0.0,
                "prototypes right %": prototypes_right(run),
                "corrected labels right %": report.label_accuracy or 0.0,
            }
            lines[name] = {title: f"{100 * share:.1f}" for title, share in shares.items()}
    return pd.DataFrame.from_dict(lines, orient="index")


def published_rankings(content: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table of ``benchmarks/results/detection.json``: how well each ranking finds wrong labels, and its cost."""
    rankings: Sequence[Any] = next((entry["rankings"] for entry in content if "rankings" in entry), [])
    table = pd.DataFrame(rankings)
    return table if table.empty else table.set_index(["network", "ranking", "epochs"])
