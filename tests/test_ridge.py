"""The linear head in closed form: its leave-one-out scores are those of N heads that were really fitted."""

import pytest
import torch

from dsl_teach.prototypes.variants import ridge_head


def drawn(n=40, d=7, k=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, (n,), generator=generator)
    middles = torch.randn(k, d, generator=generator)
    return middles[labels] + torch.randn(n, d, generator=generator), labels


def plain_ridge(x, y, penalty):
    """Weights and bias, by the textbook's normal equations with a column of ones that is not penalised."""
    rows = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    ridge = penalty * torch.eye(rows.shape[1], dtype=torch.float64)
    ridge[-1, -1] = 0
    return torch.linalg.solve(rows.T @ rows + ridge, rows.T @ y)


@pytest.mark.parametrize("d", [2, 7, 60])  # fewer and more features than samples
def test_it_is_the_textbooks_ridge_and_left_out_means_left_out(d):
    x, labels = drawn(d=d)
    head, y = ridge_head(x, labels, num_classes=3), torch.nn.functional.one_hot(labels, 3).double()
    whole = plain_ridge(x, y, head.penalty)
    torch.testing.assert_close(head.fitted, x.double() @ whole[:-1] + whole[-1], rtol=1e-6, atol=1e-8)
    new = drawn(d=d, seed=1)[0]
    torch.testing.assert_close(head.scores(new), new.double() @ whole[:-1] + whole[-1], rtol=1e-6, atol=1e-8)
    for i in range(len(x)):
        others = torch.arange(len(x)) != i
        without = plain_ridge(x[others], y[others], head.penalty)
        torch.testing.assert_close(head.left_out[i], x[i].double() @ without[:-1] + without[-1], rtol=1e-5, atol=1e-7)


def test_a_sample_does_not_vote_for_its_own_label():
    x, labels = drawn()
    before, compared = ridge_head(x, labels, num_classes=3), 0
    for i in range(len(x)):
        changed = labels.clone()
        changed[i] = (labels[i] + 1) % 3
        after = ridge_head(x, changed, num_classes=3)
        if after.penalty == before.penalty:  # it is chosen by all samples, this one too
            torch.testing.assert_close(after.left_out[i], before.left_out[i])
            assert not torch.allclose(after.fitted[i], before.fitted[i])
            compared += 1
    assert compared > 5


def test_rotating_the_features_changes_nothing():
    x, labels = drawn()
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(1)))
    turned, plain = ridge_head(x @ rotation, labels, num_classes=3), ridge_head(x, labels, num_classes=3)
    torch.testing.assert_close(turned.left_out, plain.left_out, rtol=1e-4, atol=1e-5)
