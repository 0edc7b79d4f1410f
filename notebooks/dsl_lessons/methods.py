"""The methods of the result tables by name: what each changes in the settings, and nothing else.

All train under the same ``fit``, on the same data, first weights and batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Changes = Mapping[str, Any]


def _frozen(methods: dict[str, dict[str, Any]]) -> Mapping[str, Changes]:
    return MappingProxyType({name: MappingProxyType(changes) for name, changes in methods.items()})


COMPARED = _frozen(
    {
        "cross-entropy": {"alpha": 0.0},
        "label smoothing": {"alpha": 0.0, "loss": "smoothed"},
        "forward correction": {"alpha": 0.0, "loss": "forward"},
        "GCE": {"alpha": 0.0, "loss": "gce"},
        "SCE": {"alpha": 0.0, "loss": "sce"},
        "ELR": {"alpha": 0.0, "loss": "elr"},
        "mixup": {"alpha": 0.0, "mixup": 1.0},
    }
)
"""Methods that SMP is compared with: the kinds that assume a noise model or a robust loss, and simple ones."""

OPTIONS = _frozen(
    {
        "soft labels": {"soft_temperature": 0.05},
        "margin": {"margin": 0.05},
        "centred": {"centred": True},
        "whitened": {"whitened": True},
        "every 5 epochs": {"correct_every": 5},
        "streamed": {"correction_mode": "streamed"},
        "agreeing only": {"agreeing_only": True},
        "prototype momentum": {"prototype_momentum": 0.8},
        "balanced sampling": {"balanced_sampling": True},
        "score momentum": {"score_momentum": 0.8},
        "averaged weights": {"averaged_weights": 0.99},
    }
)
"""SMP with one thing beyond the paper switched on."""

CHOICES = _frozen(
    {
        "random prototypes": {"correct_by": "random"},
        "class means": {"correct_by": "class_means"},
        "neighbours": {"correct_by": "neighbours"},
        "head": {"correct_by": "head"},
    }
)
"""SMP with something else in the place of density peaks."""

CAREFUL: Changes = MappingProxyType(
    {
        "mixup": 1.0,
        "averaged_weights": 0.99,
        "whitened": True,
        "agreeing_only": True,
        "score_momentum": 0.8,
        "margin": 0.1,
    }
)
"""Our preset, "careful SMP". Each part has its reason:

- ``mixup``: wrong labels are hard to learn by heart from mixed images, so embeddings stay those of the images' content;
- ``averaged_weights``: the network that embeds moves slowly, and so do the labels it gives;
- ``whitened``: what varies inside a class counts less in a cosine;
- ``agreeing_only``: a wrongly labelled sample seldom agrees twice, so it seldom becomes a prototype;
- ``score_momentum``: a label changes when several epochs say so;
- ``margin``: where the prototypes are hardly surer of another class, the given label is the better guess.
"""

BASELINE, SMP, PRESET = "cross-entropy", "SMP", "careful SMP"


def methods() -> dict[str, dict[str, Any]]:
    """Every method of the tables: its name and what it changes in the settings."""
    beyond = {f"{SMP}, {name}": dict(changes) for name, changes in {**OPTIONS, **CHOICES}.items()}
    plain = {"mixup, averaged weights": {"alpha": 0.0, "mixup": 1.0, "averaged_weights": 0.99}}
    return (
        {name: dict(changes) for name, changes in COMPARED.items()}
        | {SMP: {}}
        | beyond
        | plain
        | {PRESET: dict(CAREFUL)}
    )
