"""Noise models keep their rate, their seed, their kind and their direction; the report counts right."""

import hashlib
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsl_teach import noise

K = 10
N = 10_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


PROBABILITIES = (2 * torch.randn(N, K, generator=seeded(7), dtype=torch.float64)).softmax(dim=1)
CLEAN = PROBABILITIES.multinomial(1, generator=seeded(8)).squeeze(1)  # no model could know these samples better

Model = Callable[..., noise.NoisyLabels]


def by_confusion(rate, g, clean=CLEAN, **how) -> noise.NoisyLabels:
    return noise.instance_dependent_noise(PROBABILITIES, clean, rate, generator=g, **how)


MODELS: dict[str, Model] = {
    "symmetric": lambda rate, g, clean=CLEAN: noise.symmetric_noise(clean, rate, num_classes=K, generator=g),
    "pair flip": lambda rate, g, clean=CLEAN: noise.pair_flip_noise(clean, rate, num_classes=K, generator=g),
    "second choice": by_confusion,
    "most confusable": partial(by_confusion, temperature=0.0),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


@every_model
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.35, 0.45])
def test_realised_rate_is_the_requested_one(model: Model, rate: float) -> None:
    before = [tensor.clone() for tensor in (CLEAN, PROBABILITIES)]
    made = model(rate, seeded())
    assert int((made.noisy_labels != CLEAN).sum()) == round(rate * N)
    assert made.report.realised == pytest.approx(rate)
    assert torch.equal(made.clean_labels, CLEAN)
    assert all(torch.equal(a, b) for a, b in zip(before, (CLEAN, PROBABILITIES), strict=True))


@every_model
def test_the_seed_says_which_labels_and_is_0_where_none_is_given(model: Model) -> None:
    one, same, default, other = (model(0.3, g).noisy_labels for g in (seeded(), seeded(), None, seeded(1)))
    assert torch.equal(one, same)
    assert torch.equal(one, default)
    assert torch.equal(one, other) == (model is MODELS["most confusable"])


PINNED = {"symmetric": "c6f208f29273de68", "pair flip": "f6afb0f96a0a4262", "second choice": "c494536209a3308b"}


@pytest.mark.parametrize("name", PINNED)
def test_a_seed_gives_these_very_labels_on_every_machine(name: str) -> None:
    """Inputs by whole-number arithmetic alone: the same bits everywhere, whatever the library versions."""
    row, column = torch.arange(2000)[:, None], torch.arange(8)
    weight = (row * 37 + column * column * 11 + row * column) % 61 + 1
    labels = (torch.arange(2000) * 5 % 8).long()
    shares, how = weight.double() / weight.sum(dim=1, keepdim=True), {"generator": seeded(3)}
    made = {
        "symmetric": lambda: noise.symmetric_noise(labels, 0.4, num_classes=8, **how),
        "pair flip": lambda: noise.pair_flip_noise(labels, 0.4, num_classes=8, **how),
        "second choice": lambda: noise.instance_dependent_noise(shares, labels, 0.4, **how),
    }[name]()
    assert hashlib.sha256(made.noisy_labels.numpy().astype("<i8").tobytes()).hexdigest()[:16] == PINNED[name]


def test_symmetric_noise_spreads_evenly_over_the_other_classes() -> None:
    labels = torch.arange(50_000) % 5
    low, high = (noise.symmetric_noise(labels, rate, num_classes=5, generator=seeded()) for rate in (0.2, 0.4))
    expected = torch.full((5, 5), 0.1).double() + 0.5 * torch.eye(5).double()
    assert torch.allclose(high.report.transition_matrix, expected, atol=0.02)
    wrong = low.noisy_labels != labels
    assert torch.equal(high.noisy_labels[wrong], low.noisy_labels[wrong])  # a higher rate keeps them


def test_pair_flip_goes_to_the_next_class_and_the_true_class_leads_below_one_half() -> None:
    labels = torch.arange(N) % K
    for rate, leads in ((0.4, True), (0.6, False)):
        made = noise.pair_flip_noise(labels, rate, num_classes=K)
        wrong = made.noisy_labels != labels
        assert torch.equal(made.noisy_labels[wrong], (labels[wrong] + 1) % K)
        assert made.report.true_class_leads.tolist() == [leads] * K


def test_at_temperature_0_the_most_confusable_become_their_second_choice() -> None:
    probabilities = torch.tensor([[0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [1.0, 0.0, 0.0]])
    labels = torch.tensor([0, 0, 2, 1])  # p_s / p_y: 0.8, 3.5, 0.5, infinite
    for rate, expected in ((0.25, [0, 0, 2, 0]), (0.5, [0, 1, 2, 0]), (0.75, [1, 1, 2, 0])):
        made = noise.instance_dependent_noise(probabilities, labels, rate, generator=seeded(1), temperature=0.0)
        assert made.noisy_labels.tolist() == expected


def test_of_one_draw_the_weights_are_p_second_over_p_true() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.9, 0.1], [0.9, 0.1]]).double()
    weights = torch.tensor([1.0, 1 / 3, 1 / 9, 1 / 9]).double()
    labels, generator, hits = torch.zeros(4, dtype=torch.int64), seeded(), torch.zeros(4)
    for _ in range(2000):
        hits += noise.instance_dependent_noise(probabilities, labels, 0.25, generator=generator).noisy_labels
    assert torch.allclose(hits.double() / 2000, weights / weights.sum(), atol=0.04)


def test_a_network_without_a_second_choice_cannot_be_confused() -> None:
    certain = torch.eye(4).double()
    certain[0] = torch.tensor([0.6, 0.4, 0, 0])
    made = noise.instance_dependent_noise(certain, torch.arange(4), 0.25)
    assert made.noisy_labels.tolist() == [1, 1, 2, 3]
    with pytest.raises(ValueError, match=r"at most 0\.2500 can, since .* probability on the true class"):
        noise.instance_dependent_noise(certain, torch.arange(4), 0.5)


def test_a_report_of_a_hand_example() -> None:
    clean = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
    noisy = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 0])
    report = noise.noise_report(clean, noisy, 3)
    expected = torch.tensor([[3 / 4, 1 / 4, 0], [0, 1 / 3, 2 / 3], [0, 0, 1]], dtype=torch.float64)
    assert torch.equal(report.counts, torch.tensor([[3, 1, 0], [0, 1, 2], [0, 0, 2]]))
    assert torch.allclose(report.transition_matrix, expected)
    assert report.realised == pytest.approx(3 / 9)
    assert report.true_class_leads.tolist() == [True, False, False]  # label 1: a tie; label 2: a tie
    assert (report.share_to_frequent, noise.noise_report(noisy, clean.abs(), 3).share_to_frequent) == (0, 1 / 4)


LABEL = st.integers(0, 4)


@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=30), st.permutations(range(5)))
def test_rows_of_the_matrix_sum_to_one_and_follow_the_classes(pairs: list[tuple[int, int]], moved: list[int]) -> None:
    (clean, noisy), order = torch.tensor(pairs).T, torch.tensor(moved)
    report, renamed = noise.noise_report(clean, noisy, 5), noise.noise_report(order[clean], order[noisy], 5)
    there = report.counts.sum(dim=1) > 0  # the row of a class without samples is NaN
    expected = torch.where(there, 1.0, torch.nan).double()
    assert torch.allclose(report.transition_matrix.sum(dim=1), expected, equal_nan=True)
    assert report.true_class_leads[~there & (report.counts.sum(dim=0) == 0)].all()
    assert torch.equal(renamed.counts[order][:, order], report.counts)
    assert torch.equal(renamed.true_class_leads[order], report.true_class_leads)
    assert report.realised == pytest.approx(sum(a != b for a, b in pairs) / len(pairs))


@every_model
def test_a_rate_outside_0_to_1_and_bad_labels_are_refused(model: Model) -> None:
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="noise_rate must be at least 0 and below 1"):
            model(rate, seeded())
    with pytest.raises(ValueError, match=r"clean_labels must lie in 0 \.\. 9"):
        model(0.2, seeded(), CLEAN + 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_labels_are_the_same_and_a_gpu_generator_is_refused() -> None:
    on_gpu = noise.instance_dependent_noise(PROBABILITIES.cuda(), CLEAN.cuda(), 0.3, generator=seeded())
    assert torch.equal(on_gpu.noisy_labels, MODELS["second choice"](0.3, seeded()).noisy_labels)
    with pytest.raises(RuntimeError, match="generator"):
        noise.symmetric_noise(CLEAN, 0.2, num_classes=K, generator=torch.Generator("cuda"))
