"""The choice of prototypes against the loop reference, its properties, and what it refuses."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach.prototypes import class_scores, correct_labels, sample_by_class, select_prototypes
from dsl_teach.prototypes.selection import choose
from tests import reference
from tests.strategies import DTYPES, LABELLED_ROWS, SEEDS, select, signs_of

READINGS = {"diagonal": st.booleans(), "rho_ties": st.sampled_from(["strict", "order"])}
READINGS |= {"fill_up": st.booleans(), "cut_ties": st.sampled_from(["eta", "index"])}


def reference_rows(rows, members, *, p, eta_max, quantile, diagonal, rho_ties, fill_up, cut_ties):
    similarity = reference.cosine_similarity([rows[i] for i in members])
    rho = reference.density(similarity, reference.similarity_threshold(similarity, 1 - quantile, diagonal=diagonal))
    eta = reference.eta(similarity, rho, rho_ties=rho_ties)
    chosen = reference.choose(rho, eta, p=p, eta_max=eta_max, fill_up=fill_up, cut_ties=cut_ties)
    return [members[i] for i in chosen], [rho[i] for i in chosen], [eta[i] for i in chosen], eta


QUANTILES, GATES = st.sampled_from([0.2, 0.5, 0.6, 1.0]), st.sampled_from([0.0, 0.5, 0.95, 2.0])


@given(LABELLED_ROWS, DTYPES, st.integers(1, 6), QUANTILES, GATES, st.fixed_dictionaries(READINGS))
def test_selection_equals_the_loop_reference(labelled, dtype, p, quantile, eta_max, readings):
    rows, labels = zip(*labelled, strict=True)
    embeddings, how = torch.tensor(rows, dtype=dtype), {"quantile": quantile, "eta_max": eta_max, **readings}
    found = select(embeddings, torch.tensor(labels), p=p, m=40, **how)
    signs = signs_of(rows)
    for c in range(3):
        members = [i for i, label in enumerate(labels) if label == c]
        count = int(found.count[c])
        assert int(found.sampled[c]) == len(members)
        if not members:
            assert count == 0
            continue
        index, rho, eta, all_eta = reference_rows(signs, members, p=p, **how)
        assert found.index[c].tolist() == index + [-1] * (p - count)
        assert found.rho[c, :count].tolist() == rho
        assert found.eta[c, :count].tolist() == eta
        assert int(found.passed[c]) == sum(value < eta_max for value in all_eta)
        assert int(found.filled[c]) == sum(value >= eta_max for value in eta)
        assert int(found.zeros[c]) == sum(not any(signs[i]) for i in members)
        assert torch.equal(found.embeddings[c, :count], embeddings[index])
        assert not found.embeddings[c, count:].any()
        assert bool(found.eta[c, count:].isnan().all())


SAMPLES = st.tuples(st.integers(-3, 3), st.sampled_from([-1.0, 0.2, 0.949, 0.95, 1.0]))


@given(st.lists(SAMPLES, min_size=1, max_size=12), st.integers(1, 14), st.booleans(), READINGS["cut_ties"])
def test_choice_equals_picking_one_after_the_other(samples, p, fill_up, cut_ties):
    rho, eta = zip(*samples, strict=True)
    how = {"p": p, "eta_max": 0.95, "fill_up": fill_up, "cut_ties": cut_ties}
    chosen = choose(torch.tensor(rho), torch.tensor(eta, dtype=torch.float64), **how)
    assert chosen.tolist() == reference.choose(rho, eta, **how)


@given(LABELLED_ROWS, SEEDS, st.integers(1, 5))
def test_permuting_the_samples_changes_nothing_but_row_numbers(labelled, seed, p):
    """Samples equal in rho and eta may take each other's place; nothing else may change."""
    rows, labels = zip(*labelled, strict=True)
    embeddings, labels = torch.tensor(rows, dtype=torch.float64), torch.tensor(labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    before, after = select(embeddings, labels, p=p), select(embeddings[order], labels[order], p=p)
    assert torch.equal(after.rho, before.rho)
    assert torch.equal(after.eta.nan_to_num(9), before.eta.nan_to_num(9))
    for c in range(3):
        assert (labels[order][after.index[c, : after.count[c]]] == c).all()


class TestSampling:
    labels = torch.tensor([0] * 50 + [1] * 5 + [2] * 20)

    def test_at_most_m_of_each_class_without_repetition(self):
        drawn = sample_by_class(self.labels, num_classes=3, m=10)
        assert [len(rows) for rows in drawn] == [10, 5, 10]
        assert all(len(set(rows.tolist())) == len(rows) for rows in drawn)
        assert all((self.labels[rows] == c).all() for c, rows in enumerate(drawn))

    def test_a_known_seed_gives_a_known_draw(self):
        drawn = sample_by_class(self.labels, num_classes=3, m=4, generator=torch.Generator().manual_seed(0))
        assert [rows.tolist() for rows in drawn] == [[6, 7, 39, 44], [50, 51, 52, 54], [55, 56, 64, 71]]


def test_an_empty_class_warns_once_and_has_no_prototype():
    with pytest.warns(UserWarning, match=r"class\(es\) \[1\]") as caught:
        found = select_prototypes(torch.randn(8, 3), torch.tensor([0, 2] * 4), num_classes=3, p=2)
    assert len(caught) == 1
    assert found.count.tolist() == [2, 0, 2]


def test_prototypes_and_labels_on_the_device_equal_those_of_the_cpu(device):
    embeddings = torch.randn(300, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(300) % 3
    here, there = select(embeddings, labels), select(embeddings.to(device), labels.to(device))
    moved = here.to(device)
    assert torch.equal(there.index, moved.index)
    for field in dataclasses.fields(here):
        assert getattr(there, field.name).device.type == getattr(moved, field.name).device.type == device.type
    corrected = correct_labels(embeddings.to(device), moved, labels.to(device))
    assert torch.equal(corrected.cpu(), correct_labels(embeddings, here, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_to_float32_also_in_scores(dtype):
    embeddings = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    labels = torch.arange(60) % 3
    found = select(embeddings, labels)
    assert found.embeddings.dtype == class_scores(embeddings, found).dtype == torch.float32
    assert torch.equal(found.index, select(embeddings.float(), labels).index)
    assert torch.equal(class_scores(embeddings, found), class_scores(embeddings.float(), found))
