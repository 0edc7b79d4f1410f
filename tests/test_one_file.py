"""The method in one file gives what the library gives, and runs as it stands."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.prototypes import correct_labels, select_prototypes
from tests.strategies import DTYPES, UNSCALED_ROW

FILE = Path(__file__).parent.parent / "examples" / "smp_one_file.py"
ONE = SimpleNamespace(**runpy.run_path(str(FILE)))


def assert_same(embeddings, noisy_labels, *, p, m, seed=0):
    generators = (torch.Generator().manual_seed(seed) for _ in range(2))
    found = select_prototypes(embeddings, noisy_labels, num_classes=ONE.K, p=p, m=m, generator=next(generators))
    rows = ONE.select_prototypes(embeddings, noisy_labels, p, m, next(generators))
    assert [x.tolist() for x in rows] == [x[:n].tolist() for x, n in zip(found.index, found.count, strict=True)]
    corrected = ONE.correct_labels(embeddings, rows, noisy_labels)
    assert torch.equal(corrected, correct_labels(embeddings, found, noisy_labels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(5))
def test_prototypes_and_labels_are_those_of_the_library(seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(ONE.K, (1000,), generator=generator)
    centres = 2 * torch.randn(ONE.K, 16, generator=generator)
    embeddings = (centres[labels] + torch.randn(1000, 16, generator=generator)).relu().to(dtype)
    noisy_labels = labels.where(torch.rand(1000, generator=generator) < 0.6, labels.roll(1))
    assert_same(embeddings, noisy_labels, p=8, m=60, seed=seed)


@given(st.lists(st.tuples(UNSCALED_ROW, st.integers(0, 9)), max_size=60), st.integers(1, 4), DTYPES)
def test_ties_are_read_as_the_library_reads_them(labelled, p, dtype):
    labelled = [([1, 0, 0, 0], c) for c in range(ONE.K)] + labelled  # no class is empty
    embeddings = torch.tensor([row for row, _ in labelled], dtype=dtype)
    assert_same(embeddings, torch.tensor([label for _, label in labelled]), p=p, m=100)


def test_it_runs_as_a_script(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [str(FILE), "--epochs", "2", "--start", "1", "--m", "40"])
    runpy.run_path(str(FILE), run_name="__main__")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 + 2 + 2 + 1
    assert "40% of the labels are wrong" in said[0]
    fixed = [float(line.split("fixed ")[1].split("%")[0]) for line in said[1:5]]
    assert fixed[1] > 0
    assert fixed[0] == fixed[2] == fixed[3] == 0  # before the start, and by cross-entropy
