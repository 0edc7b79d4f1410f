"""The methods of the result tables by name. All train under the same ``fit``, on the same data and first weights.

What each changes in the settings stands in ``configs/sweeps/digits_methods.yaml``, and nowhere else.
"""

from __future__ import annotations

from typing import Any

import yaml

from dsl_lessons.paths import SWEEPS

BASELINE, SMP = "cross-entropy", "SMP"


def methods() -> dict[str, dict[str, Any]]:
    """Every method of the tables: its name and what it changes in the settings."""
    content = yaml.safe_load((SWEEPS / "digits_methods.yaml").read_text(encoding="utf-8"))
    return dict(content["methods"])


def compared() -> list[str]:
    """The methods that SMP is compared with: cross-entropy, losses that resist wrong labels, mixup."""
    names = list(methods())
    return names[: names.index(SMP)]


def correctors() -> list[str]:
    """SMP with labels that come from something else than density peaks."""
    return [name for name, changes in methods().items() if "correct_by" in changes]
