"""Small runs that tests break off, and a process of their own to kill them in: python run_driver.py FOLDER PLANS."""

import json
import os
import signal
import sys
import time

import torch

from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.training import checkpoint, correction, loop
from dsl_teach.training.runs import run

N, K = 60, 3
SETTINGS = Settings(
    epochs=6, correction_start=2, width=4, p=3, m=15, batch_size=16, augment=True, learning_rate_drop=4
)  # 4 steps an epoch
POINTS = {
    "training": (loop, "self_learning_loss", 22),
    "embedding": (correction, "embed", 4),
    "correction": (correction, "class_scores", 4),
    "testing": (loop, "evaluate", 5),
    "saving": (checkpoint.Checkpoint, "save", 5),
    "labels": (checkpoint.RunFolder, "write_labels", 4),
    "renaming": (checkpoint.os, "replace", 20),
    "checkpoint": (checkpoint.torch, "save", 8),
    "clock": (None, "", 150),
}
"""Where a run can be killed: before it calls this function for the n-th time; n at most. Of the clock: milliseconds."""


def samples():
    """Images of three brightnesses, every fourth with a wrong label."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(N) % K
    pixels = 60 * labels[:, None, None, None] + torch.randint(0, 90, (2, N, 1, 8, 8), generator=generator)
    images, test_images = pixels.to(torch.uint8)
    noisy_labels = torch.where(torch.arange(N) % 4 == 0, (labels + 1) % K, labels)
    return NoisyDataset("brightness", images, noisy_labels, ("dark", "grey", "bright"), test_images, labels, labels)


def train(folder, settings=SETTINGS, *, data=None, minutes=0.0, **how):
    """The run, kept in a folder with a checkpoint after every step."""
    return run(settings, data or samples(), folder=folder, minutes=minutes, **how)


def outcome(done):
    """What must be the same to the last bit."""
    made = done.result.correction
    return {
        "weights": done.network.state_dict(),
        "history": [
            {k: v for k, v in vars(r).items() if not k.startswith("seconds")} for r in done.result.history
        ],
        "labels": None if made is None else made.labels,
    }  # fmt: skip


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def die_at(function, count, *, half=False):
    """The same function, except that the process is killed in its call of this number, counted from 0."""
    calls = iter(range(count + 1))

    def deadly(*args, **kwargs):
        if next(calls, None) == count:
            if half:  # a file is written: half of it
                function(*args, **kwargs)
                args[1].truncate(args[1].tell() // 2)
                args[1].flush()
            die()
        return function(*args, **kwargs)

    return deadly


def arm(point, count):
    """Have the process killed at a point of the run."""
    owner, name, _ = POINTS[point]
    if owner is not None:
        setattr(owner, name, die_at(getattr(owner, name), count, half=point == "checkpoint"))
    else:
        signal.signal(signal.SIGALRM, lambda *_: die())
        signal.setitimer(signal.ITIMER_REAL, (count + 1) / 1000)


def in_a_child(work):
    """Do something in a process of its own, which costs no imports; its exit status, below 0 if a signal ended it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def broken_run(folder, points, minutes, settings=SETTINGS):
    """A run killed at each of the points in turn, and continued to its end."""
    ends = []
    for point, count in points:
        ends.append(in_a_child(lambda p=point, c=count: (arm(p, c), train(folder, settings, minutes=minutes))))
    last = in_a_child(lambda: torch.save(outcome(train(folder, settings, minutes=minutes)), f"{folder}.outcome"))
    return [*ends, last]


if __name__ == "__main__":
    torch.set_num_threads(1)
    root, report = sys.argv[1], {}
    train(f"{root}/warm-up", SETTINGS.replace(epochs=1, correction_start=0), minutes=10)  # late imports, once for all
    for name, plan in json.loads(sys.argv[2]).items():
        settings = SETTINGS.replace(**plan["settings"])
        report[name] = broken_run(f"{root}/{name}", plan["points"], plan["minutes"], settings)
    print(json.dumps(report))
