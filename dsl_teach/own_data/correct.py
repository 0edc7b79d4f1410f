"""From a folder to corrected labels: features, scores, a ranking, and the files that tell of them."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsl_teach.data.backbones import BUNDLED, PREFIX, backbone, frozen_maps
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.data.decode import UnreadableImage, decode_image
from dsl_teach.data.fingerprint import digest, fingerprint
from dsl_teach.data.folders import look_at_all
from dsl_teach.files import require_regular
from dsl_teach.metrics import chance_changed
from dsl_teach.own_data.apply import csv_text
from dsl_teach.own_data.folder import FORMULA, Folder, looked_at, read_folder
from dsl_teach.own_data.report import write_report
from dsl_teach.own_data.scores import Judgement, judge, label_scores, principal_axes, wrong_in_first
from dsl_teach.prototypes.correction import label_margin
from dsl_teach.storage import locked, write_atomically, write_whole
from dsl_teach.training.distributed import find_device
from dsl_teach.training.runs import environment

NETWORK = f"{PREFIX}tf_efficientnet_lite0"
PIECE = 2048
"""Images whose features are kept together: so many are computed again, at most, after an interruption."""
SURE, FEWEST = 0.95, 5
"""A label changes if another class is so probable; where a class has fewer images, nothing changes."""
SHOWN, MOST_CLASSES = 1000, 1000
"""Images that the report shows, and classes whose confusions it counts."""
COLUMNS = (
    "file_name", "given_label", "predicted_label", "is_label_issue", "label_quality", "margin", "corrected_label",
    "reason",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Corrected:
    """What was found, in the order of the folder's images: tensors are (N,)."""

    folder: Folder
    axes: Tensor
    """(N, D'), see :func:`dsl_teach.own_data.scores.principal_axes`."""
    found: Judgement
    margin: Tensor
    is_issue: Tensor
    order: Tensor
    """Rows, the most doubtful label first."""
    scored_by: str
    """Which scores these are, and why."""

    def rows(self, which: Tensor) -> Iterator[dict[str, Any]]:
        """What ``labels.csv`` says of these images, by column."""
        names, paths, label, found = self.folder.class_names, self.folder.files.paths, self.folder.labels, self.found
        size = torch.bincount(label)[label]
        parts = (label, found.predicted, self.is_issue, found.quality, self.margin, found.sureness, size)
        columns = (x.tolist() for x in (which, *(part[which] for part in parts)))
        for row, y, best, issue, quality, margin, sure, n in zip(*columns, strict=True):
            path, given, predicted = paths[row], names[y], names[best]
            reason = f"looks like {predicted} ({sure:.0%}), not {given} ({quality:.0%})"
            if n == 1:
                reason = "the only image of its class: nothing to compare it with"
            elif y == best:
                reason = "looks like its label"
            elif not issue:
                doubt = f"its class has only {n} images" if n < FEWEST else "not surely"
                reason += f", but {doubt}: look at it"
            if (other := self.folder.doubles.get(row)) is not None:
                reason += f"; the same bytes as {paths[other]}, which is labelled {names[int(label[other])]}"
            file_name, corrected = f"./{path}" if FORMULA.match(path) else path, predicted if issue else given
            values = (file_name, given, predicted, issue, quality, margin, corrected, reason)
            yield dict(zip(COLUMNS, values, strict=True))


def correct_folder(
    root: Path, output: Path, *, labels: Path | None = None, network: str = NETWORK, embeddings: Path | None = None
) -> str:
    """Rank the given labels of a folder, correct what is surely wrong, and write all that into ``output``.

    Interrupted, it continues with the features that are in the cache. The folder is only read.

    Returns:
        What was found, in a few sentences.
    """
    if output.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"output is {output}, which lies in {root}. Nothing is written there: name another folder.")
    start = time.perf_counter()
    with locked(output):
        listed = read_folder(root, labels)
        folder, rows = looked_at(listed)
        if embeddings is None:
            folder, features = _network_features(folder, network)
        else:
            features = _read_features(embeddings, len(listed.files))[rows]
        seconds = time.perf_counter() - start
        result = rank(folder, features)
        facts = _facts(result) | {
            "features": str(embeddings or network), "seconds for features": f"{seconds:.1f}",
            "seconds for scores": f"{time.perf_counter() - start - seconds:.1f}",
        }  # fmt: skip
        _write(result, features, output, facts)
        _report(result, output / "report.html", facts)
    return "\n".join(f"{name}: {value}" for name, value in facts.items()) + f"\nIn {output}: report.html, labels.csv"


def rank(folder: Folder, features: Tensor) -> Corrected:
    """Judge every given label in the space of the features, (N, D)."""
    k = len(folder.class_names)
    axes = principal_axes(features)
    scores, scored_by = label_scores(features, axes, folder.labels, num_classes=k)
    found, size = judge(scores, folder.labels), torch.bincount(folder.labels, minlength=k)[folder.labels]
    found.quality[size == 1] = 1.0
    sure = ((found.sureness >= SURE) | (found.wrong > 0.5)) & (size >= FEWEST) & (found.predicted != folder.labels)
    margin = label_margin(scores, folder.labels)
    return Corrected(folder, axes, found, margin, sure, found.quality.argsort(stable=True), scored_by)


def _network_features(folder: Folder, network: str) -> tuple[Folder, Tensor]:
    """(N, D) float16, the mean over the views, a piece at a time; what cannot be decoded is left out."""
    from tqdm import tqdm

    files, made, broken = folder.files, [], dict[int, str]()
    model = backbone(network, "bundled" if network.removeprefix(PREFIX) in BUNDLED else "imagenet")
    maps_of = partial(frozen_maps, model=model, frozen_blocks=10**6, name=network, device=find_device())
    for piece in tqdm(torch.arange(len(files)).split(PIECE), "features", disable=None, delay=2):
        try:
            maps = maps_of(files[piece])
        except UnreadableImage:
            reasons = [why for why, _ in look_at_all(files[piece], decode=True).values()]
            broken |= {int(row): why for row, why in zip(piece, reasons, strict=True) if why}
            piece = piece[[not why for why in reasons]]
            if not len(piece):
                continue
            maps = maps_of(files[piece])
        made.append(maps.flatten(2).float().mean(dim=1).half())
    if not made:
        raise ValueError(f"{files.root}: no image can be read; the first is {files.paths[0]}: {broken[0]}.")
    return folder.without(broken)[0], torch.cat(made)


def _read_features(path: Path, number: int) -> Tensor:
    features = np.load(require_regular(path), allow_pickle=False)
    if features.ndim != 2 or len(features) != number or features.dtype.kind != "f" or not np.isfinite(features).all():
        raise ValueError(
            f"embeddings: {path} must hold a finite row of numbers for each of the {number} images, in the order of "
            f"their sorted paths, but it holds {features.shape} of {features.dtype}."
        )
    return torch.from_numpy(features)


def _facts(result: Corrected) -> dict[str, str]:
    folder, first, changed = result.folder, min(100, len(result.order)), result.is_issue
    corrected, k = torch.where(changed, result.found.predicted, folder.labels), len(folder.class_names)
    shuffled, (expected, low, high) = chance_changed(folder.labels, corrected, k), wrong_in_first(result.found, first)
    return {
        "images": f"{len(folder.files)} in {k} classes, {len(folder.skipped)} files skipped",
        "scores": result.scored_by,
        "labels changed": f"{changed.sum()} ({changed.double().mean():.1%}); dealt out to the images at random, the "
        f"corrected labels would change {shuffled:.1%}",
        f"wrong in the first {first}": f"about {expected:.0f} ({low:.0f} to {high:.0f}), if mistakes were made at "
        "random; more, if people confused classes that look alike",
    }


def _write(result: Corrected, features: Tensor, output: Path, facts: dict[str, str]) -> None:
    folder, issues = result.folder, result.order[result.is_issue[result.order]]
    for name, which in (("labels.csv", result.order), ("changed.csv", issues)):
        write_atomically(output / name, csv_text(COLUMNS, (row.values() for row in result.rows(which))))
    write_atomically(output / "skipped.csv", csv_text(("file_name", "reason"), folder.skipped))
    write_whole(output / "embeddings.npy", lambda file: np.save(file, features[result.order].float().numpy()))
    none = folder.labels[:0]
    data = NoisyDataset(str(folder.files), folder.files, folder.labels, folder.class_names, folder.files[none], none)
    run: dict[str, Any] = {
        "folder": str(folder.files.root.resolve()), "facts": facts,
        "wrong_in_first": dict(zip(("expected", "low", "high"), wrong_in_first(result.found), strict=True)),
        "share_of_mistakes_at_random": result.found.mistakes, "sure": SURE, "fewest": FEWEST,
        "fingerprint": digest(fingerprint(data)), "versions": environment(output),
    }  # fmt: skip
    write_atomically(output / "run.json", json.dumps(run, indent=1, ensure_ascii=False))


def _report(result: Corrected, path: Path, facts: dict[str, str]) -> None:
    from tqdm import tqdm

    labels, names, paths = result.folder.labels.tolist(), result.folder.class_names, result.folder.files.paths
    shown, rest, near, k = result.order[:SHOWN], result.order[SHOWN:], _nearest(result), len(names)
    sides = dict.fromkeys(chain(*near.values()), 112) | dict.fromkeys(near, 160)
    with ThreadPool(4) as pool:
        made = pool.imap(partial(_thumbnail, result.folder.files), sides.items())
        pictures = dict(zip(sides, tqdm(made, "thumbnails", len(sides), disable=None, delay=2), strict=True))
    doubtful = [
        said | {"image": pictures[row], "nearest": [(paths[x], names[labels[x]], pictures[x]) for x in near[row]]}
        for row, said in zip(near, result.rows(shown), strict=True)
    ]
    others = rest[(result.found.predicted != result.folder.labels)[rest]]
    few, pairs = k <= MOST_CLASSES, result.folder.labels * k + result.found.predicted
    counts = torch.bincount(pairs, minlength=k * k).view(k, k).tolist() if few else []
    how: dict[str, Any] = {"counts": counts, "class_names": names if few else (), "facts": facts}
    write_report(path, doubtful, list(result.rows(others)), **how)


def _nearest(result: Corrected) -> dict[int, list[int]]:
    """For each row that is shown, the two nearest images of the predicted class, and the nearest of the given one."""
    labels, predicted, unit = result.folder.labels, result.found.predicted, normalize(result.axes)
    order, sizes = labels.argsort(stable=True), torch.bincount(labels, minlength=len(result.folder.class_names))
    members, by_class = order.split(sizes.tolist()), unit[order].split(sizes.tolist())

    def nearest(row: int, c: int, most: int) -> list[int]:
        cosines = (by_class[c] @ unit[row]).masked_fill(members[c] == row, -2)
        found = members[c][cosines.topk(min(most, len(cosines))).indices]
        return found[found != row].tolist()

    sides = (
        (row, nearest(row, int(predicted[row]), 2), nearest(row, int(labels[row]), 1))
        for row in result.order[:SHOWN].tolist()
    )
    return {row: list(dict.fromkeys(ours + theirs)) for row, ours, theirs in sides}


def _thumbnail(files: ImageFiles, want: tuple[int, int]) -> bytes:
    """A JPEG of a row's image, so many pixels wide or high; empty if it cannot be read any more."""
    from PIL import Image

    row, side = want
    made = io.BytesIO()
    with suppress(UnreadableImage):
        image = Image.fromarray(decode_image(files.root / files.paths[row], within=files.root).permute(1, 2, 0).numpy())
        image.thumbnail((side, side))
        image.save(made, "JPEG", quality=60)
    return made.getvalue()
