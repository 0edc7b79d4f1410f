"""The prototype explorer: what Python hands over to ``explorer.mjs``, in a notebook or in a page of its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from dsl_lessons.explorers.frame import colour_of, picture, reach
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.prototypes import Prototypes, correct_labels, select_prototypes
from dsl_teach.seeds import stream
from dsl_teach.storage import write_atomically

HERE = Path(__file__).parent
START = {"set": 0, "p": 8, "m": 200, "quantile": 0.6, "eta_max": 0.95, "noise_rate": 0.4, "alpha": 0.5}
FEATURES, PER_CLASS = 64, 400
"""The most features of an embedding, and the most samples of a class, that a browser is given."""


@dataclass(frozen=True)
class PointSet:
    """Samples to choose prototypes among: N of them, D features, K classes."""

    name: str
    told: str
    """What the samples are, for those who cannot see the picture."""
    embeddings: Tensor
    """(N, D) float32, D at most 64."""
    places: Tensor
    """(N, 2) float32, where each sample is drawn; the embeddings themselves if they lie in the plane."""
    clean_labels: Tensor
    noisy_labels: Mapping[float, Tensor]
    """Share of wrong labels -> (N,) int64."""
    class_names: tuple[str, ...]
    order: Tensor
    """(N,) int64, each row once: of a class the first m in this order are drawn, whatever the noise."""
    command: str
    """Of a batch run; ``{p}`` and the like stand for values."""
    images: Tensor | None = None
    """(N, C, H, W) uint8, small and square, with one channel or three."""

    def rows(self, noise_rate: float, m: int) -> Tensor:
        """The rows that are drawn, at most m of each noisy label, in ascending order."""
        in_order = self.noisy_labels[noise_rate][self.order]
        first = [self.order[in_order == c][:m] for c in range(len(self.class_names))]
        return torch.cat(first).sort().values


def chosen(points: PointSet, *, noise_rate: float, m: int, **settings: Any) -> tuple[Prototypes, Tensor]:
    """What the library makes of the rows that the explorer draws: prototypes, by place among them, and all labels."""
    rows, labels = points.rows(noise_rate, m), points.noisy_labels[noise_rate]
    found = select_prototypes(
        points.embeddings[rows].double(), labels[rows], num_classes=len(points.class_names), m=m, **settings
    )
    found.index[found.index >= 0] = rows[found.index[found.index >= 0]]
    return found, correct_labels(points.embeddings.double(), found, labels)


def point_set(
    data: NoisyDataset,
    embeddings: Tensor,
    noisy_labels: Mapping[float, Tensor],
    *,
    seed: int,
    command: str,
    name: str = "",
) -> PointSet:
    """Embeddings ready for a browser: at most 64 features, at most 400 samples of a class, a place in the plane each.

    Args:
        data: with clean labels; its images are shown where they are small.
        embeddings: (N, D) of the training images.
        noisy_labels: share of wrong labels -> labels for the training images.
        seed: of the order in which samples are drawn, and of the map.
        command: of a batch run, with ``{p}`` and the like for values.
        name: what the reader chooses it by; that of the data by default.

    Raises:
        ValueError: if the data have no clean labels.
    """
    if data.clean_labels is None:
        raise ValueError(f"{data.name} has no clean labels: nobody can say which labels are right.")
    kept = torch.cat([(data.clean_labels == c).nonzero().flatten()[:PER_CLASS] for c in range(data.num_classes)])
    kept = kept.sort().values
    rows = embeddings[kept].float()
    images = data.images[kept] if isinstance(data.images, Tensor) and data.images.shape[2:] < (33, 33) else None
    return PointSet(
        name or data.name, data.made_from, reduced(rows, FEATURES), rows if rows.shape[1] == 2 else neighbour_map(rows, seed),
        data.clean_labels[kept], {rate: labels[kept] for rate, labels in noisy_labels.items()}, data.class_names,
        torch.randperm(len(rows), generator=stream(seed, "sample")), command, images if images is not None and images.ndim == 4 else None,
    )  # fmt: skip


def reduced(embeddings: Tensor, features: int) -> Tensor:
    """The same cosines, nearly, from fewer features: rows scaled to length one, along their main directions."""
    if embeddings.shape[1] <= features:
        return embeddings
    rows = torch.nn.functional.normalize(embeddings.double(), dim=1)
    return (rows @ torch.linalg.svd(rows, full_matrices=False).Vh[:features].T).float()


def neighbour_map(embeddings: Tensor, seed: int) -> Tensor:
    """(N, 2), a map by t-SNE of cosines: neighbours stay neighbours; distances between heaps say nothing."""
    from sklearn.manifold import TSNE

    rows = torch.nn.functional.normalize(embeddings.double(), dim=1).numpy()
    return torch.from_numpy(TSNE(init="pca", random_state=seed).fit_transform(rows))


def packed(points: PointSet) -> dict[str, Any]:
    """What ``load`` in ``explorer.mjs`` takes: plain values, and arrays in base64."""
    n, d = points.embeddings.shape
    plane = torch.equal(points.embeddings, points.places)
    labels = {rate: _text(labels, "u1") for rate, labels in sorted(points.noisy_labels.items())}
    return {
        "name": points.name, "told": points.told, "n": n, "d": d, "plane": plane, "classes": list(points.class_names),
        "colours": [colour_of(c) for c in range(len(points.class_names))],
        "embeddings": _text(points.embeddings, "<f4"), "places": _text(points.places, "<f4"),
        "reach": reach(points), "clean": _text(points.clean_labels, "u1"),
        "rates": list(labels), "noisy": list(labels.values()), "order": _text(points.order, "<u4"),
        "command": points.command, "side": points.images.shape[-1] if points.images is not None else 0,
        "images": _text(points.images.permute(0, 2, 3, 1), "u1") if points.images is not None else None,
    }  # fmt: skip


def _text(values: Tensor, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values.numpy(), dtype=kind).tobytes()).decode()


class Explorer(anywidget.AnyWidget):
    """The explorer in a notebook. ``values`` are those of the sliders, in both directions."""

    _esm, _css = HERE / "explorer.mjs", HERE / "explorer.css"
    sets: traitlets.List[Any] = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True, echo_update=False)  # an echo would be one more message a move

    def __init__(self, *sets: PointSet, **values: Any):
        super().__init__(**handed_over(sets, values))
        self.first_frame = first_frame(sets[0], self.values)

    def __repr__(self) -> str:
        return f"Explorer({', '.join(f'{name}={value}' for name, value in self.values.items())})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Beside the widget a picture, which stays where a saved notebook is read without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return data | {"image/svg+xml": self.first_frame}, metadata


def explorer_page(path: str | Path, *sets: PointSet, **values: Any) -> Path:
    """Write the explorer as one file that opens in a browser without a server: module, style and data stand in it."""
    given = handed_over(sets, values)
    return write_page(path, given, first_frame(sets[0], given["values"]))


def write_page(path: str | Path, given: Mapping[str, Any], frame: str) -> Path:
    """A page for what ``explorer.mjs`` takes; ``frame`` is the picture that stands there until the script has run."""
    script, css = ((HERE / f"explorer.{kind}").read_text() for kind in ("mjs", "css"))
    css, data = PAGE_STYLE + css, json.dumps(given).replace("<", "\\u003c")
    page = PAGE.format(script=script, css=css, data=data, frame=frame, allowed=[_digest(script), _digest(css)])
    write_atomically(path, page)
    return Path(path)


def handed_over(sets: Sequence[PointSet], values: Mapping[str, Any]) -> dict[str, Any]:
    """What ``mount`` in ``explorer.mjs`` takes; of the shares of wrong labels the nearest that there is."""
    start: dict[str, Any] = {**START, **values}
    start["noise_rate"] = min(sets[0].noisy_labels, key=lambda rate: abs(rate - start["noise_rate"]))
    return {"sets": [packed(points) for points in sets], "values": start}


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


PAGE_STYLE = "html { color-scheme: light dark; background: light-dark(#ffffff, #15191e); } body { margin: 0 auto; max-width: 1212px; }\n"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'; \
script-src {allowed[0]}; style-src {allowed[1]}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Explorer</title>
<style>{css}</style>
</head>
<body>
<main id="explorer" class="dsl-explorer">
{frame}
</main>
<script type="application/json" id="dsl-explorer-data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def first_frame(points: PointSet, values: Mapping[str, Any]) -> str:
    """An SVG picture of the first values, for where no script runs."""
    return picture(points, values, *chosen_at(points, values))


def chosen_at(points: PointSet, values: Mapping[str, Any]) -> tuple[Prototypes, Tensor]:
    """What :func:`chosen` makes of the values of the sliders."""
    return chosen(points, **{name: values[name] for name in ("noise_rate", "p", "m", "quantile", "eta_max")})
