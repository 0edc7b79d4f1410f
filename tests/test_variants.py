"""Random prototypes, class means, neighbours and whitened embeddings: plain loops, and what must leave them alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl_teach.prototypes import class_scores
from dsl_teach.prototypes.density import unit_rows
from dsl_teach.prototypes.variants import SHRINKAGE, class_means, neighbour_scores, random_prototypes, whitened
from tests import reference
from tests.strategies import DTYPES, SEEDS

K, D = 4, 5
few = settings(max_examples=25)


def sample(seed, dtype=torch.float64, n=60):
    """Classes 0, 1 and 3 around points of their own, far from the origin; class 2 has no sample."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 1, 3])[torch.randint(3, (n,), generator=generator)]
    labels[:3] = torch.tensor([0, 1, 3])
    centres = 2 * torch.randn(K, D, generator=generator, dtype=torch.float64) + 5
    rows = centres[labels] + torch.randn(n, D, generator=generator, dtype=torch.float64)
    return rows.to(dtype), labels


class TestRandomPrototypes:
    @few
    @given(SEEDS, st.integers(1, 30))
    def test_they_belong_to_their_class_and_none_comes_twice(self, seed, p):
        rows, labels = sample(seed)
        found = random_prototypes(rows, labels, num_classes=K, p=p, generator=torch.Generator().manual_seed(seed))
        for c in range(K):
            size = min(p, int((labels == c).sum()))
            index = found.index[c, :size]
            assert int(found.count[c]) == int(found.sampled[c]) == size == len(set(index.tolist()))
            assert (labels[index] == c).all()
            assert torch.equal(found.embeddings[c, :size], rows[index])
            assert found.index[c, size:].tolist() == [-1] * (p - size)
            assert not found.embeddings[c, size:].any()
        assert (class_scores(rows, found)[:, 2] == -torch.inf).all()


class TestClassMeans:
    @few
    @given(SEEDS, DTYPES)
    def test_scores_equal_the_loop_reference(self, seed, dtype):
        rows, labels = sample(seed, dtype, n=20)
        rows = rows - 5
        scores = class_scores(rows, class_means(rows, labels, num_classes=K, m=99))
        points = rows.tolist()
        for c in (0, 1, 3):
            members = [x for x, y in zip(points, labels.tolist(), strict=True) if y == c]
            lengths = [sum(v * v for v in x) ** 0.5 for x in members]
            mean = [sum(x[d] / length for x, length in zip(members, lengths, strict=True)) for d in range(D)]
            expected = [reference.cosine_similarity([x, mean])[0][1] for x in points]
            assert scores[:, c].tolist() == pytest.approx(expected, abs=1e-5)
        assert (scores[:, 2] == -torch.inf).all()

    def test_no_sample_stands_there_and_at_most_m_are_looked_at(self):
        rows, labels = sample(3)
        found = class_means(rows, labels, num_classes=K, m=4)
        assert found.index.tolist() == [[-1]] * K
        assert found.sampled.tolist() == [4, 4, 0, 4]
        assert found.count.tolist() == [1, 1, 0, 1]


class TestNeighbours:
    @few
    @given(SEEDS, st.integers(1, 30), DTYPES)
    def test_scores_equal_the_loop_reference(self, seed, k, dtype):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(24, D, generator=generator, dtype=torch.float64).to(dtype)
        labels, drawn = torch.randint(K, (24,), generator=generator), torch.randperm(24, generator=generator)[:15]
        found = neighbour_scores(rows, labels, drawn, num_classes=K, neighbours=k)
        expected = reference.neighbour_scores(rows.tolist(), labels.tolist(), drawn.tolist(), classes=K, k=k)
        torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype))


class TestWhitened:
    @staticmethod
    def cosines(rows):
        return unit_rows(rows) @ unit_rows(rows).T

    @few
    @given(SEEDS, DTYPES)
    def test_it_equals_the_loop_reference(self, seed, dtype):
        rows, labels = sample(seed, dtype)
        exact, numbers = rows.double().numpy(), labels.numpy()
        means = {c: exact[numbers == c].mean(axis=0) for c in (0, 1, 3)}
        away = [x - means[y] for x, y in zip(exact, numbers, strict=True)]
        within = sum(np.outer(x, x) for x in away) / len(away)
        shrunk = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / D * np.eye(D)
        values, vectors = np.linalg.eigh(shrunk)
        expected = (exact - sum(means.values()) / 3) @ (vectors / np.sqrt(values)) @ vectors.T
        found = whitened(rows, labels, num_classes=K)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-3 if dtype == torch.float32 else 1e-7)

    @few
    @given(SEEDS)
    def test_cosines_do_not_change_when_the_space_is_turned_scaled_and_moved(self, seed):
        rows, labels = sample(seed)
        generator = torch.Generator().manual_seed(seed)
        turn = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64)).Q
        before, after = (self.cosines(whitened(x, labels, num_classes=K)) for x in (rows, 3 * rows @ turn + 7))
        torch.testing.assert_close(after, before, atol=1e-9, rtol=0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("case", ["few samples", "a feature that is always 0", "one point a class", "one point"])
    def test_embeddings_without_spread_in_some_directions_do_not_explode(self, dtype, case):
        rows, labels = sample(0)
        if case == "few samples":
            rows, labels = rows[:3], labels[:3]
        elif case == "a feature that is always 0":
            rows[:, 2] = 0
        elif case == "one point a class":
            rows = 1000 * torch.randn(K, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[labels]
        else:
            rows = rows[:1].expand(len(labels), D)
        rows = rows.to(dtype)
        moved = whitened(rows, labels, num_classes=K)
        assert moved.dtype == torch.promote_types(dtype, torch.float32)
        assert moved.isfinite().all()
        assert self.cosines(moved).isfinite().all()
        if case == "one point a class":  # nothing to learn of the spread: as if only centred
            centred = rows.double() - torch.stack([rows[labels == c][0].double() for c in (0, 1, 3)]).mean(dim=0)
            torch.testing.assert_close(self.cosines(moved).double(), self.cosines(centred), atol=1e-3, rtol=0)
