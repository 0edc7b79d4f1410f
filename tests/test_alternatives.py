"""What density peaks are measured against: random prototypes, class means, a vote of neighbours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl_teach.prototypes import class_scores
from dsl_teach.prototypes.alternatives import class_means, neighbour_scores, random_prototypes
from tests import reference

K = 3
SEEDS, DTYPES = st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64])


def sample(seed, n=24, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, 5, generator=generator, dtype=torch.float64).to(dtype)
    return rows, torch.randint(K, (n,), generator=generator)


class TestRandomPrototypes:
    @settings(max_examples=25)
    @given(SEEDS, st.integers(1, 12))
    def test_they_belong_to_their_class_and_none_comes_twice(self, seed, p):
        rows, labels = sample(seed)
        found = random_prototypes(rows, labels, num_classes=K, p=p, generator=torch.Generator().manual_seed(seed))
        for c in range(K):
            size = min(p, int((labels == c).sum()))
            index = found.index[c, :size]
            assert int(found.count[c]) == int(found.sampled[c]) == size
            assert len(set(index.tolist())) == size
            assert (labels[index] == c).all()
            assert torch.equal(found.embeddings[c, :size], rows[index])
            assert found.index[c, size:].tolist() == [-1] * (p - size)
            assert not found.embeddings[c, size:].any()

    def test_the_seed_says_which(self):
        rows, labels = sample(0)

        def index(seed):
            generator = torch.Generator().manual_seed(seed)
            return random_prototypes(rows, labels, num_classes=K, p=3, generator=generator).index

        assert torch.equal(index(1), index(1))
        assert not torch.equal(index(1), index(2))

    def test_each_sample_is_taken_equally_often(self):
        rows, labels = torch.eye(6), torch.zeros(6, dtype=torch.int64)
        generator = torch.Generator().manual_seed(0)
        drawn = [random_prototypes(rows, labels, num_classes=1, p=2, generator=generator).index for _ in range(300)]
        counts = torch.bincount(torch.cat(drawn).flatten(), minlength=6)
        assert counts.sum() == 600
        assert (counts - 100).abs().max() < 40  # over 4 standard deviations of about 8

    def test_an_empty_class_is_never_assigned(self):
        found = random_prototypes(torch.eye(4), torch.tensor([0, 0, 2, 2]), num_classes=K, p=1)
        assert found.count.tolist() == [1, 0, 1]
        assert (class_scores(torch.eye(4), found)[:, 1] == -torch.inf).all()


class TestClassMeans:
    @settings(max_examples=25)
    @given(SEEDS, DTYPES)
    def test_scores_equal_the_loop_reference(self, seed, dtype):
        rows, labels = sample(seed, dtype=dtype)
        scores = class_scores(rows, class_means(rows, labels, num_classes=K, m=99))
        points = rows.tolist()
        for c in range(K):
            members = [x for x, y in zip(points, labels.tolist(), strict=True) if y == c]
            if not members:
                assert (scores[:, c] == -torch.inf).all()
                continue
            lengths = [sum(v * v for v in x) ** 0.5 for x in members]
            mean = [sum(x[d] / length for x, length in zip(members, lengths, strict=True)) for d in range(5)]
            expected = [reference.cosine_similarity([x, mean])[0][1] for x in points]
            assert scores[:, c].tolist() == pytest.approx(expected, abs=1e-5)

    def test_no_sample_stands_there_and_at_most_m_are_looked_at(self):
        rows, labels = sample(3)
        found = class_means(rows, labels, num_classes=K, m=4)
        assert found.index.tolist() == [[-1]] * K
        assert found.sampled.tolist() == [min(4, int((labels == c).sum())) for c in range(K)]
        assert found.count.tolist() == [1] * K

    def test_the_length_of_an_embedding_has_no_say(self):
        rows, labels = torch.tensor([[1.0, 0.0], [0.0, 1000.0]]), torch.tensor([0, 0])
        torch.testing.assert_close(
            class_means(rows, labels, num_classes=1, m=2).embeddings[0, 0], torch.tensor([0.5, 0.5])
        )


class TestNeighbours:
    @settings(max_examples=25)
    @given(SEEDS, st.integers(1, 30), st.integers(1, 30), DTYPES)
    def test_scores_equal_the_loop_reference(self, seed, k, chunk_size, dtype):
        rows, labels = sample(seed, dtype=dtype)
        index = torch.arange(len(rows))
        drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:15]
        found = neighbour_scores(
            rows, index, rows[drawn], labels[drawn], drawn, num_classes=K, neighbours=k, chunk_size=chunk_size
        )
        expected = reference.neighbour_scores(
            rows.tolist(), index.tolist(), rows[drawn].tolist(), labels[drawn].tolist(), drawn.tolist(), classes=K, k=k
        )
        torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype))

    def test_a_sample_does_not_vote_for_itself(self):
        rows, labels = torch.tensor([[1.0, 0], [1, 0.1], [0, 1]]), torch.tensor([0, 1, 2])
        index = torch.arange(3)
        scores = neighbour_scores(rows, index, rows, labels, index, num_classes=3, neighbours=1)
        assert scores.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]

    def test_of_few_candidates_all_others_vote(self):
        rows, labels = sample(0, n=4)
        index = torch.arange(4)
        scores = neighbour_scores(rows, index, rows, labels, index, num_classes=K, neighbours=50)
        for i in range(4):
            others = torch.bincount(labels[index != i], minlength=K) / 3
            torch.testing.assert_close(scores[i], others.to(scores.dtype))

    def test_too_few_candidates_and_nan_are_refused(self):
        one, many = torch.tensor([0]), torch.arange(4)
        with pytest.raises(ValueError, match="needs at least two candidates, but there are 1"):
            neighbour_scores(torch.eye(4), many, torch.eye(4)[:1], one, one, num_classes=K)
        with pytest.raises(ValueError, match="NaN or infinite"):
            neighbour_scores(torch.eye(4) * torch.nan, many, torch.eye(4), many % K, many, num_classes=K)
