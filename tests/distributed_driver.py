"""What each process of a distributed test does: torchrun ... distributed_driver.py FOLDER ACTION."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.seeds import stream
from dsl_teach.training import keeper as keepers
from dsl_teach.training import loop
from dsl_teach.training.checkpoint import RunFolder
from dsl_teach.training.distributed import join_team
from dsl_teach.training.keeper import RunKeeper
from dsl_teach.training.networks import build_network

N, K = 61, 3  # the last batch of 13 cannot be cut evenly
SETTINGS = Settings(
    epochs=4, correction_start=1, width=8, p=3, m=12, batch_size=16, network="small_cnn_groupnorm", learning_rate=0.05
)
STREAMED = SETTINGS.replace(correction_mode="streamed", epochs=3)
OPTIONS = SETTINGS.replace(
    epochs=3, loss="elr", whitened=True, score_momentum=0.5, agreeing_only=True, averaged_weights=0.8
)
BALANCED = SETTINGS.replace(epochs=3, balanced_sampling=True, correct_by="neighbours", neighbours=9, loss="forward")


def samples():
    """Images whose bright quarter is their class; every fourth label is wrong."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(N) % K
    images = torch.randint(0, 90, (N, 1, 8, 8), generator=generator)
    for c in range(K):
        images[labels == c, :, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] += 120
    noisy_labels = torch.where(torch.arange(N) % 4 == 0, (labels + 1) % K, labels)
    return images.to(torch.uint8), noisy_labels, labels


def network_and_batches(settings, team):
    images, noisy_labels, labels = samples()
    network = build_network(
        settings.network, images=images, num_classes=K, width=settings.width, generator=stream(0, "weights")
    )
    batches = InMemoryBatches(
        images, noisy_labels, batch_size=settings.batch_size, share=team.share, balanced=settings.balanced_sampling
    )
    return network, batches, labels


def correction_alone(settings, team):
    """One correction by the first weights."""
    network, batches, _ = network_and_batches(settings, team)
    done = loop.correct(network, batches, settings, 0, team=team)
    return {"labels": done.labels, "prototypes": vars(done.prototypes)}


def whole_run(settings, team, folder=None):
    """A run, kept in a folder if one is given."""
    network, batches, labels = network_and_batches(settings, team)
    opened = RunFolder(folder, settings) if folder and team.leads else None
    keepers.AGREE_EVERY = 2
    with RunKeeper(opened, team=team, minutes=0) as keeper:
        result = loop.fit(network, batches, batches, settings, clean_labels=labels, keeper=keeper, team=team)
    history = [{k: v for k, v in vars(r).items() if not k.startswith("seconds")} for r in result.history]
    return {"history": history, "labels": result.correction.labels, "weights": network.state_dict()}


def everything(team):
    return {
        "correction": correction_alone(SETTINGS, team),
        "first epoch": whole_run(SETTINGS.replace(epochs=1), team),
        "run": whole_run(SETTINGS, team),
        "streamed": whole_run(STREAMED, team),
        "options": whole_run(OPTIONS, team),
        "balanced": whole_run(BALANCED, team),
    }


def fail_at(step):
    """The second process fails in a step of its own."""
    original, calls = loop.self_learning_loss, []

    def failing(*args, **kwargs):
        calls.append(None)
        if len(calls) == step:
            raise ValueError("this process met an image that is none")
        return original(*args, **kwargs)

    loop.self_learning_loss = failing


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, action = Path(sys.argv[1]), sys.argv[2]
    with join_team("cpu") as (team, _):
        if action == "fail" and os.environ["RANK"] == "1":
            fail_at(11)
        continued = whole_run(SETTINGS, team, folder / "run")
        torch.save(everything(team) | {"continued": continued}, folder / f"rank-{team.rank}.pt")
