"""The report: one page that holds everything, on which a person decides about the most doubtful labels."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Any

from dsl_teach.storage import write_atomically

LARGEST, NAMED = 25_000_000, 4_000_000
"""Bytes of the page at most, and of those that may go to images by name alone."""
TOLD = {"file": "file_name", "given": "given_label", "predicted": "predicted_label", "reason": "reason"}
"""Names on the page -> columns of ``labels.csv``."""


def write_report(
    path: Path, shown: Sequence[Mapping[str, Any]], rest: Sequence[Mapping[str, Any]], *,
    counts: list[list[int]], class_names: Sequence[str], facts: Mapping[str, str],
) -> None:  # fmt: skip
    """Write the page: doubtful images, and the rest by file name, given, predicted label and reason.

    Each is a row of ``labels.csv``; those shown have their picture too, ``image``, bytes of a JPEG file, and the
    ``nearest`` ones: file name, label and picture of each. ``counts``, (K, K), are images by given and proposed class.
    What would make the page larger than ``LARGEST`` stays out: first rows of the rest, then pictures, from the end. It
    loads nothing, and its policy forbids it to.
    """
    known = dict.fromkeys((*class_names, *(x[side] for x in shown for side in ("given_label", "predicted_label"))))
    data: dict[str, Any] = {
        "facts": list(facts.items()), "classes": list(known), "items": [_item(x) for x in shown],
        "counts": [(c, d, n) for c, row in enumerate(counts) for d, n in enumerate(row) if n],
        "rest": _first([[x[name] for name in TOLD.values()] for x in rest], NAMED),
    }  # fmt: skip
    data["unnamed"] = len(rest) - len(data["rest"])
    template = resources.files("dsl_teach.own_data").joinpath("report.html").read_text("utf-8")
    data["pictures"] = _first(_pictures(shown), LARGEST - len(_in_script(data)) - len(template.encode()) - 1000)
    data["digest"] = hashlib.sha256(json.dumps(data).encode()).hexdigest()[:32]
    write_atomically(path, template.replace("@POLICY@", _policy(template)).replace("@DATA@", _in_script(data)))


def _item(x: Mapping[str, Any]) -> dict[str, Any]:
    quality = x["label_quality"]
    figures = {"quality": "below 0.001" if quality < 0.001 else f"{quality:.2g}", "margin": f"{x['margin']:.2g}"}
    told = {key: x[name] for key, name in TOLD.items()}
    return told | figures | {"nearest": [(name, label) for name, label, _ in x["nearest"]]}


def _pictures(shown: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each file once, in base64; those to be judged come first."""
    found = {x["file_name"]: x["image"] for x in shown if x["image"]}
    for name, _, picture in (near for x in shown for near in x["nearest"]):
        found.setdefault(name, picture)
    return [(name, base64.b64encode(picture).decode()) for name, picture in found.items() if picture]


def _first(rows: Sequence[Any], room: int) -> Sequence[Any]:
    """As many as fit into so many bytes of the page."""
    return rows[: bisect_right(list(accumulate(len(_in_script(row)) + 2 for row in rows)), room)]


def _in_script(data: Any) -> str:
    """JSON in ASCII that no text in it can end: neither ``</script>`` nor ``<!--`` can stand there."""
    return json.dumps(data).replace("<", "\\u003c")


def _policy(template: str) -> str:
    """What the page may do: run its own script, use its own style, show the pictures it holds; nothing else."""
    own = re.findall(r"<(style|script)>(.*?)</\1>", template, re.DOTALL)
    digests = [(tag, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()) for tag, text in own]
    allowed = "; ".join(f"{tag}-src 'sha256-{digest}'" for tag, digest in digests)
    return f"default-src 'none'; img-src data:; {allowed}; base-uri 'none'; form-action 'none'"
