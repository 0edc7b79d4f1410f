"""Lessons 05 and 06: the paper's protocol, a sweep of runs, corrected labels judged where nobody trained, and cost."""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dsl_lessons.paths import ROOT, RUNS
from dsl_teach.config import KNOBS, Settings
from dsl_teach.data.batches import Batches, make_batches
from dsl_teach.data.dataset import ImageFiles, Images, NoisyDataset
from dsl_teach.metrics import accuracy, interval
from dsl_teach.prototypes import class_scores
from dsl_teach.seeds import stream
from dsl_teach.sweep import Sweep, run_sweep
from dsl_teach.training.evaluation import embed, evaluation, predict
from dsl_teach.training.hardware import make_optimizer, prepare
from dsl_teach.training.loop import correction_is_due
from dsl_teach.training.losses import self_learning_loss
from dsl_teach.training.networks import build_network
from dsl_teach.training.runs import Run, run

LISTS = {
    "clothing1m": {"noisy_train_key_list.txt": 1_000_000, "clean_test_key_list.txt": 10_526},
    "food101n": {"imagelist.tsv": 310_009, "test.txt": 25_250},
}
"""Data set -> list of images -> how many it names: those that the figures in the literature are from."""
INSIDE = ("", "annotations", "meta", "Food-101N_release/meta", "food-101/meta")
SIDE = 224


def find_data(dataset: str, data_root: str, *, images_per_class: int = 20) -> Path:
    """The folder of the data; without one, that of a synthetic data set, which is drawn where none is yet.

    Raises:
        FileNotFoundError: if ``data_root`` names a folder that is not there.
    """
    if data_root:
        if not Path(data_root).is_dir():
            raise FileNotFoundError(
                f"data_root names {data_root}, and there is no such folder. Name the folder of {dataset}, or leave "
                "data_root empty for a synthetic data set."
            )
        return Path(data_root).resolve()
    folder = RUNS / "synthetic" / f"{dataset}_{images_per_class}"
    if not folder.exists():
        script = runpy.run_path(str(ROOT / "data_scripts" / "make_synthetic.py"))
        script[f"make_{dataset}"](folder, images_per_class=images_per_class)
    return folder


def require_protocol(data: NoisyDataset, dataset: str, *roots: Path) -> dict[str, int]:
    """Hold to the protocol: train and test on the lists that the figures in the literature are from.

    Args:
        data: read from the folders; a synthetic data set may have any size.
        dataset: ``"clothing1m"`` or ``"food101n"``.
        roots: the folders that hold the lists.

    Returns:
        How many images each list names.

    Raises:
        ValueError: if a list is of another size.
    """
    sizes = {}
    for name, wanted in LISTS[dataset].items():
        path = next(place for root in roots for inner in INSIDE if (place := root / inner / name).is_file())
        lines = sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
        sizes[name] = lines - name.endswith(".tsv")  # these have a header
        if sizes[name] != wanted and not data.made_from.startswith("synthetic"):
            raise ValueError(
                f"{name} names {sizes[name]:,} images, but the figures of {data.name} are from {wanted:,}. "
                "Take the lists as they were published; a figure from others could not be compared."
            )
    return sizes


def run_trials(sweep: Sweep, output: Path, **how: Any) -> tuple[pd.DataFrame, dict[str, Run]]:
    """Run a sweep, or what is left of it: one row a run with its knobs, and each method's first run, taken up again."""
    rows, runs, knobs = run_sweep(sweep, output, **how), dict[str, Run](), []
    device = "cuda" if how["device"] == "auto" and torch.cuda.is_available() else how["device"].replace("auto", "cpu")
    for trial in sweep.trials():
        settings, method = Settings(**trial.parameters), trial.labels["method"]
        knobs.append({name: getattr(settings, name) for name in KNOBS})
        if method not in runs:
            runs[method] = run(settings, folder=output / trial.name / "run", device=device)
    return pd.DataFrame([row | more for row, more in zip(rows, knobs, strict=True)]), runs


def batches_of(run: Run, images: Images) -> Batches:
    """Any images, to be looked at by the network of a run, on its device."""
    device, labels = next(run.network.parameters()).device, torch.zeros(len(images), dtype=torch.int64)
    return make_batches(images, labels, batch_size=run.settings.batch_size, device=device)


def vote(run: Run, images: Images) -> Tensor:
    """The labels, (N,) int64, that the prototypes of a run's last correction give to any images.

    Raises:
        ValueError: if the run has no prototypes to ask.
    """
    if run.result.correction is None:
        raise ValueError("With alpha = 0 there is no correction, so there are no prototypes to ask.")
    if run.settings.correct_by in ("neighbours", "head"):
        raise ValueError("Only prototypes in the space of the embeddings can be asked about other images.")
    embeddings = embed(run.network, batches_of(run, images))
    return class_scores(embeddings, run.result.correction.prototypes).argmax(dim=1).cpu()


def judged(run: Run, images: Images, clean_labels: Tensor, noisy_labels: Tensor | None = None) -> dict[str, float]:
    """How many labels of images that the run has not seen are right, as shares, by each way to label them."""
    told = {} if noisy_labels is None else {"given labels": accuracy(noisy_labels, clean_labels)}
    answers = predict(run.network, batches_of(run, images)).cpu()
    told["network's answers"] = accuracy(answers, clean_labels)
    if run.result.correction is not None:
        told["labels by the prototypes"] = accuracy(vote(run, images), clean_labels)
    return told


def verified_report(run: Run) -> dict[str, float]:
    """Of the labels that a person found right, the share kept; of the wrong ones, the share changed; NaN: of none."""
    marks, correction = run.data.verified, run.result.correction
    if marks is None or correction is None:
        raise ValueError("This needs verification labels, and a run with a correction.")
    kept = (correction.labels.cpu() == run.data.noisy_labels).double()
    return {
        "right ones kept": float(kept[marks == 1].mean()),
        "wrong ones changed": float(1 - kept[marks == 0].mean()),
        "labels that agree": float(kept.mean()),
    }


def beside_the_paper(cited: Mapping[str, Mapping[str, str]], rows: pd.DataFrame, tested: int) -> pd.DataFrame:
    """The paper's figures, the article's, and those of the runs at hand with an interval.

    Args:
        cited: source -> method -> figure, as text.
        rows: finished runs, with ``method`` and ``test_accuracy``.
        tested: test images: with a single seed the interval is that of a share among so many.
    """
    ours = {}
    for method, group in rows.groupby("method", sort=False):
        values = (100 * group["test_accuracy"]).tolist()
        half = 1.96 * (values[0] * (100 - values[0]) / tested) ** 0.5
        single = f"{values[0]:.1f} ± {half:.1f} (1 seed; from {tested:,} test images alone)"
        ours[str(method)] = f"{interval(values)} ({len(values)} seeds)" if len(values) > 1 else single
    return pd.DataFrame({source: dict(figures) for source, figures in cited.items()} | {"these runs": ours}).T.fillna(
        ""
    )


def cost_card(
    settings: Settings, *, train: int, test: int, classes: int, device: str, rate: float = 0.0
) -> pd.DataFrame:
    """What a full run costs: images are counted from its settings, rates are measured where this runs.

    Args:
        settings: of the run.
        train: training images.
        test: test images.
        classes: K.
        device: where to measure.
        rate: images a second in training that the reader has measured; 0: the one measured here.
    """
    corrections = sum(correction_is_due(settings, epoch) for epoch in range(settings.epochs + 1))
    passes = corrections if settings.correction_mode == "exact" else 0
    trained, looked_at = settings.epochs * train, passes * train + settings.epochs * test
    training, looking = measure_rates(settings, classes, device)
    training, looking = (rate, looking * rate / training) if rate else (training, looking)
    hours = (trained / training + looked_at / looking) / 3600
    source = "given by the reader" if rate else f"measured here, on {device}"
    lines = {
        "images trained, all epochs": f"{trained:,}",
        "images looked at (corrections, tests)": f"{looked_at:,}",
        "images a second needed to end within 24 hours": f"{(trained + looked_at) / 24 / 3600:.0f}",
        "images a second, trained": f"{training:.1f}, {source}",
        "images a second, looked at": f"{looking:.1f}",
        "hours on one such device": f"{hours:.1f}",
        "hours on eight, if they are eight times as fast": f"{hours / 8:.1f}",
    }
    return pd.DataFrame({f"full run, {settings.network}": lines})


def measure_rates(settings: Settings, classes: int, device: str) -> tuple[float, float]:
    """Images a second in training and in looking, on random pixels: on a CPU four at a time, else the run's batch."""
    network = build_network(
        settings.network, images=ImageFiles(Path(), ()), num_classes=classes, width=settings.width,
        generator=stream(0, "weights"),
    )  # fmt: skip
    network = prepare(network.to(device), settings)
    batch = 4 if device == "cpu" else settings.batch_size
    images = torch.randint(0, 256, (batch, 3, SIDE, SIDE), dtype=torch.uint8, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    optimizer, _ = make_optimizer(network, settings)

    def train_step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = self_learning_loss(network(images)[0], labels)
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for the device

    def look_once() -> float:
        with evaluation(network):
            return network(images)[0].sum().item()

    training, looking = (batch / _seconds(step) for step in (train_step, look_once))
    return training, looking


def _seconds(step: Callable[[], float]) -> float:
    """Seconds of a step, after one that warms up."""
    step()
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def measure_reading(files: ImageFiles, *, count: int = 40) -> dict[str, float]:
    """What it takes to read image files: ``count`` of them, evenly over the list, by the loader of training."""
    chosen = ImageFiles(files.root, files.paths[:: max(1, len(files) // count)][:count])
    begun, none = time.process_time(), torch.zeros(len(chosen), dtype=torch.int64)
    for _ in make_batches(chosen, none, batch_size=8).in_order():
        pass
    seconds = (time.process_time() - begun) / len(chosen)
    kilobytes = sum((chosen.root / path).stat().st_size for path in chosen.paths) / len(chosen) / 1e3
    lines = {"core milliseconds to read one image": 1e3 * seconds, "KB a file": kilobytes}
    return {name: round(value, 1) for name, value in (lines | {"GB for a million such files": kilobytes}).items()}
