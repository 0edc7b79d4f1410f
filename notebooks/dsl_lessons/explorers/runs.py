"""Stored runs of a sweep behind the four sliders of the method; the browser finds the nearest and draws its curves."""

from __future__ import annotations

import html
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from dsl_lessons.explorers.page import HERE, write_page
from dsl_lessons.paths import SWEEPS
from dsl_lessons.tables import read_results, widened
from dsl_teach.config import KNOBS, Settings
from dsl_teach.metrics import interval
from dsl_teach.sweep import read_sweep

DEFAULTS = Settings()
KNOB_WORDS = dict(
    zip(KNOBS, ("prototypes a class", "samples a class", "weight of corrected labels", "epochs without"), strict=True)
)


class KnobsWidget(anywidget.AnyWidget):
    """What ``mountRuns`` in ``explorer.mjs`` takes; ``values`` are those of the sliders, in both directions."""

    _esm, _css = HERE / "explorer.mjs", HERE / "explorer.css"
    sliders: traitlets.List[Any] = traitlets.List().tag(sync=True)
    runs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True, echo_update=False)
    command = traitlets.Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.values.items())})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Beside the widget a picture of the stored runs, which stays where there is no kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if not bundle or not self.runs:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return data | {"image/svg+xml": runs_frame(self.runs, self.values)}, metadata


class RunsExplorer(KnobsWidget):
    """Each place of the sliders shows the stored run that lies nearest; a second picture has all runs to choose from.

    Args:
        rows: one a run, with the four knobs and ``test_curve``; or a YAML file, by default of ``configs/sweeps``,
            whose rows are committed. Runs that differ by their seed alone are shown by their mean.
        made_by: which file made the rows.
        command: of a batch run; ``{p}`` and the like stand for values.

    Raises:
        ValueError: if there is no row.
    """

    def __init__(self, rows: pd.DataFrame | str | Path, *, made_by: str = "", command: str = ""):
        if not isinstance(rows, pd.DataFrame):
            rows, made_by, command = committed_rows(rows)
        runs = stored_runs(rows, made_by)
        if not runs:
            raise ValueError("There is no finished run to show. Train one first, or name the folder of those you have.")
        best = best_of(runs)
        values = best["knobs"] | {"run": runs.index(best)}
        super().__init__(runs=runs, sliders=list_sliders(runs), values=values, command=command)


def runs_page(path: str | Path, rows: pd.DataFrame | str | Path, **about: str) -> Path:
    """Write stored runs as one file that opens in a browser without a server; arguments as of ``RunsExplorer``."""
    shown = RunsExplorer(rows, **about)
    given = {name: getattr(shown, name) for name in ("runs", "sliders", "values", "command")}
    return write_page(path, given, runs_frame(shown.runs, shown.values))


def committed_rows(path: str | Path) -> tuple[pd.DataFrame, str, str]:
    """The committed rows of a sweep's YAML file, its name in the repository, and the command of a single run."""
    sweep, rows = read_sweep(SWEEPS / path), read_results(Path(path).stem).rows
    of = [(sweep.cases.get(row["case"], {}), sweep.methods.get(row["method"], {})) for row in rows.to_dict("records")]
    known = [sweep.base | case | method for case, method in of]
    own = {name: [one.get(name, getattr(DEFAULTS, name)) for one in known] for name in KNOBS if name not in rows}
    settings = shlex.quote(json.dumps(sweep.base))
    changes = " ".join(f"--set {name}={{{name}}}" for name in KNOBS)
    return rows.assign(**own), sweep.made_by, f"echo {settings} > run.yaml && dsl-teach train run.yaml {changes}"


def stored_runs(rows: pd.DataFrame, made_by: str, test_share: float | None = None) -> list[dict[str, Any]]:
    """One for each case, method and choice of knobs: its curves, means over the seeds, and its figures in words."""
    names, found = [name for name in ("case", "method") if name in rows], []
    for key, group in rows.groupby([*KNOBS, *names]) if len(rows) else ():
        around = widened(interval([100 * share for share in group["test_accuracy"]]), test_share)
        labels = group["label_accuracy"].dropna() if "label_accuracy" in group else pd.Series(dtype=float)
        mean, seeds = (f"{around.mean:.1f}", "one seed") if around.n == 1 else (around, f"{around.n} seeds")
        told = [f"test accuracy {mean} % ({seeds})"]
        told += [f"corrected labels right {100 * labels.mean():.1f} %"] if len(labels) else []
        found.append({
            "knobs": {name: group[name].iloc[0].item() for name in KNOBS},
            "name": ", ".join(str(text) for text in key[len(KNOBS):] if text),
            "accuracy": around.mean / 100,
            "told": f"{', '.join(told)}; {made_by or group['made_from'].iloc[0]}.",
            "curves": {f"{name}_accuracy": _mean_curve(group[f"{name}_curve"]) for name in ("test", "label")
                       if f"{name}_curve" in group},
        })  # fmt: skip
    return found


def _mean_curve(column: pd.Series) -> list[float | None]:
    """The mean over runs, epoch by epoch; None where one of them has no figure."""
    known = [list(curve) for curve in column if isinstance(curve, Sequence)]
    shares = np.array([curve[: min(map(len, known))] for curve in known], dtype=float)
    return [None if np.isnan(mean) else float(mean) for mean in shares.mean(axis=0)] if len(known) else []


def best_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The stored run with the greatest test accuracy among those that correct labels."""
    return max([one for one in runs if one["knobs"]["alpha"]] or runs, key=lambda one: one["accuracy"])


def list_sliders(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A slider for each knob that differs among stored runs, over the values that there are."""
    known = {name: sorted({one["knobs"][name] for one in runs}) for name in KNOBS}
    return [{"name": name, "words": KNOB_WORDS[name], "values": all_} for name, all_ in known.items() if len(all_) > 1]


def nearest_run(runs: Sequence[dict[str, Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """The stored run that the browser shows for the values: the one chosen, or that whose knobs lie nearest."""
    if values.get("run", -1) >= 0:
        return runs[values["run"]]

    def place(name: str, value: float) -> float:
        return math.log(value) if name in ("p", "m") else value

    known = {name: [place(name, one["knobs"][name]) for one in runs] for name in KNOBS}
    widths = {name: max(places) - min(places) or 1 for name, places in known.items()}
    far = [
        sum(abs(known[name][at] - place(name, values[name])) / widths[name] for name in KNOBS)
        for at in range(len(runs))
    ]
    return runs[far.index(min(far))]


def runs_frame(runs: Sequence[dict[str, Any]], values: Mapping[str, Any]) -> str:
    """An SVG picture of the test curves of all stored runs, the nearest one in colour."""
    near, parts = nearest_run(runs, values), []
    epochs = max(len(one["curves"]["test_accuracy"]) for one in runs)
    step = 520 / max(epochs - 1, 1)
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = 235 - 210 * share
        parts.append(f'<path d="M60 {y}h520" stroke="#e4e4e4"/><text x="52" y="{y + 5}">{share:.0%}</text>')
    for epoch in range(1, epochs + 1, max(1, epochs // 8)):
        parts.append(f'<text x="{60 + step * (epoch - 1):.1f}" y="254" text-anchor="middle">{epoch}</text>')
    for one in (*runs, near):
        shares = one["curves"]["test_accuracy"]
        points = " ".join(f"{60 + step * x:.1f},{235 - 210 * y:.1f}" for x, y in enumerate(shares) if y is not None)
        ink, width = ("#1f5fa8", 2.5) if one is near else ("#b5b5b5", 1)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="{width}"/>')
    knobs = ", ".join(f"{name} = {near['knobs'][name]}" for name in KNOBS)
    figures, _, made_by = near["told"].partition("; ")
    lines = [f"Blue: {knobs}: ", figures, made_by, f"Grey: the other {len(runs) - 1} stored runs." * (len(runs) > 1)]
    told = [html.escape(line.strip()) for line in lines]
    words = "".join(f'<text x="6" y="{298 + 18 * at}">{line}</text>' for at, line in enumerate(told))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 360" width="620" role="img" font-size="13" '
        f'font-family="sans-serif" fill="#5b6572"><title>{" ".join(told)}</title><g text-anchor="end">'
        f'{"".join(parts)}</g><text x="6" y="14">test accuracy</text><text x="580" y="274" text-anchor="end">epoch'
        f"</text>{words}</svg>"
    )
