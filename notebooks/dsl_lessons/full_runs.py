"""What lessons 05 and 06 do around a run: find the data or draw a stand-in, hold to the protocol, judge corrections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import yaml
from torch import Tensor

from dsl_lessons.finished import predict
from dsl_lessons.launch import train_in_processes
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches, make_batches
from dsl_teach.data.clothing1m import Clothing1MLists
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.data.food101n import FOOD101, FOOD101N, find_folder, food101_images, food101n_classes, food101n_images
from dsl_teach.data.parts import is_stand_in
from dsl_teach.data.stand_in import make_clothing1m, make_food101n
from dsl_teach.metrics import accuracy
from dsl_teach.prototypes import class_scores
from dsl_teach.training.loop import EpochRecord, embed
from dsl_teach.training.runs import Run, run, run_folder

CLOTHING1M_SIZES = {"noisy_train": 1_000_000, "clean_test": 10_526}
FOOD_SIZES = {"Food-101N's imagelist.tsv": 310_009, "Food-101's test.txt": 25_250}


def find_data(dataset: str, data_root: str, *, stand_in: str | Path, images_per_class: int = 20) -> Path:
    """The folder of the data; without one, a stand-in is drawn where none is yet.

    Args:
        dataset: ``"clothing1m"`` or ``"food101n"``.
        data_root: the reader's folder; empty: a stand-in will do.
        stand_in: where the stand-in goes; its size becomes part of the name.
        images_per_class: of the stand-in.

    Raises:
        FileNotFoundError: if ``data_root`` names a folder that is not there.
    """
    if data_root:
        if not Path(data_root).is_dir():
            raise FileNotFoundError(
                f"data_root names {data_root}, and there is no such folder. Name the folder of {dataset}, or leave "
                "data_root empty for a stand-in."
            )
        return Path(data_root)
    folder = Path(f"{stand_in}_{images_per_class}")
    if not folder.exists():
        make = {"clothing1m": make_clothing1m, "food101n": make_food101n}[dataset]
        make(folder, images_per_class=images_per_class)
    return folder


def require_clothing1m(root: Path) -> dict[str, int]:
    """Hold to the paper's protocol: train on the million of the noisy key list, test on the 10,526 of the clean one.

    Args:
        root: the data folder; a stand-in may have any size.

    Returns:
        How many images each list names.

    Raises:
        ValueError: if the lists are of another size, or share an image.
    """
    lists = Clothing1MLists(root)
    keys = {name: lists.keys(name) for name in CLOTHING1M_SIZES}
    found = {f"{name}_key_list.txt": len(names) for name, names in keys.items()}
    wanted = {f"{name}_key_list.txt": size for name, size in CLOTHING1M_SIZES.items()}
    _require_sizes(found, wanted, stand_in=is_stand_in(root), name="Clothing1M")
    shared = set(keys["noisy_train"]) & set(keys["clean_test"])
    if shared:
        raise ValueError(f"{len(shared)} image(s) stand in the training and in the test list, one is {min(shared)}.")
    return found


def require_food(root: Path, test_root: Path) -> dict[str, int]:
    """Hold to the protocol: train on the 310,009 images of Food-101N, test on the 25,250 of Food-101.

    Args:
        root: the folder of Food-101N; a stand-in may have any size.
        test_root: the folder of Food-101.

    Raises:
        ValueError: if the lists are of another size.
    """
    folder, test_folder = find_folder(root, FOOD101N), find_folder(test_root, FOOD101)
    names = food101n_classes(folder)
    parts = (food101n_images(folder, names), food101_images(test_folder, names))
    found = {part.source: len(part.labels) for part in parts}
    _require_sizes(found, FOOD_SIZES, stand_in=is_stand_in(folder, test_folder), name="Food-101N")
    return found


def _require_sizes(found: dict[str, int], wanted: dict[str, int], *, stand_in: bool, name: str) -> None:
    wrong = [list_ for list_, size in wanted.items() if found[list_] != size]
    if wrong and not stand_in:
        raise ValueError(
            f"{wrong[0]} names {found[wrong[0]]:,} images, but the figures of {name} are from {wanted[wrong[0]]:,}. "
            "Take the lists as they were published; a figure from others could not be compared."
        )


def train(
    settings: Settings,
    folder: str | Path,
    *,
    device: str = "cpu",
    processes: int = 1,
    workers: int = 0,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> Run:
    """Train a run in its run folder, continue one that broke off, or take up a finished one.

    Args:
        settings: every knob.
        folder: where run folders are made.
        device: ``"cpu"`` or ``"cuda"``.
        processes: above 1, torchrun trains the run in so many.
        workers: processes that read images ahead.
        on_epoch: called with the record of each epoch trained now.
    """
    if processes > 1:
        train_in_processes(settings, processes=processes, folder=folder, device=device)
    return run(settings, folder=run_folder(folder, settings), device=device, workers=workers, on_epoch=on_epoch)


def full_settings(path: str | Path, **places: str) -> Settings:
    """The settings among the parameters that a full run's YAML file gives its notebook.

    Args:
        path: the file.
        places: ``dataset``, ``data_root`` and ``test_root``.
    """
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    content |= content.get("more_settings", {})
    names = {knob.name for knob in fields(Settings)}
    return Settings().replace(**places, **{name: value for name, value in content.items() if name in names})


@dataclass(frozen=True)
class Held:
    """Images that nobody trains on, and whose true class is known."""

    files: ImageFiles
    noisy_labels: Tensor
    """(N,) int64, ``UNKNOWN`` where an image has no noisy label."""
    clean_labels: Tensor


def both_labels(root: Path) -> Held:
    """Clothing1M's images that carry a noisy and a clean label, out of its clean-train list; none is trained on."""
    part, clean = Clothing1MLists(root).train("both")
    return Held(part.files, part.labels, clean)


def tested_images(data: NoisyDataset) -> Held:
    """The test images; their noisy labels are not asked for."""
    if not isinstance(data.test_images, ImageFiles):
        raise TypeError(f"{data.name} lives in memory; this is for images on disk.")
    return Held(data.test_images, torch.full_like(data.test_labels, -1), data.test_labels)


def vote(run: Run, files: ImageFiles) -> Tensor:
    """The labels that the prototypes of a run's last correction give to any images.

    Returns:
        (N,) int64.

    Raises:
        ValueError: if the run has no prototypes to ask.
    """
    if run.result.correction is None:
        raise ValueError("With alpha = 0 there is no correction, so there are no prototypes to ask.")
    if run.settings.centred or run.settings.whitened or run.settings.correct_by in ("neighbours", "head"):
        raise ValueError("Only prototypes in the space of the embeddings can be asked about other images.")
    rows = embed(run.network, _batches(run, files))
    return class_scores(rows, run.result.correction.prototypes).argmax(dim=1).cpu()


def answers(run: Run, files: ImageFiles) -> Tensor:
    """(N,) int64, the class that the network of a run gives each of these images."""
    return predict(run.network, _batches(run, files)).cpu()


def judged(run: Run, held: Held) -> dict[str, float]:
    """How many labels of these images are right, as shares: given ones, those by prototypes, the network's answers."""
    known = held.noisy_labels >= 0
    given = accuracy(held.noisy_labels[known], held.clean_labels[known]) if bool(known.any()) else float("nan")
    told = {"given labels": given, "network's answers": accuracy(answers(run, held.files), held.clean_labels)}
    if run.result.correction is not None:
        told["labels by the prototypes"] = accuracy(vote(run, held.files), held.clean_labels)
    return told


def verified_report(run: Run) -> dict[str, float]:
    """Of the labels that a person found right, how many the correction kept; of the wrong ones, how many it changed.

    Returns:
        Shares from 0 to 1, NaN where nobody looked.
    """
    marks, correction = run.data.verified, run.result.correction
    if marks is None or correction is None:
        raise ValueError("This needs verification labels, and a run with a correction.")
    kept = (correction.labels.cpu() == run.data.noisy_labels).double()
    return {
        "right ones kept": float(kept[marks == 1].mean()),
        "wrong ones changed": float(1 - kept[marks == 0].mean()),
        "labels that agree": float(kept.mean()),
    }


def _batches(run: Run, files: ImageFiles) -> Batches:
    device, labels = next(run.network.parameters()).device, torch.zeros(len(files), dtype=torch.int64)
    return make_batches(files, labels, batch_size=run.settings.batch_size, device=device)
