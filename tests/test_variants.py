"""Random prototypes, class means and neighbours: plain loops, and what must leave them alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl_teach.prototypes import class_scores
from dsl_teach.prototypes.variants import class_means, neighbour_scores, random_prototypes
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
