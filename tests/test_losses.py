"""The self-learning loss, and those it is compared with, against their formulas in loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, one_hot

from dsl_teach.seeds import stream
from dsl_teach.training.losses import (
    early_learning_regularization,
    early_learning_targets,
    generalized_cross_entropy,
    mixup,
    self_learning_loss,
    smoothed_cross_entropy,
)
from tests import reference
from tests.reference import mean_over_samples

SEEDS, DTYPES = st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64])


def batch(seed, dtype=torch.float64, n=7, k=4):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, k, generator=generator, dtype=dtype)
    return logits, *torch.randint(k, (2, n), generator=generator)


@given(SEEDS, st.floats(0, 1), DTYPES)
def test_the_loss_equals_the_loop_reference(seed, alpha, dtype):
    logits, noisy, corrected = batch(seed, dtype)
    parts = [reference.cross_entropy(logits.tolist(), labels.tolist()) for labels in (noisy, corrected)]
    expected = (1 - alpha) * parts[0] + alpha * parts[1]
    assert self_learning_loss(logits, noisy, corrected, alpha).item() == pytest.approx(expected, rel=1e-5)


def test_before_the_first_correction_alpha_counts_as_zero():
    logits, noisy = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    plain = cross_entropy(logits, noisy)
    assert torch.equal(self_learning_loss(logits, noisy, None, 0.5), plain)
    assert torch.equal(self_learning_loss(logits, noisy, noisy.flip(0), 0.0), plain)


def test_another_loss_replaces_the_noisy_part_alone():
    logits, noisy, corrected = batch(0)
    for alpha in (0.25, 1.0):
        mixed = self_learning_loss(logits, noisy, corrected, alpha, noisy_loss=generalized_cross_entropy)
        expected = (1 - alpha) * generalized_cross_entropy(logits, noisy) + alpha * cross_entropy(logits, corrected)
        torch.testing.assert_close(mixed, expected)


def smoothed(p, y, x):
    target = [x / len(p) + (1 - x) * (c == y) for c in range(len(p))]
    return -math.fsum(t * math.log(q) for t, q in zip(target, p, strict=True))


def generalized(p, y, x):
    return (1 - p[y] ** x) / x


@pytest.mark.parametrize(
    ("loss", "expected"), [(smoothed_cross_entropy, smoothed), (generalized_cross_entropy, generalized)]
)
@given(seed=SEEDS, x=st.floats(0.05, 0.99), dtype=DTYPES)
def test_each_loss_equals_its_loop_reference(loss, expected, seed, x, dtype):
    logits, noisy, _ = batch(seed, dtype)
    wanted = mean_over_samples(logits.tolist(), noisy.tolist(), lambda p, y: expected(p, y, x))
    assert loss(logits, noisy, x).item() == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_what_each_loss_comes_to_at_its_ends():
    logits, noisy, _ = batch(1)
    plain, missing = cross_entropy(logits, noisy), 1 - logits.softmax(dim=1).gather(1, noisy[:, None]).mean()
    assert torch.equal(smoothed_cross_entropy(logits, noisy, 0.0), plain)
    torch.testing.assert_close(generalized_cross_entropy(logits, noisy, 1e-6), plain, rtol=1e-4, atol=0)
    torch.testing.assert_close(generalized_cross_entropy(logits, noisy, 1.0), missing)


class TestEarlyLearning:
    @given(SEEDS, st.floats(0, 0.99), DTYPES)
    def test_it_equals_the_loop_reference(self, seed, momentum, dtype):
        logits, _, _ = batch(seed, dtype)
        before = batch(seed + 1, dtype)[0].softmax(dim=1)
        targets = early_learning_targets(before, logits, momentum)
        pulls = []
        for row, old, new in zip(logits.tolist(), before.tolist(), targets.tolist(), strict=True):
            p = [min(max(x, 1e-4), 1 - 1e-4) for x in reference.softmax(row)]
            assert new == pytest.approx(
                [momentum * o + (1 - momentum) * x / sum(p) for o, x in zip(old, p, strict=True)], rel=1e-4, abs=1e-6
            )
            pulls.append(math.log(1 - sum(x * t for x, t in zip(p, new, strict=True))))
        found = early_learning_regularization(logits, targets).item()
        assert found == pytest.approx(math.fsum(pulls) / len(pulls), rel=1e-3, abs=1e-5)

    def test_targets_carry_no_gradient(self):
        logits = torch.zeros(1, 3, requires_grad=True)
        assert not early_learning_targets(torch.zeros(1, 3), logits).requires_grad


class TestMixup:
    @pytest.mark.parametrize("shape", [(6, 1, 4, 4), (6, 2)])
    def test_images_are_the_mixture_in_the_loop(self, shape):
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=stream(0))
        images = images if len(shape) == 4 else images / 100
        before = images.clone()
        mixed, partner, share = mixup(images, 0.3, stream(5))
        assert 0.5 <= share <= 1
        assert sorted(partner.tolist()) == [*range(6)]
        assert mixed.dtype == torch.float32
        for i in range(6):
            expected = share * images[i].double() + (1 - share) * images[partner[i]].double()
            torch.testing.assert_close(mixed[i].double(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(images, before)

    def test_the_draw_follows_from_the_generator_alone(self):
        draws = [mixup(torch.zeros(40, 2), 0.3, stream(seed)) for seed in (1, 1, 2)]
        assert draws[0][2] == draws[1][2] != draws[2][2]
        assert torch.equal(draws[0][1], draws[1][1])
        assert not torch.equal(draws[0][1], draws[2][1])

    @pytest.mark.parametrize(("a", "low", "high"), [(1.0, 0.7, 0.8), (0.01, 0.97, 1), (100.0, 0.5, 0.6)])
    def test_shares_spread_as_the_beta_distribution_says(self, a, low, high):
        """max(b, 1 - b) of a uniform b has the mean 3/4; of b near 0 or 1 it is near 1."""
        assert low < sum(mixup(torch.zeros(2, 1), a, stream(0, i))[2] for i in range(300)) / 300 < high


LOSSES = {
    "smoothed": smoothed_cross_entropy,
    "gce": generalized_cross_entropy,
    "elr": lambda logits, labels: early_learning_regularization(
        logits, early_learning_targets(one_hot(labels, 3).float(), logits)
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_leave_losses_and_gradients_finite(name, dtype):
    logits = torch.tensor([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [0, 0, 0], [1e4, 1e4, -1e4]], dtype=dtype)
    for labels in ([0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2]):
        logits = logits.detach().requires_grad_()
        loss = LOSSES[name](logits, torch.tensor(labels))
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()
