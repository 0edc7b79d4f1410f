"""A network trained on what ``correct`` found, and what the network of a run takes the images of a folder for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dsl_teach._validate import require
from dsl_teach.config import ON_DISK, Settings
from dsl_teach.data.backbones import frozen_maps
from dsl_teach.data.batches import Batches, make_batches
from dsl_teach.data.dataset import ImageFiles, Images, NoisyDataset
from dsl_teach.data.folders import SUFFIXES, held_out, look_at_all, read_by_file
from dsl_teach.files import read_json
from dsl_teach.metrics import correction_report
from dsl_teach.own_data.apply import csv_text
from dsl_teach.prototypes.selection import no_prototypes
from dsl_teach.seeds import stream
from dsl_teach.storage import read_checked, write_atomically
from dsl_teach.training.checkpoint import load_checkpoint
from dsl_teach.training.evaluation import logits
from dsl_teach.training.networks import EmbeddingNetwork, build_network, prepare
from dsl_teach.training.records import Callback, Correction
from dsl_teach.training.runs import first_backbone, run

SIDES = ("given_label", "corrected_label")


def settings_for(output: Path) -> Settings:
    """The preset ``untouched_features`` on the folder that ``correct`` looked at, whose scores serve."""
    root = read_json(output / "run.json")["folder"]
    return Settings(preset="untouched_features", dataset="image_folder", data_root=root, correct_from="network")


def fine_tune(output: Path, settings: Settings, *, callbacks: Sequence[Callback] = (), **how: Any) -> str:
    """Train on the labels in the output of ``correct``, into ``output/network``, or continue there.

    ``corrected_label`` takes the place of the paper's corrected label. A fifth of each class is held out to test on.
    ``how`` is what :func:`dsl_teach.training.runs.run` takes.

    Returns:
        What came of it, in a sentence.

    Raises:
        ValueError: if every class has a single image, or the network there was begun with other corrected labels.
    """
    root, folder = Path(settings.data_root), output / "network"
    rows = dict(sorted(read_by_file(output / "labels.csv", *SIDES).items()))
    names = sorted({row[side] for row in rows.values() for side in SIDES})
    number = {name: c for c, name in enumerate(names)}
    given, corrected = (torch.tensor([number[row[side]] for row in rows.values()]) for side in SIDES)
    is_test = held_out(given, stream(settings.seed, "held out")) & (torch.bincount(given)[given] > 1)
    require(bool(is_test.any()), f"{root} has one image a class, so that none can be held out to test on.")
    files, train = ImageFiles(root, tuple(rows)), ~is_test
    data = NoisyDataset(root.name, files[train], given[train], tuple(names), files[is_test], given[is_test])

    def as_corrected(
        network: EmbeddingNetwork, batches: Batches, _: Settings, epoch: int, *, before: Correction | None, **__: Any
    ) -> Correction:
        labels = corrected[train].to(batches.noisy_labels.device) if before is None else before.labels
        report = correction_report(batches.noisy_labels, labels, None, num_classes=len(names))
        return Correction(labels, no_prototypes(network.head.weight, len(names), 1), report, 0.0, epoch)

    found = run(settings, data, folder=folder, correct=as_corrected, callbacks=callbacks, **how).result
    same = found.correction is not None and torch.equal(found.correction.labels.cpu(), corrected[train])
    require(same, f"{folder} is trained on other labels than those in {output}/labels.csv now: remove it.")
    right = found.history[-1].test_accuracy
    return f"{folder}: of {int(is_test.sum())} images held out, {right:.1%} get their given label."


def predict_folder(trained: Path, folder: Path, output: Path, *, device: torch.device | str = "cpu", **how: Any) -> str:
    """Write the likeliest class of every image below a folder, and its probability, in the order of the paths.

    ``how`` is what :func:`dsl_teach.data.batches.make_batches` takes. Returns, in a sentence or two, what was done and
    what could not be read.

    Raises:
        ValueError: if the run was not trained on image files, or has no whole checkpoint, or there is no image.
    """
    settings = Settings.from_yaml(trained / "settings.yaml")
    require(settings.dataset in ON_DISK[2:], f"{trained} was trained on {settings.dataset}, not on image files.")
    class_names = json.loads(read_checked(trained / "data.json"))["class_names"]
    paths = (x.relative_to(folder).as_posix() for x in sorted(folder.rglob("*")) if x.suffix.lower() in SUFFIXES)
    files = ImageFiles(folder, tuple(paths))
    looks = look_at_all(files)
    broken = {path: why for path, (why, _) in looks.items() if why}
    files = files[torch.tensor([path not in broken for path in looks], dtype=torch.bool)]
    require(len(files) > 0, f"{folder} holds no image that can be read. Name the folder that holds them.")
    network = trained_network(trained, settings, len(class_names)).to(device)
    images: Images = files
    if blocks := settings.frozen_blocks:  # the trained part sees their maps
        images = frozen_maps(images, first_backbone(settings), blocks, settings.network, device=device)
    none = torch.zeros(len(files), dtype=torch.int64)
    batches = make_batches(images, none, batch_size=settings.batch_size, device=device, **how)
    probability, label = logits(prepare(network, settings), batches).softmax(dim=1).max(dim=1)
    predicted, sure = (class_names[c] for c in label.tolist()), (f"{p:.4f}" for p in probability.tolist())
    rows = zip(files.paths, predicted, sure, strict=True)
    write_atomically(output, csv_text(("file_name", "predicted_label", "probability"), rows))
    first = next((f" {len(broken)} cannot be read, the first is {x}: {why}." for x, why in broken.items()), "")
    return f"{output}: {len(files)} images.{first}"


def trained_network(trained: Path, settings: Settings, num_classes: int) -> EmbeddingNetwork:
    """The network of the newest checkpoint; where the run averages its weights, the averaged one."""
    checkpoints = sorted((trained / "checkpoints").glob("*.pt"))
    require(bool(checkpoints), f"{trained} has no checkpoint yet. Train it first.")
    saved = load_checkpoint(read_checked(checkpoints[-1]))
    weights = {key.removeprefix("module."): value for key, value in saved.get("averaged", saved["network"]).items()}
    shape: dict[str, Any] = {"images": (), "num_classes": num_classes, "width": settings.width}
    shape |= {"frozen_blocks": settings.frozen_blocks, "generator": torch.Generator()}
    network = build_network(settings.network, **shape)
    network.load_state_dict({key: weights[key] for key in network.state_dict()})
    return network
