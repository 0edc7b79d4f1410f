"""A small run in a process of its own, for tests that break it off: python run_driver.py FOLDER PLANS."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import torch

from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.seeds import stream
from dsl_teach.training import checkpoint as folders
from dsl_teach.training import keeper as keepers
from dsl_teach.training import loop
from dsl_teach.training.checkpoint import RunFolder
from dsl_teach.training.keeper import RunKeeper
from dsl_teach.training.networks import build_network

N, K = 60, 3
SETTINGS = Settings(
    epochs=6, correction_start=2, width=4, p=3, m=15, batch_size=16, network="small_cnn", learning_rate_drop=4
)


def samples():
    """Images of three brightnesses, every fourth with a wrong label."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(N) % K
    images = (60 * labels[:, None, None, None] + torch.randint(0, 90, (N, 1, 8, 8), generator=generator)).to(
        torch.uint8
    )
    noisy_labels = torch.where(torch.arange(N) % 4 == 0, (labels + 1) % K, labels)
    return images, noisy_labels, labels


def train(folder, settings=SETTINGS, *, minutes=0.0):
    """The run, kept in a folder with a checkpoint after every step."""
    images, noisy_labels, labels = samples()
    batches = InMemoryBatches(images, noisy_labels, batch_size=settings.batch_size)
    network = build_network(
        settings.network, images=images, num_classes=K, width=settings.width, generator=stream(0, "weights")
    )
    with RunKeeper(RunFolder(folder, settings), minutes=minutes) as keeper:
        return loop.fit(network, batches, batches, settings, clean_labels=labels, keeper=keeper), network


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def die_at(function, count):
    """The same function, except that the process is killed in its count-th call."""
    calls = iter(range(count + 1))

    def deadly(*args, **kwargs):
        if next(calls, None) == count:
            die()
        return function(*args, **kwargs)

    return deadly


def arm(point, count):
    """Have the process killed at a point of the run: in a step, in a correction, or with half a checkpoint written."""
    if point == "training":
        loop.self_learning_loss = die_at(loop.self_learning_loss, count)
    elif point == "embedding":
        correction.embed = die_at(correction.embed, count)
    elif point == "correction":
        correction.class_scores = die_at(correction.class_scores, count)
    elif point == "keeping":
        keepers.RunKeeper.keep = die_at(keepers.RunKeeper.keep, count)
    elif point == "renaming":
        folders.os.replace = die_at(os.replace, count)
    elif point == "checkpoint":
        save = torch.save

        def half(content, file):
            if not calls:
                save(content, file)
                file.truncate(file.tell() // 2)
                file.flush()
                die()
            calls.pop()
            save(content, file)

        calls = [None] * count
        folders.torch.save = half
    elif point == "seconds":
        signal.signal(signal.SIGALRM, lambda *_: die())
        signal.setitimer(signal.ITIMER_REAL, count / 1000)


def outcome(result, network):
    """What must be the same to the last bit."""
    history = [{k: v for k, v in vars(r).items() if not k.startswith("seconds")} for r in result.history]
    return {"weights": network.state_dict(), "history": history, "labels": result.correction.labels}


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
    last = in_a_child(lambda: torch.save(outcome(*train(folder, settings, minutes=minutes)), f"{folder}.outcome"))
    return [*ends, last]


if __name__ == "__main__":
    torch.set_num_threads(1)
    root, report = sys.argv[1], {}
    train(f"{root}/warm-up", SETTINGS.replace(epochs=1, correction_start=0), minutes=10)  # late imports, once for all
    for name, plan in json.loads(sys.argv[2]).items():
        settings = SETTINGS.replace(**plan["settings"])
        report[name] = broken_run(f"{root}/{name}", plan["points"], plan["minutes"], settings)
    print(json.dumps(report))
