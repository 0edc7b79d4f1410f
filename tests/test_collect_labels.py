"""collect_cifar_labels.py, called as a user calls it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from dsl_teach.data.label_files import labels_from_file

PATH = Path(__file__).parent.parent / "data_scripts" / "collect_cifar_labels.py"
spec = importlib.util.spec_from_file_location("collect_cifar_labels", PATH)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

CLEAN = np.arange(12) % 10


@pytest.fixture
def sources(tmp_path):
    np.savez(tmp_path / "noise.npz", clean=CLEAN, idn=(CLEAN + 1) % 10, short=(CLEAN + 2)[:9] % 10)
    torch.save({"clean_label": CLEAN, "random_label1": (CLEAN + 3) % 10}, tmp_path / "CIFAR-10_human.pt")
    return tmp_path


def collect(folder, *names):
    return script.main([str(folder / "out" / "labels.npz"), *(f"{folder}/{name}" for name in names)])


def test_arrays_of_several_files_come_together(sources, capsys):
    assert collect(sources, "noise.npz:clean", "noise.npz:idn=other", "CIFAR-10_human.pt:random_label1") == 0
    labels = {name: labels_from_file(sources / "out" / "labels.npz", name) for name in ("other", "random_label1")}
    assert labels["other"].noisy_labels.tolist() == ((CLEAN + 1) % 10).tolist()
    assert labels["random_label1"].noisy_labels.tolist() == ((CLEAN + 3) % 10).tolist()
    assert "clean, other, random_label1" in capsys.readouterr().out


def test_images_that_a_file_leaves_out_keep_their_true_labels_and_a_line_says_so(sources, capsys):
    assert collect(sources, "noise.npz:clean", "noise.npz:short") == 0
    labels = labels_from_file(sources / "out" / "labels.npz", "short").noisy_labels
    assert labels.tolist() == [*((CLEAN + 2)[:9] % 10), *CLEAN[9:]]
    assert "the first 9 images; the other 3 keep their true labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("noise.npz", "must be of the form FILE:NAME"),
        ("none.npz:clean", "There is no label file"),
        ("noise.npz:other", "other"),
    ],
)
def test_a_wrong_source_is_named_and_nothing_is_written(sources, capsys, source, words):
    assert collect(sources, "noise.npz:clean", source) == 1
    assert words in capsys.readouterr().err
    assert not (sources / "out").exists()


def test_the_first_source_is_the_longest(sources, capsys):
    assert collect(sources, "noise.npz:short", "noise.npz:clean") == 1
    assert "the first source only 9" in capsys.readouterr().err
