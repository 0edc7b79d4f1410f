"""How right must corrected labels be? Trained on labels of a chosen rightness, and what the module itself knows.

    python -m benchmarks.rightness notebooks/configs/sweeps/memorised_cifar10.yaml "idn_40, augmented, 15 epochs" \\
        data_root=data labels_file=LABELS.npz --random 0.5 0.7 0.9 --own 0.6 0.75 0.9

For every seed of a sweep's case: SMP; then the same training with labels in place of its own, of which a given share is
right: errors at random, or SMP's last labels with errors fixed at random. Without levels: SMP alone. A row says how
right labels and network are, and the module: the labels that its prototypes give to the test images. Rows that are
there already are kept: ``benchmarks/results/rightness.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import made_on
from dsl_teach import Settings, class_scores
from dsl_teach.cli import changes
from dsl_teach.data import load_dataset
from dsl_teach.data.batches import Batches
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.metrics import accuracy, correction_report
from dsl_teach.prototypes.selection import no_prototypes
from dsl_teach.seeds import stream
from dsl_teach.sweep import read_sweep
from dsl_teach.training.evaluation import embed
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Correction
from dsl_teach.training.runs import Run, make_batches, run

ROWS = Path(__file__).parent / "results" / "rightness.jsonl"


def wrong_at_random(clean: Tensor, share: float, num_classes: int, generator: torch.Generator) -> Tensor:
    """Labels of which this share is right, the others drawn evenly among the other classes."""
    labels, order = clean.clone(), torch.randperm(len(clean), generator=generator)
    wrong = order[round(share * len(clean)) :]
    labels[wrong] = (clean[wrong] + torch.randint(1, num_classes, wrong.shape, generator=generator)) % num_classes
    return labels


def some_fixed(labels: Tensor, clean: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The labels with so many of their errors fixed, drawn at random, that this share is right."""
    wrong = (labels != clean).nonzero().flatten()
    few = round(share * len(clean)) - (len(clean) - len(wrong))
    if few < 0:
        raise ValueError(f"{1 - len(wrong) / len(clean):.0%} of the labels are right already, more than {share:.0%}.")
    chosen, labels = wrong[torch.randperm(len(wrong), generator=generator)[:few]], labels.clone()
    labels[chosen] = clean[chosen]
    return labels


def standing(labels: Tensor) -> Callable[..., Correction]:
    """A source of labels that gives the same ones every epoch."""

    def correct(network: EmbeddingNetwork, train: Batches, settings: Settings, epoch: int, **known: Any) -> Correction:
        k, clean = network.num_classes, known["clean_labels"]
        nothing = no_prototypes(torch.zeros(1, 1), k, settings.p)
        report = correction_report(train.noisy_labels, labels, clean, num_classes=k)
        return Correction(labels, nothing, report, 0.0, epoch)

    return correct


def figures(finished: Run) -> dict[str, float]:
    """What a row says."""
    correction, data = finished.result.correction, finished.data
    assert correction is not None
    row = {"test_accuracy": finished.result.history[-1].test_accuracy, "given_right": share_right(data)}
    row["labels_right"] = float(correction.report.label_accuracy or 0.0)
    if correction.prototypes.count.any():
        _, test = make_batches(data, finished.settings, "cpu")
        said = class_scores(embed(finished.network, test), correction.prototypes).argmax(dim=1)
        row["module_on_test"] = accuracy(said, data.test_labels)
    return row


def share_right(data: NoisyDataset) -> float:
    """Of the given labels."""
    assert data.clean_labels is not None
    return accuracy(data.noisy_labels, data.clean_labels)


def main() -> None:
    """Rows of one case of a YAML file, each as soon as it is there."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    reader.add_argument("sweep", type=Path)
    reader.add_argument("case")
    reader.add_argument("changes", nargs="*", help="settings over those of its base, NAME=VALUE")
    reader.add_argument("--random", nargs="*", type=float, default=[])
    reader.add_argument("--own", nargs="*", type=float, default=[])
    said = reader.parse_intermixed_args()
    sweep = read_sweep(said.sweep).changed(changes(said.changes, "a change"))
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    done = {(row["case"], row["method"], row["seed"]) for row in rows}
    levels = [("random", level) for level in said.random] + [("own", level) for level in said.own]
    names = ["SMP", *(f"{errors} errors, {level:.0%} right" for errors, level in levels)]
    for seed in sweep.seeds:
        if {(said.case, name, seed) for name in names} <= done:
            continue
        settings = Settings(**(sweep.base | sweep.cases[said.case] | {"seed": seed}))
        data = load_dataset(settings)
        clean, smp = data.clean_labels, run(settings, data)
        assert clean is not None
        assert smp.result.correction is not None
        for name, (errors, level) in zip(names, [("", 0.0), *levels], strict=True):
            if (said.case, name, seed) in done:
                continue
            generator = stream(seed, "rightness", round(100 * level))
            finished = smp
            if errors:
                labels = (
                    wrong_at_random(clean, level, data.num_classes, generator)
                    if errors == "random"
                    else some_fixed(smp.result.correction.labels, clean, level, generator)
                )
                finished = run(settings, data, correct=standing(labels))
            row = {"case": said.case, "method": name, "seed": seed} | figures(finished) | {"made_on": made_on()}
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
