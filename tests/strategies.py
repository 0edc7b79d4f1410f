"""Hostile inputs: embeddings whose cosines are exact in floating point, so that ties are real ties."""

import warnings

import torch
from hypothesis import strategies as st

from dsl_teach.prototypes import select_prototypes

SEEDS = st.integers(0, 2**31)
# Rows with 0, 1 or 4 entries of one size have length 0, 1 or 2 times that size: every cosine is a multiple of 1/4.
SIGNS = st.sampled_from([-1, 1])
ONE_HOT = st.builds(lambda place, sign: [sign * (i == place) for i in range(4)], st.integers(0, 3), SIGNS)
FULL = st.lists(SIGNS, min_size=4, max_size=4)
UNSCALED_ROW = st.one_of(ONE_HOT, FULL, FULL, st.just([0, 0, 0, 0]))
EXACT_ROW = st.builds(
    lambda row, scale: [scale * entry for entry in row], UNSCALED_ROW, st.sampled_from([1, 3, 0.5, 1e-30, 1e30])
)
LABELLED_ROWS = st.lists(st.tuples(EXACT_ROW, st.integers(0, 2)), min_size=1, max_size=30)

DTYPES = st.sampled_from([torch.float32, torch.float64])


def signs_of(rows):
    """Rows of the same directions, whose cosines the loop reference computes exactly."""
    return [[(entry > 0) - (entry < 0) for entry in row] for row in rows]


def select(embeddings, noisy_labels, **changes):
    """Selection among 3 classes without the warning about empty ones, which hostile labels bring about all the time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return select_prototypes(embeddings, noisy_labels, num_classes=3, **changes)


@st.composite
def random_embeddings(draw: st.DrawFn, features: int = 6) -> torch.Tensor:
    """Gaussian rows, some of them doubled, some zero."""
    n = draw(st.integers(1, 30))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    rows = torch.randn(n, features, generator=generator, dtype=torch.float64)
    twins = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=5))
    for one, other in twins:
        rows[one] = rows[other]
    for zero in draw(st.lists(st.integers(0, n - 1), max_size=2)):
        rows[zero] = 0
    return rows.to(draw(DTYPES))


@st.composite
def similarities(draw: st.DrawFn) -> torch.Tensor:
    """Symmetric matrices of few distinct entries: ties everywhere, up to all entries equal."""
    m = draw(st.integers(1, 14))
    values = draw(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.1, 0.3, 0.7, 0.95, 1.0]), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    picked = torch.tensor(values, dtype=draw(DTYPES))[torch.randint(len(values), (m, m), generator=generator)]
    upper = picked.triu(1)
    return upper + upper.T + torch.eye(m, dtype=picked.dtype)
