"""One run from settings to result, and the folder it leaves behind."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dsl_teach._validate import require
from dsl_teach.config import Settings
from dsl_teach.data import batches, load_dataset
from dsl_teach.data.backbones import backbone, features_of, maps_of, one_view
from dsl_teach.data.batches import Batches, crop_and_flip
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.data.fingerprint import digest, fingerprint
from dsl_teach.metrics import accuracy
from dsl_teach.seeds import lent, stream
from dsl_teach.storage import read_checked
from dsl_teach.training import distributed
from dsl_teach.training.checkpoint import Checkpoint, RunFolder
from dsl_teach.training.correction import correct
from dsl_teach.training.distributed import by_leader
from dsl_teach.training.loop import fit
from dsl_teach.training.networks import EmbeddingNetwork, build_network, require_fit, uses_bfloat16
from dsl_teach.training.records import Callback, Correction, Result

PACKAGES = ("torch", "torchvision", "torchcodec", "numpy", "scikit-learn", "papermill", "jupyterlab")


@dataclass(frozen=True)
class Run:
    """A finished run."""

    settings: Settings
    data: NoisyDataset
    network: EmbeddingNetwork
    result: Result
    fingerprint: str = ""
    """Of the data: other data, another fingerprint."""


def run(
    settings: Settings,
    data: NoisyDataset | None = None,
    *,
    folder: str | Path | None = None,
    device: torch.device | str = "cpu",
    correct: Callable[..., Correction] = correct,
    callbacks: Sequence[Callback] = (),
    minutes: float = 10.0,
    loader_workers: int = 0,
) -> Run:
    """Load the data, build the network and fit it; continue where an earlier call with the same folder broke off.

    The folder gets settings, environment, history, corrected labels, and a checkpoint every so many minutes; without
    data of the caller's own, those that the settings name are loaded. Any number of ``loader_workers``, processes that
    read images from disk, gives the same run. Under torchrun every process calls this, and they train together; the
    callbacks are for the first.

    Raises:
        RunFolderError: if the folder cannot be written to, or holds another run. Nothing is trained then.
        Interrupted: if SIGTERM, SIGHUP or Ctrl-C asked to stop; the state is saved.
    """
    with distributed.process_group(device) as device, Checkpoint(folder, settings, minutes=minutes) as saving:
        data = load_dataset(settings) if data is None else data
        identity = fingerprint(data)
        told = f"This process has found other data for {data.name} than the first one: all must see the same files."
        require(digest(identity) == distributed.from_leader(digest(identity)), told)
        if saving.folder:
            note_environment(saving.folder, settings, device)
        by_leader(lambda: saving.folder.require_same_data(identity) if saving.folder else None)
        correct, data = by_first_weights(correct, data, settings, device)
        train, test = map(saving.watch, make_batches(data, settings, device, loader_workers=loader_workers))
        network = first_network(data, settings).to(device)
        clean_labels = None if data.clean_labels is None else data.clean_labels.to(device)
        callbacks = [saving, *(callbacks if distributed.is_leader() else ())]
        how: dict[str, Any] = {"clean_labels": clean_labels, "correct": correct, "callbacks": callbacks}
        finished = Run(settings, data, network, fit(network, train, test, settings, **how), digest(identity))
        if saving.folder:
            if finished.result.correction is not None:
                saving.folder.write_labels(finished.result.correction.labels, "corrected_labels.pt")
            saving.folder.write_text("result.json", json.dumps(summary(finished), indent=2) + "\n")  # the last file
    return finished


def note_environment(folder: RunFolder, settings: Settings, device: torch.device) -> None:
    """Add a line for this start of the run: what it stands on."""
    path = folder.path / "environment.jsonl"
    before = read_checked(path).decode() if path.exists() else ""
    precision = "bfloat16" if uses_bfloat16(settings, device) else "float32"
    facts = {"device": device.type, "precision": precision, "processes": str(distributed.world_size())}
    folder.write_text(path.name, f"{before}{json.dumps(environment(folder.path) | facts)}\n")


def environment(folder: str | Path = ".") -> dict[str, str]:
    """Versions and resources, as short lines by name; the disk is that of ``folder``."""
    import psutil

    accelerator = "none: the CPU does all the work"
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        accelerator = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    found = {name: next(iter(metadata.distributions(name=name)), None) for name in PACKAGES}
    return {
        "Python": platform.python_version(),
        **{name: "missing" if package is None else package.version for name, package in found.items()},
        "system": f"{platform.system()} {platform.machine()}",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "accelerator": accelerator,
        "memory": f"{psutil.virtual_memory().available / 2**30:.0f} GiB free",
        "free disk": f"{shutil.disk_usage(folder).free / 2**30:.0f} GiB",
    }


def make_batches(
    data: NoisyDataset, settings: Settings, device: torch.device | str, *, loader_workers: int = 0
) -> tuple[Batches, Batches]:
    """Training and test batches of a data set, wherever its images live; of several processes each gets its share."""
    where: dict[str, Any] = {"device": device, "share": distributed.share(), "loader_workers": loader_workers}
    test_size = settings.batch_size if isinstance(data.test_images, ImageFiles) else 1024
    in_training: dict[str, Any] = {"batch_size": settings.batch_size, "balanced": settings.balanced_sampling}
    if settings.augment and not isinstance(data.images, ImageFiles):
        if data.images.ndim < 4:
            raise ValueError(f"augment shifts and mirrors images, but {data.name} holds points; set augment to false.")
        in_training["view"] = one_view if settings.frozen_blocks else crop_and_flip
    train = batches.make_batches(data.images, data.noisy_labels, **in_training, **where)
    return train, batches.make_batches(data.test_images, data.test_labels, batch_size=test_size, **where)


def first_network(data: NoisyDataset, settings: Settings) -> EmbeddingNetwork:
    """The network that a run begins with; its first weights follow from the seed."""
    how: dict[str, Any] = {name: getattr(settings, name) for name in ("width", "weights", "frozen_blocks")}
    how |= {"images": data.images, "num_classes": data.num_classes, "generator": stream(settings.seed, "weights")}
    network = build_network(settings.network, **how)
    for images in (data.images, data.test_images):
        require_fit(network, settings.network, images)
    return network


def by_first_weights(
    correct: Callable[..., Correction], data: NoisyDataset, settings: Settings, device: torch.device
) -> tuple[Callable[..., Correction], NoisyDataset]:
    """The correction by embeddings of timm's network before any training, and maps in place of images, if asked for."""
    untouched = settings.correct_from == "untouched" and settings.alpha > 0
    if not untouched and not settings.frozen_blocks:
        return correct, data
    model = first_backbone(settings)
    images, test = data.images, data.test_images
    if settings.frozen_blocks:  # first: then the network still lies on the CPU
        images, test = maps_of(data, model, settings.frozen_blocks, settings.network, device=device)
    if untouched:
        correct = functools.partial(correct, untouched=features_of(data, model, settings.network, device=device)[0])
    return correct, dataclasses.replace(data, images=images, test_images=test)


def first_backbone(settings: Settings) -> torch.nn.Module:
    """The network of timm as it is before training, whose weights follow from the seed if they are drawn."""
    with lent(stream(settings.seed, "weights")):
        return backbone(settings.network, settings.weights)


def summary(finished: Run) -> dict[str, Any]:
    """The figures a result table needs: final accuracy, and what the last correction did to the labels."""
    data, last, correction = finished.data, finished.result.history[-1], finished.result.correction
    figures = {"made_from": data.made_from, "seed": finished.settings.seed}
    figures |= {"test_accuracy": last.test_accuracy, "memorised": last.memorised}
    figures |= {} if correction is None else asdict(correction.report)
    if data.verified is not None:  # of the given labels that a person verified to be right, the share that is kept
        right, labels = data.verified == 1, None if correction is None else correction.labels.cpu()
        figures["verified_kept"] = None if labels is None else accuracy(labels[right], data.noisy_labels[right])
    return figures
