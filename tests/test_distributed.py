"""Two processes under torchrun against one at the same global batch."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
import torch
from PIL import Image

from dsl_teach.data.batches import WHOLE, crop_and_flip, make_batches
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.seeds import stream
from dsl_teach.training import distributed
from tests import ROOT, wait_for
from tests.distributed_driver import RUNS, N, everything, rows


def torchrun(folder, action):
    return subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
            "-m", "tests.distributed_driver", str(folder), action,
        ],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(job):
    """The exit status, and what it said."""
    _, said = job.communicate(timeout=900)
    return job.returncode, said


def checkpoints(folder):
    return [path.name for path in sorted((folder / "checkpoints").glob("*.pt"))]


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """The folder of all runs, and how one ended of which the second process fails."""
    folder = tmp_path_factory.mktemp("two")
    return folder, *ended(torchrun(folder, "fail")), checkpoints(folder / "failed")


@pytest.fixture(scope="module")
def terminated(failed):
    """How a run ended that got SIGTERM, torchrun and its processes alike, as a batch system sends it; what it saved."""
    folder = failed[0]
    job = torchrun(folder, "slow")
    wait_for((folder / "under way").exists)
    for process in [*psutil.Process(job.pid).children(recursive=True), job]:
        process.send_signal(signal.SIGTERM)
    return *ended(job), checkpoints(folder / "slow")


@pytest.fixture(scope="module")
def two(failed, terminated):
    """What each of two processes holds in the end, after these runs were continued and others were made."""
    status, said = ended(torchrun(failed[0], "finish"))
    assert status == 0, said[-3000:]
    return [torch.load(failed[0] / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one():
    return everything()


def assert_about_the_same_run(found, expected):
    assert torch.equal(found["labels"], expected["labels"])
    for record, wanted in zip(found["history"], expected["history"], strict=True):
        for name, value in wanted.items():
            assert record[name] == (value if value is None else pytest.approx(value, rel=1e-4, abs=1e-6)), name


def assert_the_same_on_both(a, b):
    assert a["history"] == b["history"]
    assert torch.equal(a["labels"], b["labels"])
    assert all(torch.equal(a["weights"][name], b["weights"][name]) for name in a["weights"])


@pytest.mark.slow
class TestTwoProcesses:
    @pytest.mark.parametrize("name", ["plain", "one over"])
    def test_gradients_are_those_of_the_whole_batch_also_where_it_cannot_be_cut_evenly(self, two, one, name):
        size = RUNS[name].batch_size
        assert N % size in (1, 13)
        for here in two:
            assert len(here["gradients"][name]) == -(-N // size)
            for found, expected in zip(here["gradients"][name], one["gradients"][name], strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)

    def test_the_same_weights_give_the_same_prototypes_and_corrected_labels(self, two, one):
        for here in two:
            assert torch.equal(here["correction"]["labels"], one["correction"]["labels"])
            for name, expected in one["correction"]["prototypes"].items():
                found = here["correction"]["prototypes"][name]
                torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-5, atol=1e-6)
                assert torch.equal(found.nan_to_num(), two[0]["correction"]["prototypes"][name].nan_to_num())

    @pytest.mark.parametrize("name", RUNS)
    def test_a_run_is_that_of_one_process_and_the_same_on_both_to_the_last_bit(self, two, one, name):
        if name != "batch norm":
            assert_about_the_same_run(two[0][name], one[name])
        assert_the_same_on_both(two[0][name], two[1][name])

    def test_a_process_that_fails_ends_the_job_with_its_own_error(self, failed):
        _, status, said, saved = failed
        assert status != 0
        assert "ValueError: this process met an image that is none" in said
        assert saved == ["epoch-00002-step-00000000.pt", "epoch-00002-step-00000002.pt"]

    def test_a_process_that_is_killed_takes_the_other_with_it(self, tmp_path):
        assert ended(torchrun(tmp_path, "killed"))[0] != 0
        assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in (p.info["cmdline"] or [])]

    def test_sigterm_ends_the_job_with_all_state_saved(self, terminated):
        status, said, saved = terminated
        assert status != 0
        assert "Stopped by SIGTERM" in said
        assert saved[-1] in ("epoch-00001-step-00000002.pt", "epoch-00001-step-00000004.pt")  # none was due there

    @pytest.mark.parametrize("name", ["failed", "slow"])
    def test_it_continues_from_the_checkpoint(self, two, one, name):
        assert_the_same_on_both(*(here["continued"][name] for here in two))
        assert_about_the_same_run(two[0]["continued"][name], one["plain"])

    @pytest.mark.parametrize(
        ("moment", "place"),
        [("training", "epoch 1, step 2"), ("correction", "epoch 1, step 0"), ("test", "epoch 0, step 4")],
    )
    def test_a_signal_to_one_process_stops_both_in_every_pass_and_the_run_goes_on(self, two, one, moment, place):
        for here in two:
            said, continued = here["stops"][moment]
            assert f"Stopped by SIGTERM in {place}" in said
            assert_about_the_same_run(continued, one["plain"])

    def test_rows_and_values_of_two_processes_are_put_together(self, two):
        expected = {"gathered": [1, 12, 3, 14], "merged": [1, 7, 13, 7], "total": 3, "largest": 1, "from leader": 0}
        assert [here["rows"] for here in two] == [expected | {"from leader in place": 5}] * 2
        alone = rows()
        assert (alone["gathered"], alone["merged"], alone["total"]) == ([1, 2, 3, 4], [1, 2, 7, 7], 1)


def as_process(monkeypatch, rank):
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    return distributed.share()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("on_disk", [False, True])
def test_the_shares_of_a_pass_make_up_the_pass_of_one_process(monkeypatch, tmp_path, size, on_disk):
    images = torch.randint(0, 256, (11, 3, 12, 12), dtype=torch.uint8, generator=stream(0))
    for number, pixels in enumerate(images):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    files = ImageFiles(tmp_path, tuple(f"{number}.png" for number in range(11)))
    how = {"batch_size": size, "view": crop_and_flip, "short_side": 12, "crop": 8}

    def passes(share=WHOLE, skip=0):
        batches = make_batches(files if on_disk else images, torch.arange(11) % 3, share=share, **how)
        return list(batches.shuffled(stream(1), skip)), list(batches.in_order())

    (whole, in_order), parts, own = passes(), [], []
    for rank in range(3):
        parts.append(passes(as_process(monkeypatch, rank)))
        own.append([distributed.own_part(step, size, 11) for step in range(len(whole))])
    for step, batch in enumerate(whole):
        counts, weights = zip(*(part[step] for part in own), strict=True)
        assert sum(counts) == len(batch.index)
        assert weights == pytest.approx([3 * count / len(batch.index) for count in counts])
        for field in range(3):
            joined = torch.cat([parts[rank][0][step][field][: counts[rank]] for rank in range(3)])
            assert torch.equal(joined, batch[field])
        assert all(len(part[0][step].index) >= 1 for part in parts)  # each takes every step
    seen = torch.cat([batch.index for part in parts for batch in part[1]]).sort().values
    assert torch.equal(seen, torch.cat([batch.index for batch in in_order]))
    for later, batch in zip(passes(skip=2)[0], whole[2:], strict=True):  # batches left out change nothing in others
        assert all(torch.equal(a, b) for a, b in zip(later, batch, strict=True))
