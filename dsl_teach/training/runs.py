"""One run from settings to result, and the folder it leaves behind."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import torch

from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.data.catalog import load_dataset
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.seeds import stream
from dsl_teach.training.loop import EpochRecord, Result, fit
from dsl_teach.training.models import EmbeddingNetwork, build_network


@dataclass(frozen=True)
class Run:
    """A finished run with everything needed to look into it."""

    settings: Settings
    data: NoisyDataset
    network: EmbeddingNetwork
    result: Result


def run(
    settings: Settings,
    *,
    folder: str | Path | None = None,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> Run:
    """Load the data, build the network, fit it, and write what came out.

    Args:
        settings: every knob.
        folder: where ``settings.yaml``, ``history.jsonl``, ``result.json`` and ``corrected_labels.pt`` go; None:
            nothing is written.
        device: where to train.
        on_epoch: called with each epoch's record.

    Raises:
        RunFolderError: if the folder cannot be written to, or holds another run. Nothing is trained then.
    """
    if folder is not None:
        open_run_folder(folder, settings)
    data = load_dataset(settings)
    train, test = make_batches(data, settings, device)
    network = build_network(
        settings.network,
        images=train.images,
        num_classes=data.num_classes,
        width=settings.width,
        generator=stream(settings.seed, "weights"),
    ).to(device)
    clean_labels = None if data.clean_labels is None else data.clean_labels.to(device)
    result = fit(network, train, test, settings, clean_labels=clean_labels, on_epoch=on_epoch)
    finished = Run(settings, data, network, result)
    if folder is not None:
        write_run(folder, finished)
    return finished


def make_batches(
    data: NoisyDataset, settings: Settings, device: torch.device | str
) -> tuple[InMemoryBatches, InMemoryBatches]:
    """Training and test batches of a data set that lives in memory."""
    if isinstance(data.images, ImageFiles) or isinstance(data.test_images, ImageFiles):
        raise TypeError(f"{data.name} lives on disk; this function makes batches of images in memory.")
    train = InMemoryBatches(data.images, data.noisy_labels, batch_size=settings.batch_size, device=device)
    test = InMemoryBatches(data.test_images, data.test_labels, batch_size=1024, device=device)
    return train, test


def run_many(many: Sequence[Settings], *, workers: int = 1, on_run: Callable[[Run], None] | None = None) -> list[Run]:
    """Several runs side by side, one thread each, so that every figure is the same for any number of workers.

    Args:
        many: the settings of each run.
        workers: how many run at a time, each in a process of its own.
        on_run: called with each run as it finishes, in the order given.

    Returns:
        The runs, in the order given.
    """
    finished = []
    for done in joblib.Parallel(n_jobs=workers, return_as="generator")(joblib.delayed(_run_alone)(s) for s in many):
        finished.append(done)
        if on_run is not None:
            on_run(done)
    return finished


def _run_alone(settings: Settings) -> Run:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run(settings)
    finally:
        torch.set_num_threads(threads)


class RunFolderError(OSError):
    """A run folder that cannot be used."""


def open_run_folder(folder: str | Path, settings: Settings) -> Path:
    """Make sure, before any training, that a run can be written to a folder and overwrites nothing.

    Raises:
        RunFolderError: if it cannot be made or written to, or if it holds a run with other settings.
    """
    folder = open_folder(folder)
    before = folder / "settings.yaml"
    if before.exists() and before.read_text(encoding="utf-8") != settings.to_yaml():
        raise RunFolderError(f"The run folder {folder} holds a run with other settings. Name another folder.")
    return folder


def open_folder(folder: str | Path) -> Path:
    """Make a folder, or find it there, and make sure that it can be written to.

    Raises:
        RunFolderError: if it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunFolderError(
            f"The run folder {folder} cannot be written to ({error.strerror}). Name another folder."
        ) from error
    return folder


def write_run(folder: str | Path, finished: Run) -> None:
    """Write a finished run, each file whole or not at all; the settings last, so that they vouch for the rest."""
    folder, result = Path(folder), finished.result
    history = "".join(json.dumps(asdict(record)) + "\n" for record in result.history)
    write_atomically(folder / "history.jsonl", history)
    write_atomically(folder / "result.json", json.dumps(summary(finished), indent=2) + "\n")
    if result.correction is not None:
        torch.save(result.correction.labels.cpu(), folder / "corrected_labels.pt.part")
        os.replace(folder / "corrected_labels.pt.part", folder / "corrected_labels.pt")
    write_atomically(folder / "settings.yaml", finished.settings.to_yaml())


def summary(finished: Run) -> dict[str, Any]:
    """The figures a result table needs: final accuracy, and what the last correction did to the labels."""
    last, correction = finished.result.history[-1], finished.result.correction
    return {
        "made_from": finished.data.made_from,
        "seed": finished.settings.seed,
        "test_accuracy": last.test_accuracy,
        "memorised": last.memorised,
        **({} if correction is None else asdict(correction.report)),
    }


def write_atomically(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
