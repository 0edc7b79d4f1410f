"""Out of memory: the sentence names the setting to halve and what that saves."""

from __future__ import annotations

import re

import pytest
import torch

from dsl_teach.config import Settings
from dsl_teach.data.batches import InMemoryBatches
from dsl_teach.seeds import stream
from dsl_teach.training import loop
from dsl_teach.training.memory import OutOfMemory, activation_bytes, in_words, is_out_of_memory
from dsl_teach.training.networks import build_network

SETTINGS = Settings(epochs=1, correction_start=0, width=4, p=2, m=20, batch_size=16)
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes."),
    MemoryError(),
]


@pytest.fixture
def parts():
    images = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batches = InMemoryBatches(images, torch.arange(48) % 3, batch_size=16)
    network = build_network("small_cnn", images=images, num_classes=3, width=4, generator=stream(0, "weights"))
    return network, batches


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize("error", ERRORS)
def test_in_training_the_batch_size_is_named_with_what_half_of_it_saves(parts, monkeypatch, error):
    network, batches = parts
    monkeypatch.setattr(loop, "self_learning_loss", failing(error))
    with pytest.raises(OutOfMemory, match=r"training phase. Halve batch_size, 16 now: that would save about") as caught:
        loop.fit(network, batches, batches, SETTINGS.replace(alpha=0.0))
    half = 8 * activation_bytes(network, batches.images)
    assert in_words(half) in str(caught.value)
    assert caught.value.__cause__ is error


def test_in_the_correction_m_is_named(parts, monkeypatch):
    network, batches = parts
    monkeypatch.setattr(correction, "select_prototypes", failing(ERRORS[0]))
    with pytest.raises(OutOfMemory, match=r"choosing prototypes. Halve m, 20 now: that would save about 5 KiB"):
        loop.fit(network, batches, batches, SETTINGS)


def test_while_embedding_the_batch_size_is_named(parts, monkeypatch):
    network, batches = parts
    monkeypatch.setattr(network, "forward", failing(ERRORS[1]))
    with pytest.raises(OutOfMemory, match=r"while embedding. Halve batch_size, 16 now: that would save about half"):
        loop.fit(network, batches, batches, SETTINGS)


def test_other_errors_pass_unchanged(parts, monkeypatch):
    network, batches = parts
    monkeypatch.setattr(loop, "self_learning_loss", failing(RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        loop.fit(network, batches, batches, SETTINGS.replace(alpha=0.0))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_activations_by_hand(parts):
    """Three convolutions, norms and ReLUs at 8, 4 and 2 pixels, two poolings, the mean, flattened, and the head."""
    network, batches = parts
    maps = 3 * (4 * 64 + 8 * 16 + 16 * 4) + 4 * 16 + 8 * 4 + 16 + 16 + 3
    assert activation_bytes(network, batches.images) == 4 * maps
    assert network.training


def test_bytes_in_words():
    assert [in_words(x) for x in (10, 2048, 3 * 2**20, 1.5 * 2**30)] == ["10 bytes", "2 KiB", "3 MiB", "1.5 GiB"]
    assert re.fullmatch(r"\d+\.\d GiB", in_words(2.0**45))
