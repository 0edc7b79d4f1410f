"""The prototype explorer beside the library: random data sets and values, computed in a browser and here."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from dsl_lessons.explorers.page import HERE, PointSet, packed
from playwright.sync_api import Browser, Page

from dsl_teach.prototypes import best_class, class_scores, cosine_similarity, density, eta, similarity_threshold
from dsl_teach.prototypes.selection import choose, no_prototypes

DIGITS = 12
"""Decimals that similarities and scores are rounded to on both sides, so that equal cosines are equal numbers."""
Values = dict[str, Any]


def random_set(draw: torch.Generator) -> PointSet:
    """A data set of up to 400 samples a class and up to 64 features; some with copies, zeros, whole numbers."""
    k, d = _between(2, 10, draw), _between(2, 64, draw)
    n = k * (400 if _between(0, 19, draw) == 0 else _between(5, 80, draw))
    clean = torch.randint(k, (n,), generator=draw)
    rows = torch.randn(k, d, generator=draw)[clean] + torch.rand(1, generator=draw) * 2 * torch.randn(
        n, d, generator=draw
    )
    kind = _between(0, 4, draw)
    if kind == 0:
        rows = rows.round()  # many equal cosines, some zero rows
    elif kind == 1:
        rows = rows[torch.randint(n // 3 + 1, (n,), generator=draw)]  # copies
    elif kind == 2:
        rows = rows.relu()
    noisy = {0.0: clean, 0.4: torch.where(torch.rand(n, generator=draw) < 0.4, (clean + 1) % k, clean)}
    names, order = tuple(map(str, range(k))), torch.randperm(n, generator=draw)
    return PointSet("random", "random", rows, rows[:, :2], clean, noisy, names, order, "")


def random_values(draw: torch.Generator) -> Values:
    return {
        "p": _between(1, 16, draw), "m": 10 * _between(2, 40, draw), "quantile": _between(1, 20, draw) / 20,
        "eta_max": _between(0, 100, draw) / 100, "noise_rate": _between(0, 1, draw) * 0.4,
    }  # fmt: skip


def _between(low: int, high: int, draw: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=draw))


def by_the_library(points: PointSet, v: Values) -> dict[str, Any]:
    """Rows drawn, rho, eta and prototypes of each class; scores and corrected labels of all samples."""
    k, x, labels = len(points.class_names), points.embeddings.double(), points.noisy_labels[v["noise_rate"]]
    drawn, classes, found = points.rows(v["noise_rate"], v["m"]), [], no_prototypes(x, k, v["p"])
    for c in range(k):
        rows = drawn[labels[drawn] == c]
        if not len(rows):
            classes.append({"rows": [], "rho": [], "eta": [], "chosen": []})
            continue
        S = cosine_similarity(x[rows]).round(decimals=DIGITS)
        rho = density(S, similarity_threshold(S, v["quantile"]))
        eta_ = eta(S, rho)
        chosen = choose(rho, eta_, p=v["p"], eta_max=v["eta_max"], fill_up=True, cut_ties="eta")
        found.embeddings[c, : len(chosen)], found.count[c] = x[rows[chosen]], len(chosen)
        lists = {"rows": rows, "rho": rho, "eta": eta_, "chosen": chosen}
        classes.append({name: values.tolist() for name, values in lists.items()})
    scores = class_scores(x, found)
    return {
        "classes": classes,
        "scores": scores,
        "corrected": best_class(scores.round(decimals=DIGITS), labels).tolist(),
    }


def by_the_browser(page: Page, points: PointSet, v: Values) -> dict[str, Any]:
    """The same from ``explorer.mjs``."""
    got: dict[str, Any] = page.evaluate("([set, values]) => compute(set, values)", [json.dumps(packed(points)), v])
    scores = torch.tensor([[float(x) for x in row] for row in got["scores"]], dtype=torch.float64)
    return got | {"scores": scores}


@contextmanager
def module_page(started: Browser) -> Iterator[Page]:
    """An empty page with the module in it, and ``compute``, which gives lists after other values of the sliders."""
    more = """
    Object.assign(globalThis, { mount, nearest: nearestRun });
    globalThis.compute = (set, values) => {
      const loaded = load(JSON.parse(set));
      const moves = [{ m: 400 }, { m: 30, noise_rate: 0 }, { noise_rate: 0.4 }, {}];
      const move = (view, moved) => correct(loaded, { ...values, ...moved }, view);
      const { classes, scores, corrected } = moves.reduce(move, undefined);
      const plain = ({ rows, rho, eta, chosen }) => ({ rows, rho: [...rho], eta: [...eta], chosen });
      const row = (i) => [...scores.subarray(i * loaded.k, (i + 1) * loaded.k)].map(String);
      const rows = Array.from({ length: loaded.n }, (_, i) => row(i));
      return { classes: classes.map(plain), scores: rows, corrected: [...corrected] };
    };"""
    with closing(started.new_page()) as page:
        page.add_script_tag(content=(HERE / "explorer.mjs").read_text() + more, type="module")
        page.wait_for_function("() => globalThis.compute")
        yield page


@contextmanager
def file_page(started: Browser, path: Path, *, width: int, height: int = 844) -> Iterator[Page]:
    """The page, opened from its file without a network; in the end no error, and nothing else asked for."""
    view, errors, asked = {"width": width, "height": height}, [], []
    with closing(started.new_page(viewport=view, has_touch=True, offline=True)) as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("canvas.dsl-canvas")
        yield page
        assert (errors, asked) == ([], [path.as_uri()])


def difference(page: Page, points: PointSet, values: Values) -> tuple[bool, float]:
    """Whether all indices, densities and labels are the same; and how far etas and class scores are apart at most."""
    here, there = by_the_library(points, values), by_the_browser(page, points, values)
    same, apart = here["corrected"] == there["corrected"], _apart(here["scores"], there["scores"])
    for ours, theirs in zip(here["classes"], there["classes"], strict=True):
        same &= all(ours[name] == theirs[name] for name in ("rows", "rho", "chosen"))
        apart = max(apart, _apart(*(torch.tensor(side["eta"], dtype=torch.float64) for side in (ours, theirs))))
    return same, apart


def _apart(a: torch.Tensor, b: torch.Tensor) -> float:
    different = torch.where(a == b, 0.0, (a - b).abs())  # minus infinity on both sides is the same
    return float(different.max()) if len(different) else 0.0
