"""Several short runs side by side, from a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import joblib
import torch

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.training.runs import Run, run


def run_many(
    many: Sequence[Settings | tuple[Settings, NoisyDataset]], *, workers: int = 1,
    on_run: Callable[[Run], None] | None = None,
) -> list[Run]:  # fmt: skip
    """Several runs, of settings or of settings and the caller's own data; ``on_run`` is called after each, in order.

    ``workers`` processes run at a time, with one thread each, so that their number changes no figure.
    """
    finished, jobs = [], [joblib.delayed(_run_alone)(*(x if isinstance(x, tuple) else (x,))) for x in many]
    for done in joblib.Parallel(n_jobs=workers, return_as="generator")(jobs):
        finished.append(done)
        if on_run is not None:
            on_run(done)
    return finished


def _run_alone(settings: Settings, data: NoisyDataset | None = None) -> Run:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run(settings, data)
    finally:
        torch.set_num_threads(threads)
