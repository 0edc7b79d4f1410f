"""What each process of a distributed test does: torchrun ... -m tests.distributed_driver FOLDER ACTION."""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

import torch

from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.fingerprint import fingerprint
from dsl_teach.training import checkpoint, distributed
from dsl_teach.training.correction import correct
from dsl_teach.training.loop import fit
from dsl_teach.training.records import Callback
from dsl_teach.training.runs import first_network, make_batches, run

N, K = 61, 3  # the last batch of 13 cannot be cut evenly
SETTINGS = Settings(epochs=4, correction_start=1, width=8, p=3, m=12, batch_size=16, network="mlp")  # 4 steps an epoch
RUNS = {
    "plain": SETTINGS,
    "one over": SETTINGS.replace(batch_size=20, epochs=2),  # the second process has no part in the last batch
    "streamed": SETTINGS.replace(correction_mode="streamed", epochs=3),
    "options": SETTINGS.replace(epochs=3, loss="elr", averaged_weights=0.8),
    "batch norm": SETTINGS.replace(epochs=2, network="small_cnn"),  # statistics are those of a process's part
    "balanced": SETTINGS.replace(epochs=3, balanced_sampling=True, correct_by="neighbours", neighbours=9),
}


def samples(settings=SETTINGS):
    """Three blobs in the plane, or images of one colour each; every fourth label is wrong."""
    labels, generator = torch.arange(N) % K, torch.Generator().manual_seed(3)
    centres = torch.tensor([[3.0, 0], [-2, 2], [-2, -2]])
    points = centres[labels] + torch.randn(2, N, 2, generator=generator)
    if settings.network != "mlp":
        points = (128 + 30 * points).to(torch.uint8)[..., None, None].expand(-1, -1, -1, 8, 8).contiguous()
    noisy_labels = torch.where(torch.arange(N) % 4 == 0, (labels + 1) % K, labels)
    return NoisyDataset("blobs", points[0], noisy_labels, ("a", "b", "c"), points[1], labels, labels)


def after_each_step(act):
    callback = Callback()
    callback.on_batch_end = lambda state, *batch: act(state)
    return callback


def at_step(step, act):
    """Does something in one step, counted from 1."""
    steps = itertools.count(1)
    return after_each_step(lambda state: next(steps) == step and act())


def slowly(file):
    """Leaves time for a signal, and writes a file once the second epoch is under way."""
    return after_each_step(lambda state: (state.progress > 1 and file.touch(), time.sleep(0.3)))


def fail():
    raise ValueError("this process met an image that is none")


def trained(settings, folder=None, *, callbacks=(), correct=correct, before_test=lambda: None):
    """What ``run`` does, with callbacks in every process and small batches to test on."""
    data, share = samples(settings), distributed.share()
    test = InMemoryBatches(data.test_images, data.test_labels, batch_size=16, share=share)
    in_order = test.in_order
    test.in_order = lambda: before_test() or in_order()
    with checkpoint.Checkpoint(folder, settings, minutes=0) as saving:
        if saving.folder:
            saving.folder.require_same_data(fingerprint(data))
        train, test = saving.watch(make_batches(data, settings, "cpu")[0]), saving.watch(test)
        network = first_network(data, settings)
        how = {"clean_labels": data.clean_labels, "correct": correct, "callbacks": [saving, *callbacks]}
        return outcome(fit(network, train, test, settings, **how), network)


def outcome(result, network):
    """What must be the same in every process, and about the same in one."""
    history = [{k: v for k, v in vars(r).items() if not k.startswith("seconds")} for r in result.history]
    return {"history": history, "labels": result.correction.labels, "weights": network.state_dict()}


def first_correction():
    data = samples()
    done = correct(first_network(data, SETTINGS), make_batches(data, SETTINGS, "cpu")[0], SETTINGS, 0)
    return {"labels": done.labels, "prototypes": vars(done.prototypes)}


def gradients_of(settings):
    kept = []
    keep = after_each_step(lambda state: kept.append([weights.grad.clone() for weights in state.network.parameters()]))
    trained(settings, callbacks=[keep])
    return kept


def everything():
    """A correction, the gradients of steps, and the outcome of every run."""
    gradients = {name: gradients_of(RUNS[name].replace(epochs=1)) for name in ("plain", "one over")}
    runs = {name: trained(settings) for name, settings in RUNS.items()}
    return {"correction": first_correction(), "gradients": gradients, **runs}


def stopped_and_continued(folder, moment):
    """A run in which the second process alone is asked to stop: what that said, and what the run came to at last."""
    mine = (lambda: signal.raise_signal(signal.SIGTERM)) if distributed.rank() == 1 else lambda: None
    how = {
        "training": {"callbacks": [at_step(5, mine)]},
        "correction": {"correct": lambda *args, **known: mine() or correct(*args, **known)},
        "test": {"before_test": mine},
    }[moment]
    try:
        said = trained(SETTINGS, folder, **how) and "it was not stopped"
    except checkpoint.Interrupted as error:
        said = str(error)
    return said, trained(SETTINGS, folder)


def rows():
    """What the functions over rows give, of rows that say whose they are."""
    rank = distributed.rank()
    x, mine = torch.tensor([[1.0], [2.0], [3.0], [4.0]]) + 10 * rank, torch.arange(4) % 2 == rank
    touched = torch.tensor([[True, True, False, False], [False, True, True, False]])[rank]
    return {
        "gathered": distributed.gathered_rows(x, mine).flatten().tolist(),
        "merged": distributed.merged_rows(torch.where(touched[:, None], x, 7.0), touched).flatten().tolist(),
        "total": distributed.total(torch.tensor(rank + 1)).item(),
        "largest": distributed.largest(torch.tensor(rank)).item(),
        "from leader": distributed.from_leader({"rank": rank})["rank"],
        "from leader in place": distributed.from_leader(torch.tensor(rank + 5)).item(),
    }


def main(folder, action):
    rank = int(os.environ["RANK"])
    if action == "fail":
        trained(SETTINGS, folder / "failed", callbacks=[at_step(11, fail)] if rank == 1 else [])
    elif action == "killed":
        trained(SETTINGS, callbacks=[at_step(11, lambda: os.kill(os.getpid(), signal.SIGKILL))] if rank == 1 else [])
    elif action == "slow":
        run(SETTINGS, samples(), folder=folder / "slow", callbacks=[slowly(folder / "under way")])
    else:
        continued = {}
        for name in ("failed", "slow"):
            done = run(SETTINGS, samples(), folder=folder / name, minutes=0)
            continued[name] = outcome(done.result, done.network)
        moments = ("training", "correction", "test")
        stops = {moment: stopped_and_continued(folder / moment, moment) for moment in moments}
        found = everything() | {"continued": continued, "stops": stops, "rows": rows()}
        torch.save(found, folder / f"rank-{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    checkpoint.AGREE_EVERY = 2
    with distributed.process_group("cpu"):
        main(Path(sys.argv[1]), sys.argv[2])
