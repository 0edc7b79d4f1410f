"""A network trained on what ``correct`` found: ``corrected_label`` takes the place of the paper's corrected label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dsl_teach._validate import require
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.data.dataset import ImageFiles, NoisyDataset, take
from dsl_teach.data.folders import held_out, read_by_file
from dsl_teach.files import read_json
from dsl_teach.metrics import correction_report
from dsl_teach.prototypes.selection import no_prototypes
from dsl_teach.seeds import stream
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Callback, Correction
from dsl_teach.training.runs import run

SIDES = ("given_label", "corrected_label")


def settings_for(output: Path) -> Settings:
    """The preset ``untouched_features`` on the folder that ``correct`` looked at, whose scores serve."""
    root = read_json(output / "run.json")["folder"]
    return Settings(preset="untouched_features", dataset="image_folder", data_root=root, correct_from="network")


def fine_tune(output: Path, settings: Settings, *, callbacks: Sequence[Callback] = (), **how: Any) -> str:
    """Train on the labels in the output of ``correct``, into ``output/network``, or continue there.

    A fifth of each class is held out to test on. ``how`` is what :func:`dsl_teach.training.runs.run` takes.

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
    files, (train, test) = ImageFiles(root, tuple(rows)), (x.nonzero().flatten() for x in (~is_test, is_test))
    data = NoisyDataset(root.name, take(files, train), given[train], tuple(names), take(files, test), given[test])

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
    return f"{folder}: of {len(test)} images held out, {right:.1%} get their given label."
