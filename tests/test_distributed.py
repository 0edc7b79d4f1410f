"""Two processes under torchrun against one at the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from dsl_teach.data.batches import InMemoryBatches, OnDiskBatches, Share
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.training.distributed import ALONE, Team
from tests.distributed_driver import N, everything

ROOT = Path(__file__).parent.parent


def torchrun(folder, action):
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
            "-m", "tests.distributed_driver", str(folder), action,
        ],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A job of two processes of which the second fails, and its folder."""
    folder = tmp_path_factory.mktemp("two")
    return folder, torchrun(folder, "fail"), {path.name for path in (folder / "run" / "checkpoints").glob("*.pt")}


@pytest.fixture(scope="module")
def two(broken):
    """What each of two processes holds in the end, after the broken run was continued and others were made."""
    folder = broken[0]
    done = torchrun(folder, "continue")
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one():
    """What one process by itself holds in the end."""
    return everything(ALONE)


def assert_histories_agree(history, expected):
    for record, wanted in zip(history, expected, strict=True):
        for name, value in wanted.items():
            assert record[name] == (value if value is None else pytest.approx(value, rel=1e-3, abs=1e-5)), name


def test_the_same_weights_give_the_same_prototypes_and_corrected_labels(two, one):
    for here in two:
        assert torch.equal(here["correction"]["labels"], one["correction"]["labels"])
        for name, expected in one["correction"]["prototypes"].items():
            found = here["correction"]["prototypes"][name]
            torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-5, atol=1e-6)


def test_prototypes_and_weights_are_the_same_on_both_to_the_last_bit(two):
    a, b = two
    for name, expected in a["correction"]["prototypes"].items():
        assert torch.equal(expected.nan_to_num(), b["correction"]["prototypes"][name].nan_to_num())
    for run in ("run", "streamed", "options", "balanced"):
        assert all(torch.equal(a[run]["weights"][name], b[run]["weights"][name]) for name in a[run]["weights"])
        assert a[run]["history"] == b[run]["history"]


@pytest.mark.parametrize("run", ["run", "streamed", "options", "balanced"])
def test_the_history_is_that_of_one_process(two, one, run):
    assert_histories_agree(two[0][run]["history"], one[run]["history"])
    assert torch.equal(two[0][run]["labels"], one[run]["labels"])


def test_after_one_epoch_the_weights_are_those_of_one_process(two, one):
    for name, expected in one["first epoch"]["weights"].items():
        torch.testing.assert_close(two[0]["first epoch"]["weights"][name], expected, rtol=1e-4, atol=1e-6)


def test_a_process_that_fails_ends_the_job_with_its_own_error(broken):
    _, done, saved = broken
    assert done.returncode != 0
    assert "ValueError: this process met an image that is none" in done.stderr
    assert saved == {"epoch-00002-step-00000000.pt", "epoch-00002-step-00000002.pt"}


def test_it_continues_from_the_checkpoint(two, one):
    assert two[0]["continued"]["history"] == two[1]["continued"]["history"]
    assert_histories_agree(two[0]["continued"]["history"], one["run"]["history"])
    assert torch.equal(two[0]["continued"]["labels"], one["run"]["labels"])


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shares_cut_every_batch_into_runs_that_make_it_up(parts):
    for total in range(1, 20):
        whole = torch.arange(total)
        assert torch.equal(torch.cat([Share(part, parts).of(whole) for part in range(parts)]), whole)


def small_batches(share=None, view=None):
    images = torch.arange(10 * 4).reshape(10, 1, 2, 2).to(torch.uint8)
    more = {} if share is None else {"share": share}
    return InMemoryBatches(images, torch.arange(10) % 3, batch_size=4, view=view, **more)


def test_the_shares_of_a_pass_make_up_the_pass_of_one_process():
    def view(images, generator):
        return images + torch.randint(9, images.shape, generator=generator).to(torch.uint8)

    def batches(**how):
        return list(small_batches(view=view, **how).shuffled(torch.Generator().manual_seed(1)))

    whole, parts = batches(), [batches(share=Share(rank, 3)) for rank in range(3)]
    for step, batch in enumerate(whole):
        counts = [Team(rank, 3).own(step, 0, small_batches())[0] for rank in range(3)]
        for field in range(3):
            joined = torch.cat([parts[rank][step][field][: counts[rank]] for rank in range(3)])
            assert torch.equal(joined, batch[field])
        assert all(len(parts[rank][step].index) >= 1 for rank in range(3))  # each takes every step


def test_weights_of_shares_average_to_the_mean_over_the_batch():
    for step, total in enumerate((4, 4, 2)):
        own = [Team(rank, 3).own(step, 0, small_batches()) for rank in range(3)]
        assert sum(count for count, _ in own) == total
        assert sum(weight for _, weight in own) / 3 == pytest.approx(1)
        assert all(weight == pytest.approx(3 * count / total) for count, weight in own)


def test_batches_left_out_at_the_start_change_nothing_in_the_others():
    def indexes(skip):
        generator = torch.Generator().manual_seed(1)
        return [batch.index.tolist() for batch in small_batches().shuffled(generator, skip=skip)]

    assert [indexes(skip) for skip in range(4)] == [indexes(0)[skip:] for skip in range(4)]


def test_rows_of_a_share_are_those_it_sees_in_order():
    seen = torch.cat([batch.index for batch in small_batches(share=Share(1, 3)).in_order()])
    assert Team(1, 3).rows(10, 4, torch.device("cpu")).nonzero().flatten().tolist() == seen.tolist()
    assert N % 16 % 2 == 1


def test_shares_and_left_out_batches_of_images_on_disk(tmp_path):
    generator = torch.Generator().manual_seed(0)
    paths = tuple(f"{number}.png" for number in range(11))
    for path in paths:
        Image.fromarray(torch.randint(0, 256, (12, 12, 3), dtype=torch.uint8, generator=generator).numpy()).save(
            tmp_path / path
        )

    def batches(skip=0, **how):
        disk = OnDiskBatches(
            ImageFiles(tmp_path, paths), torch.arange(11), batch_size=4, short_side=12, crop=8, **how
        )  # fmt: skip
        return list(disk.shuffled(torch.Generator().manual_seed(1), skip)), list(disk.in_order())

    (shuffled, in_order), (later, _) = batches(), batches(skip=2)
    assert all(torch.equal(a, b) for a, b in zip(shuffled[2], later[0], strict=True))
    parts = [batches(share=Share(rank, 2)) for rank in (0, 1)]
    for step, batch in enumerate(shuffled):
        assert torch.equal(torch.cat([part[0][step].images for part in parts]), batch.images)
        assert torch.equal(torch.cat([part[0][step].index for part in parts]), batch.index)
    rows = torch.cat([batch.index for part in parts for batch in part[1]]).sort().values
    assert torch.equal(rows, torch.cat([batch.index for batch in in_order]))
