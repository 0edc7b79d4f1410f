"""S, S_c, rho and eta against the loop reference, by hand, and by what must not change them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold
from tests import reference
from tests.strategies import SEEDS, random_embeddings, similarities

QUANTILES = st.sampled_from([0.01, 0.25, 0.4, 0.5, 0.6, 0.75, 0.999, 1.0])


@given(random_embeddings())
def test_similarity_equals_the_loop_reference(embeddings):
    expected = torch.tensor(reference.cosine_similarity(embeddings.tolist()), dtype=embeddings.dtype)
    tolerance = 1e-5 if embeddings.dtype == torch.float32 else 1e-12
    torch.testing.assert_close(cosine_similarity(embeddings), expected, atol=tolerance, rtol=0)


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
