"""S, S_c, rho and eta against the loop reference, by hand, and by what must not change them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold
from tests import reference
from tests.strategies import DTYPES, EXACT_ROWS, SEEDS, random_embeddings, signs_of, similarities

QUANTILES = st.sampled_from([0.01, 0.25, 0.4, 0.5, 0.6, 0.75, 0.999, 1.0])


@given(random_embeddings())
def test_similarity_equals_the_loop_reference(embeddings):
    expected = torch.tensor(reference.cosine_similarity(embeddings.tolist()), dtype=embeddings.dtype)
    tolerance = 1e-5 if embeddings.dtype == torch.float32 else 1e-12
    torch.testing.assert_close(cosine_similarity(embeddings), expected, atol=tolerance, rtol=0)


@given(EXACT_ROWS, DTYPES)
def test_similarity_is_exact_where_floating_point_allows_it(rows, dtype):
    similarity = cosine_similarity(torch.tensor(rows, dtype=dtype))
    assert similarity.dtype == dtype
    assert similarity.tolist() == reference.cosine_similarity(signs_of(rows))


@given(similarities(), QUANTILES, st.booleans())
def test_threshold_equals_the_loop_reference(similarity, quantile, diagonal):
    expected = reference.similarity_threshold(similarity.tolist(), 1 - quantile, diagonal=diagonal)
    assert similarity_threshold(similarity, quantile, diagonal=diagonal).item() == expected


@given(similarities(), QUANTILES)
def test_density_equals_the_loop_reference(similarity, quantile):
    threshold = similarity_threshold(similarity, quantile)
    assert density(similarity, threshold).tolist() == reference.density(similarity.tolist(), threshold.item())


@given(similarities(), st.sampled_from(["strict", "order"]), QUANTILES)
def test_eta_equals_the_loop_reference(similarity, rho_ties, quantile):
    rho = density(similarity, similarity_threshold(similarity, quantile))
    expected = reference.eta(similarity.tolist(), rho.tolist(), rho_ties=rho_ties)
    assert eta(similarity, rho, rho_ties=rho_ties).tolist() == expected


@given(st.integers(2, 60), QUANTILES)
def test_the_asked_share_of_distinct_entries_lies_above_the_threshold(m, quantile):
    entries = torch.randperm(m * m, generator=torch.Generator().manual_seed(m)).double().view(m, m)
    above = int((entries > similarity_threshold(entries, quantile)).sum())
    assert above == min(math.floor(round((1 - quantile) * m * m, 6)), m * m - 1)


def test_five_points_by_hand():
    """Unit vectors at 0, 10, 20, 30 and 90 degrees: four neighbours on a fan, and a stranger."""
    angles = torch.deg2rad(torch.tensor([0.0, 10, 20, 30, 90], dtype=torch.float64))
    similarity = cosine_similarity(torch.stack([angles.cos(), angles.sin()], dim=1)).round(decimals=9)
    # 25 entries, 10 of them above S_c. The five cos 0 and six cos 10 are 11: the tenth place falls inside the
    # cos 10, so S_c, the 15th from below, is cos 10.
    threshold = similarity_threshold(similarity)
    assert threshold.item() == pytest.approx(math.cos(math.radians(10)))
    # Row 0: itself counts +1, 10 degrees 0, 20, 30 and 90 degrees -1 each.
    rho = density(similarity, threshold)
    assert rho.tolist() == [-2, -1, -1, -2, -3]
    # 1 and 2 are densest: their least similar sample is the stranger, 80 and 70 degrees away.
    assert torch.rad2deg(torch.acos(eta(similarity, rho))).round().int().tolist() == [10, 80, 70, 10, 60]


@given(random_embeddings(), SEEDS)
def test_permutation_moves_rho_and_eta_along(embeddings, seed):
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(seed))
    similarity = cosine_similarity(embeddings)
    rho = density(similarity, similarity_threshold(similarity))
    moved = similarity[order][:, order]
    moved_rho = density(moved, similarity_threshold(moved))
    assert torch.equal(moved_rho, rho[order])
    assert torch.equal(eta(moved, moved_rho), eta(similarity, rho)[order])


@given(random_embeddings(), SEEDS)
def test_scale_and_rotation_leave_the_similarity_alone(embeddings, seed):
    generator = torch.Generator().manual_seed(seed)
    scales = torch.rand(len(embeddings), 1, generator=generator, dtype=torch.float64) * 1e3 + 1e-3
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    moved = (scales * embeddings.double()) @ rotation
    torch.testing.assert_close(cosine_similarity(moved), cosine_similarity(embeddings.double()), atol=1e-12, rtol=0)


NAN_IN_ROW_3 = torch.ones(5, 3).index_fill(0, torch.tensor([3]), torch.nan)


@pytest.mark.parametrize(
    ("embeddings", "sentence"),
    [
        (NAN_IN_ROW_3, r"NaN or infinite values in 1 row\(s\), the first is row 3"),
        (-1 / torch.zeros(2, 2), r"NaN or infinite values in 2 row\(s\), the first is row 0"),
        (torch.ones(5), "embeddings must be a floating-point matrix"),
        (torch.ones(2, 2, 2), "embeddings must be a floating-point matrix"),
        (torch.ones(3, 2, dtype=torch.int64), "embeddings must be a floating-point matrix"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(embeddings, sentence):
    with pytest.raises(ValueError, match=sentence):
        cosine_similarity(embeddings)


@pytest.mark.parametrize("quantile", [0, 1.01, float("nan")])
def test_a_quantile_out_of_range_is_refused(quantile):
    with pytest.raises(ValueError, match="quantile must be above 0 and at most 1"):
        similarity_threshold(torch.eye(3), quantile)
