"""What the trained network of a run takes the images of a folder for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from dsl_teach._validate import require
from dsl_teach.config import ON_DISK, Settings
from dsl_teach.data.backbones import frozen_maps
from dsl_teach.data.batches import make_batches
from dsl_teach.data.dataset import ImageFiles, Images
from dsl_teach.data.folders import SUFFIXES, look
from dsl_teach.own_data.apply import csv_text
from dsl_teach.storage import read_checked, write_atomically
from dsl_teach.training.checkpoint import load_checkpoint
from dsl_teach.training.evaluation import logits
from dsl_teach.training.networks import EmbeddingNetwork, build_network, prepare
from dsl_teach.training.runs import first_backbone


def predict_folder(run: Path, folder: Path, output: Path, *, device: torch.device | str = "cpu", **how: Any) -> str:
    """Write the likeliest class of every image below a folder, and its probability, in the order of the paths.

    ``how`` is what :func:`dsl_teach.data.batches.make_batches` takes. Returns, in a sentence or two, what was done and
    what could not be read.

    Raises:
        ValueError: if the run was not trained on image files, or has no whole checkpoint, or there is no image.
    """
    settings = Settings.from_yaml(run / "settings.yaml")
    require(settings.dataset in ON_DISK[2:], f"{run} was trained on {settings.dataset}, not on image files.")
    class_names = json.loads(read_checked(run / "data.json"))["class_names"]
    found = sorted(x for x in folder.rglob("*") if x.suffix.lower() in SUFFIXES)
    broken = {x: why for x in found if (why := look((str(x), folder))[0])}
    paths = tuple(x.relative_to(folder).as_posix() for x in found if x not in broken)
    require(bool(paths), f"{folder} holds no image that can be read. Name the folder that holds them.")
    network = trained_network(run, settings, len(class_names)).to(device)
    images: Images = ImageFiles(folder, paths)
    if blocks := settings.frozen_blocks:  # the trained part sees their maps
        images = frozen_maps(images, first_backbone(settings), blocks, settings.network, device=device)
    none = torch.zeros(len(paths), dtype=torch.int64)
    batches = make_batches(images, none, batch_size=settings.batch_size, device=device, **how)
    probability, label = logits(prepare(network, settings), batches).softmax(dim=1).max(dim=1)
    rows = zip(paths, (class_names[c] for c in label.tolist()), (f"{p:.4f}" for p in probability.tolist()), strict=True)
    write_atomically(output, csv_text(("file_name", "predicted_label", "probability"), rows))
    first = next((f" {len(broken)} cannot be read, the first is {x}: {why}." for x, why in broken.items()), "")
    return f"{output}: {len(paths)} images.{first}"


def trained_network(run: Path, settings: Settings, num_classes: int) -> EmbeddingNetwork:
    """The network of the newest checkpoint; where the run averages its weights, the averaged one."""
    checkpoints = sorted((run / "checkpoints").glob("*.pt"))
    require(bool(checkpoints), f"{run} has no checkpoint yet. Train it first.")
    saved = load_checkpoint(read_checked(checkpoints[-1]))
    weights = {key.removeprefix("module."): value for key, value in saved.get("averaged", saved["network"]).items()}
    shape: dict[str, Any] = {"images": (), "num_classes": num_classes, "width": settings.width}
    shape |= {"frozen_blocks": settings.frozen_blocks, "generator": torch.Generator()}
    network = build_network(settings.network, **shape)
    network.load_state_dict({key: weights[key] for key in network.state_dict()})
    return network
