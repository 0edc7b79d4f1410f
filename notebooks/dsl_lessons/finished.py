"""Rows about finished runs: read from their folders, or taken from a run at hand, the same columns both ways."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.metrics import accuracy
from dsl_teach.training.loop import frozen
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.runs import Run, make_batches

KNOBS = ("p", "m", "alpha", "correction_start")


def row_of(finished: Run, *, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The figures of a finished run, shares from 0 to 1; None where nobody can know.

    Args:
        finished: the run.
        device: where to look at the test images once more, for the share of each class that is found.
    """
    data, history, correction = finished.data, finished.result.history, finished.result.correction
    clean = data.clean_labels if data.verified is None else None  # verified: known only where the label was right
    return {
        "made_from": data.made_from,
        "test_accuracy": history[-1].test_accuracy,
        "label_accuracy": correction.report.label_accuracy if correction and clean is not None else None,
        "noisy_accuracy": accuracy(data.noisy_labels, clean) if clean is not None else None,
        "memorised": history[-1].memorised,
        "changed": correction.report.changed if correction else None,
        "seconds": round(sum(record.seconds_training + record.seconds_correction for record in history), 2),
        "class_recall": class_recall(finished, device=device),
        "test_curve": [round(record.test_accuracy, 4) for record in history],
        "label_curve": [record.label_accuracy and round(record.label_accuracy, 4) for record in history],
    }  # fmt: skip


def class_recall(finished: Run, *, device: torch.device | str = "cpu") -> list[float]:
    """For each class, the share of its test samples that the network gives the right label."""
    _, test = make_batches(finished.data, finished.settings, device)
    right = predict(finished.network, test) == test.noisy_labels
    classes = range(finished.data.num_classes)
    return [round(float(right[test.noisy_labels == c].double().mean()), 4) for c in classes]


def predict(network: EmbeddingNetwork, batches: Batches) -> torch.Tensor:
    """(N,) int64, the class that the network gives each sample, in the order of the index."""
    predicted = torch.full_like(batches.noisy_labels, -1)
    with frozen(network):
        for images, _, index in batches.in_order():
            predicted[index] = network(images)[0].argmax(dim=1)
    return predicted


def read_rows(folder: str | Path) -> pd.DataFrame:
    """One row for each finished run in a folder of run folders: its knobs, its figures, its curve.

    Args:
        folder: as given to :func:`dsl_teach.training.runs.run_folder`; runs that are not finished are left out.

    Returns:
        A frame with ``method`` (cross-entropy where alpha is 0, else SMP), ``seed``, the four knobs, ``made_from``,
        figures as shares from 0 to 1, and ``folder``.
    """
    rows = [_read_row(path.parent) for path in sorted(Path(folder).glob("*/result.json"))]
    return pd.DataFrame(rows)


def _read_row(folder: Path) -> dict[str, Any]:
    settings = Settings.from_yaml(folder / "settings.yaml")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    return {
        "method": "SMP" if settings.alpha else "cross-entropy",
        "seed": settings.seed,
        **{name: getattr(settings, name) for name in (*KNOBS, "soft_temperature")},
        "made_from": result["made_from"],
        **{name: result.get(name) for name in ("test_accuracy", "memorised", "changed")},
        "label_accuracy": None if settings.dataset == "food101n" else result.get("label_accuracy"),
        "seconds": round(sum(line["seconds_training"] + line["seconds_correction"] for line in history), 2),
        "test_curve": [round(line["test_accuracy"], 4) for line in history],
        "folder": folder.name,
    }


def peak_memory_mb(*, of_children: bool = False) -> float:
    """The most memory that this process, or the largest it has started and seen end, has held so far, in MB."""
    whose = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(whose).ru_maxrss * unit / 1e6, 1)
