"""The linear head on untouched features alone, as the classifier of the test images: the opponent of a preset.

    python -m benchmarks.head_alone notebooks/configs/sweeps/preset_clothes.yaml data_root=data/clothing-dataset-small

For every case and seed of a sweep: features of its network before any training, ridge regression on the given labels,
the penalty by its leave-one-out error; rows in ``benchmarks/results/head_alone.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.measure import made_on
from dsl_teach import Settings
from dsl_teach.cli import changes
from dsl_teach.data import load_dataset
from dsl_teach.data.backbones import features_of
from dsl_teach.metrics import accuracy
from dsl_teach.prototypes.variants import ridge_head
from dsl_teach.storage import write_atomically
from dsl_teach.sweep import read_sweep
from dsl_teach.training.runs import first_backbone

ROWS = Path(__file__).parent / "results" / "head_alone.jsonl"


def row(settings: Settings) -> dict[str, float]:
    """Test accuracy of the head, and how right its leave-one-out labels are."""
    data, start = load_dataset(settings), time.perf_counter()
    train, test = features_of(data, first_backbone(settings), settings.network)
    head = ridge_head(train, data.noisy_labels, num_classes=data.num_classes)
    assert data.clean_labels is not None
    return {
        "test_accuracy": accuracy(head.scores(test).argmax(dim=1), data.test_labels),
        "label_accuracy": accuracy(head.left_out.argmax(dim=1), data.clean_labels),
        "seconds": round(time.perf_counter() - start, 2),
    }


def main() -> None:
    """Rows of one YAML file, in place of those that it has already."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    reader.add_argument("sweep", type=Path)
    reader.add_argument("changes", nargs="*", help="settings over those of its base, NAME=VALUE")
    said = reader.parse_args()
    sweep = read_sweep(said.sweep).changed(changes(said.changes, "a change"))
    kept = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    rows = [one for one in kept if one["made_by"] != sweep.made_by]
    for case, own in sweep.cases.items():
        for seed in sweep.seeds:
            labels = {"made_by": sweep.made_by, "case": case, "method": "head alone", "seed": seed}
            rows.append(labels | row(Settings(**(sweep.base | own | {"seed": seed}))) | {"made_on": made_on()})
            print(rows[-1], flush=True)
    write_atomically(ROWS, "".join(json.dumps(one) + "\n" for one in rows))


if __name__ == "__main__":
    main()
