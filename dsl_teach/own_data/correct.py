"""From a folder to labels that are put right: features, scores, a ranking, and the files that tell of them."""

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
from dsl_teach.data.dataset import NoisyDataset, take
from dsl_teach.data.decode import UnreadableImage, decode_image, resize_short_side
from dsl_teach.data.fingerprint import digest, fingerprint
from dsl_teach.data.folders import look_at_all
from dsl_teach.files import require_regular
from dsl_teach.metrics import chance_changed
from dsl_teach.own_data.apply import csv_text
from dsl_teach.own_data.folder import FORMULA, Folder, looked_at, read_folder
from dsl_teach.own_data.report import SHOWN, TOLD, write_report
from dsl_teach.own_data.scores import Judgement, class_mean_scores, judge, principal_axes, wrong_in_first
from dsl_teach.prototypes.correction import label_margin
from dsl_teach.storage import locked, write_atomically, write_whole
from dsl_teach.training.hardware import best_device, environment

NETWORK = f"{PREFIX}tf_efficientnet_lite0"
PIECE = 2048
"""Images whose features are kept together: so many are computed again, at most, after an interruption."""
SURE, FEWEST = 0.95, 5
"""A label changes if another class is so probable; where a class has fewer images, nothing changes."""
NAMED, MOST_CLASSES = 20_000, 1000
"""Images that the report names beside those it shows, and classes whose confusions it counts."""
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

    def rows(self, which: Tensor) -> Iterator[dict[str, Any]]:
        """What ``labels.csv`` says of these images, by column."""
        names, label, found = self.folder.class_names, self.folder.labels, self.found
        size = torch.bincount(label)[label]
        parts = (which, *(x[which] for x in (label, found.predicted, self.is_issue, found.quality, self.margin)))
        sides = (found.sureness[which], size[which])
        for row, y, best, *told, sure, n in zip(*(x.tolist() for x in (*parts, *sides)), strict=True):
            path, given, predicted, issue = self.folder.files.paths[row], names[y], names[best], told[0]
            reason = f"looks like {predicted} ({sure:.0%}), not {given} ({told[1]:.0%})"
            if not issue:
                reason += ", but " + (f"its class has only {n} images" if n < FEWEST else "not surely") + ": look at it"
            if n == 1:
                reason = "the only image of its class: nothing to compare it with"
            elif y == best:
                reason = "looks like its label"
            if (other := self.folder.doubles.get(row)) is not None:
                twin = self.folder.files.paths[other]
                reason += f"; the same bytes as {twin}, which is labelled {names[int(label[other])]}"
            file_name = f"./{path}" if FORMULA.match(path) else path
            values = (file_name, given, predicted, *told, predicted if issue else given, reason)
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
    scores = class_mean_scores(axes, folder.labels, num_classes=k)
    found, size = judge(scores, folder.labels), torch.bincount(folder.labels, minlength=k)[folder.labels]
    found.quality[size == 1] = 1.0
    sure = ((found.sureness >= SURE) | (found.wrong > 0.5)) & (size >= FEWEST) & (found.predicted != folder.labels)
    margin = label_margin(scores, folder.labels)
    return Corrected(folder, axes, found, margin, sure, found.quality.argsort(stable=True))


def _network_features(folder: Folder, network: str) -> tuple[Folder, Tensor]:
    """(N, D) float16, the mean over the views, a piece at a time; what cannot be decoded is left out."""
    from tqdm import tqdm

    model = backbone(network, "bundled" if network.removeprefix(PREFIX) in BUNDLED else "imagenet")
    root, made, broken, device = folder.files.root, [], dict[int, str](), best_device()
    with tqdm(total=len(folder.files), desc="features", unit="images", disable=None) as bar:
        for piece in torch.arange(len(folder.files)).split(PIECE):
            try:
                maps = frozen_maps(take(folder.files, piece), model, 10**6, network, device=device)
            except UnreadableImage:
                looks = look_at_all([(f"{root}/{folder.files.paths[row]}", root) for row in piece], decode=True)
                broken |= {int(row): why for row, (why, _) in zip(piece, looks, strict=True) if why}
                piece = piece[[not why for why, _ in looks]]
                if not len(piece):
                    continue
                maps = frozen_maps(take(folder.files, piece), model, 10**6, network, device=device)
            made.append(maps.flatten(2).float().mean(dim=1).half())
            bar.update(len(piece))
    if not made:
        raise ValueError(f"{root}: no image can be read; the first is {folder.files.paths[0]}: {broken[0]}.")
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
    corrected = torch.where(changed, result.found.predicted, folder.labels)
    expected, low, high = wrong_in_first(result.found, first)
    chance = chance_changed(folder.labels, corrected, len(folder.class_names))
    return {
        "images": f"{len(folder.files)} in {len(folder.class_names)} classes, {len(folder.skipped)} files skipped",
        "labels changed": f"{int(changed.sum())} ({changed.double().mean():.1%}; by chance {chance:.1%})",
        f"wrong in the first {first}": f"about {expected:.0f} (95 %: {low:.0f} to {high:.0f}) if mistakes fall on any "
        "class alike; where people confused classes that look alike there are more: only a look tells",
    }


def _write(result: Corrected, features: Tensor, output: Path, facts: dict[str, str]) -> None:
    folder, issues = result.folder, result.order[result.is_issue[result.order]]
    for name, which in (("labels.csv", result.order), ("changed.csv", issues)):
        write_atomically(output / name, csv_text(COLUMNS, (row.values() for row in result.rows(which))))
    write_atomically(output / "skipped.csv", csv_text(("file_name", "reason"), folder.skipped))
    write_whole(output / "embeddings.npy", lambda file: np.save(file, features[result.order].float().numpy()))
    none = take(folder.files, torch.empty(0, dtype=torch.int64))
    data = NoisyDataset(str(folder.files), folder.files, folder.labels, folder.class_names, none, folder.labels[:0])
    run: dict[str, Any] = {
        "folder": str(folder.files.root.resolve()), "facts": facts,
        "wrong_in_first": dict(zip(("expected", "low", "high"), wrong_in_first(result.found), strict=True)),
        "share_of_mistakes_at_random": result.found.mistakes, "sure": SURE, "fewest": FEWEST,
        "fingerprint": digest(fingerprint(data)), "versions": environment(output),
    }  # fmt: skip
    write_atomically(output / "run.json", json.dumps(run, indent=1, ensure_ascii=False))


def _report(result: Corrected, path: Path, facts: dict[str, str]) -> None:
    from tqdm import tqdm

    folder, names, k = result.folder, result.folder.class_names, len(result.folder.class_names)
    shown, near, predicted = result.order[:SHOWN], _nearest(result), result.found.predicted
    wanted = [*((row, 128) for row in shown.tolist()), *((row, 96) for row in sorted({*chain(*near.values())}))]
    with ThreadPool(4) as pool:
        made = tqdm(pool.imap(partial(_thumbnail, folder), wanted), "thumbnails", len(wanted), disable=None, delay=2)
        pictures = dict(zip(wanted, made, strict=True))
    labels = folder.labels.tolist()
    doubtful = []
    for row, said in zip(shown.tolist(), result.rows(shown), strict=True):
        nearest = tuple((folder.files.paths[x], names[labels[x]], pictures[x, 96]) for x in near[row])
        doubtful.append(said | {"image": pictures[row, 128], "nearest": nearest})
    others = result.order[SHOWN:][(predicted != folder.labels)[result.order[SHOWN:]]][:NAMED]
    rest = [[said[name] for name in TOLD.values()] for said in result.rows(others)]
    few = k <= MOST_CLASSES
    counts = torch.bincount(folder.labels * k + predicted, minlength=k * k).view(k, k).tolist() if few else []
    write_report(path, doubtful, rest, counts=counts, class_names=names if few else (), facts=facts)


def _nearest(result: Corrected) -> dict[int, list[int]]:
    """For each row that is shown, the two nearest images of the predicted class, and the nearest of the given one."""
    unit, labels, near = normalize(result.axes), result.folder.labels, dict[int, list[int]]()
    shown = result.order[:SHOWN]
    for classes, most in ((result.found.predicted[shown], 2), (labels[shown], 1)):
        for c in classes.unique().tolist():
            members = (labels == c).nonzero().flatten()
            for rows in shown[classes == c].split(64):
                similarity = unit[rows] @ unit[members].T
                similarity.masked_fill_(rows[:, None] == members, -2.0)
                values, places = similarity.topk(min(most, len(members)), dim=1)
                for row, cosines, found in zip(rows.tolist(), values.tolist(), members[places].tolist(), strict=True):
                    mine = near.setdefault(row, [])
                    mine += [x for x, cosine in zip(found, cosines, strict=True) if cosine > -1.5 and x not in mine]
    return near


def _thumbnail(folder: Folder, want: tuple[int, int]) -> bytes:
    """A JPEG of the middle of a row's image, its short side of so many pixels; empty if it cannot be read any more."""
    from PIL import Image

    (row, side), root, made = want, folder.files.root, io.BytesIO()
    with suppress(UnreadableImage):
        image = cut_long(resize_short_side(decode_image(root / folder.files.paths[row], within=root), side))
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(made, "JPEG", quality=60)
    return made.getvalue()


def cut_long(image: Tensor) -> Tensor:
    """The middle of a (3, H, W) image that is more than twice as long as it is short."""
    most = 2 * min(image.shape[1:])
    top, left = (max(0, size - most) // 2 for size in image.shape[1:])
    return image[:, top : top + most, left : left + most]
