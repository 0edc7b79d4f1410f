"""Noise models keep their rate, their seed and their kind; the report counts right; files come back as they were."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dsl_teach.noise.draws import draw, flip_probabilities
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl_teach import noise

K = 10
N = 10_000
RATES = (0.0, 0.1, 0.2, 0.35, 0.45)
SWAPS = {c: c ^ 1 for c in range(K)}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def posterior(count: int = N, seed: int = 7, sharpness: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Calibrated class probabilities, and true classes drawn from them: no model could know these samples better."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((count, K))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((count, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    return torch.from_numpy(probabilities), torch.from_numpy(labels).long()


PROBABILITIES, CLEAN = posterior()
FEATURES = torch.from_numpy(np.random.default_rng(1).standard_normal((N, 12)))

Model = Callable[..., noise.NoisyLabels]
MODELS: dict[str, Model] = {
    "symmetric": lambda rate, g: noise.symmetric_noise(CLEAN, rate, num_classes=K, generator=g),
    "pair flip": lambda rate, g: noise.pair_flip_noise(CLEAN, rate, num_classes=K, generator=g),
    "asymmetric": lambda rate, g: noise.asymmetric_noise(CLEAN, rate, SWAPS, num_classes=K, generator=g),
    "second choice": lambda rate, g: noise.instance_dependent_noise(PROBABILITIES, CLEAN, rate, generator=g),
    "most confusable": lambda rate, g: noise.instance_dependent_noise(
        PROBABILITIES, CLEAN, rate, generator=g, temperature=0.0
    ),
    "PMD I": lambda rate, g: noise.pmd_noise(PROBABILITIES, CLEAN, rate, kind="I", generator=g),
    "PMD II": lambda rate, g: noise.pmd_noise(PROBABILITIES, CLEAN, rate, kind="II", generator=g),
    "PMD III": lambda rate, g: noise.pmd_noise(PROBABILITIES, CLEAN, rate, kind="III", generator=g),
    "part-dependent": lambda rate, g: noise.part_dependent_noise(FEATURES, CLEAN, rate, num_classes=K, generator=g),
}
CLASS_DEPENDENT = ("symmetric", "pair flip", "asymmetric")
CONFUSION = ("second choice", "most confusable", "PMD I", "PMD II", "PMD III")

every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


# What every model promises


@every_model
@pytest.mark.parametrize("rate", RATES)
def test_realised_rate_is_the_requested_one(model: Model, rate: float) -> None:
    made = model(rate, seeded())
    wrong = int((made.noisy_labels != CLEAN).sum())
    assert wrong == round(rate * N)  # far within half a point
    assert made.report.realised == pytest.approx(rate)
    assert made.report.requested == rate
    assert torch.equal(made.clean_labels, CLEAN)


@every_model
def test_a_seed_gives_the_same_labels_and_leaves_the_inputs_alone(model: Model) -> None:
    before = [tensor.clone() for tensor in (CLEAN, PROBABILITIES, FEATURES)]
    first, again = model(0.3, seeded(5)), model(0.3, seeded(5))
    assert torch.equal(first.noisy_labels, again.noisy_labels)
    assert first.recipe == again.recipe
    assert all(torch.equal(a, b) for a, b in zip(before, (CLEAN, PROBABILITIES, FEATURES), strict=True))


@pytest.mark.parametrize("name", [name for name in MODELS if name != "most confusable"])
def test_another_seed_gives_other_labels(name: str) -> None:
    one, other = MODELS[name](0.3, seeded(1)), MODELS[name](0.3, seeded(2))
    assert not torch.equal(one.noisy_labels, other.noisy_labels)


@every_model
def test_without_a_generator_the_seed_is_0(model: Model) -> None:
    assert torch.equal(model(0.3, None).noisy_labels, model(0.3, seeded(0)).noisy_labels)


@every_model
def test_the_recipe_is_plain_json_and_tells_whether_the_seed_is_enough(model: Model) -> None:
    generator = seeded(11)
    fresh, used = model(0.3, generator), model(0.3, generator)
    assert json.loads(json.dumps(fresh.recipe, allow_nan=False)) == fresh.recipe
    assert (fresh.recipe["seed"], fresh.recipe["noise_rate"]) == (11, 0.3)
    assert fresh.recipe["seed_is_enough"]
    assert not used.recipe["seed_is_enough"]


PINNED = {
    "symmetric": "c6f208f29273de68",
    "pair flip": "f6afb0f96a0a4262",
    "asymmetric": "f20b1c9b0d3f3d54",
    "second choice": "c494536209a3308b",
    "PMD": "ee71497b8919753e",
    "part-dependent": "d40326ea41ff3846",
}


def dyadic_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs by whole-number arithmetic alone: the same bits everywhere, whatever the library versions."""
    row, column = torch.arange(2000)[:, None], torch.arange(8)
    weight = (row * 37 + column * column * 11 + row * column) % 61 + 1
    labels = (torch.arange(2000) * 5 % 8).long()
    return weight.double() / weight.sum(dim=1, keepdim=True), labels, weight


def pinned_labels() -> dict[str, torch.Tensor]:
    probabilities, labels, weight = dyadic_case()
    made = {
        "symmetric": noise.symmetric_noise(labels, 0.4, num_classes=8, generator=seeded(3)),
        "pair flip": noise.pair_flip_noise(labels, 0.4, num_classes=8, generator=seeded(3)),
        "asymmetric": noise.asymmetric_noise(labels, 0.2, {0: 1, 1: 0, 7: 2}, num_classes=8, generator=seeded(3)),
        "second choice": noise.instance_dependent_noise(probabilities, labels, 0.4, generator=seeded(3)),
        "PMD": noise.pmd_noise(probabilities, labels, 0.15, kind="III", generator=seeded(3)),
        "part-dependent": noise.part_dependent_noise(weight, labels, 0.4, num_classes=8, generator=seeded(3)),
    }
    return {name: labels.noisy_labels for name, labels in made.items()}


@pytest.mark.parametrize("name", PINNED)
def test_a_seed_gives_these_very_labels_on_every_machine(name: str) -> None:
    labels = pinned_labels()[name]
    assert hashlib.sha256(labels.numpy().astype("<i8").tobytes()).hexdigest()[:16] == PINNED[name]


# Class-dependent models


@given(rate=st.floats(0, 0.999), num_classes=st.integers(2, 6), count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_symmetric_flips_an_exact_number_to_other_classes(rate: float, num_classes: int, count: int, seed: int) -> None:
    labels = torch.arange(count) % num_classes
    made = noise.symmetric_noise(labels, rate, num_classes=num_classes, generator=seeded(seed))
    assert int((made.noisy_labels != labels).sum()) == round(rate * count)
    assert 0 <= int(made.noisy_labels.min()) <= int(made.noisy_labels.max()) < num_classes


def test_symmetric_noise_spreads_evenly_over_the_other_classes() -> None:
    labels = torch.arange(50_000) % 5
    matrix = noise.symmetric_noise(labels, 0.4, num_classes=5, generator=seeded()).report.transition_matrix
    assert torch.allclose(matrix, torch.full((5, 5), 0.1).double() + 0.5 * torch.eye(5).double(), atol=0.02)


def test_a_higher_rate_keeps_the_wrong_labels_of_a_lower() -> None:
    low, high = (MODELS["symmetric"](rate, seeded(4)).noisy_labels for rate in (0.2, 0.4))
    wrong = low != CLEAN
    assert torch.equal(high[wrong], low[wrong])


def test_pair_flip_goes_to_the_next_class_and_the_last_to_the_first() -> None:
    made = MODELS["pair flip"](0.45, seeded())
    wrong = made.noisy_labels != CLEAN
    assert torch.equal(made.noisy_labels[wrong], (CLEAN[wrong] + 1) % K)
    assert made.recipe["name"] == "pair_flip_noise"


def test_asymmetric_noise_stays_inside_the_map() -> None:
    labels = torch.arange(10_000) % 10
    made = noise.asymmetric_noise(labels, 0.2, noise.CIFAR10_CONFUSIONS, num_classes=10, generator=seeded())
    matrix = made.report.transition_matrix
    for c in range(10):
        wrong = noise.CIFAR10_CONFUSIONS.get(c)
        assert float(matrix[c, c]) == (1.0 if wrong is None else pytest.approx(0.6, abs=0.06))
        assert wrong is None or float(matrix[c, wrong]) == pytest.approx(1 - float(matrix[c, c]))


def test_asymmetric_noise_says_which_rate_the_map_allows() -> None:
    labels = torch.tensor([0, 0, 1, 2])
    made = noise.asymmetric_noise(labels, 0.5, {0: 1}, num_classes=3, generator=seeded())
    assert made.noisy_labels.tolist() == [1, 1, 1, 2]
    with pytest.raises(ValueError, match=r"noise_rate 0\.75 cannot be reached: at most 0\.5000"):
        noise.asymmetric_noise(labels, 0.75, {0: 1}, num_classes=3)


# Confusion by a clean-trained network


def test_at_temperature_0_the_most_confusable_become_their_second_choice() -> None:
    probabilities = torch.tensor([[0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [0.98, 0.01, 0.01]])
    labels = torch.tensor([0, 0, 2, 0])  # p_s / p_y: 0.8, 3.5, 0.5, 0.01
    for seed in range(3):
        made = noise.instance_dependent_noise(probabilities, labels, 0.5, generator=seeded(seed), temperature=0.0)
        assert made.noisy_labels.tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 20.0])
def test_a_flipped_sample_becomes_the_likeliest_class_other_than_its_own(temperature: float) -> None:
    made = noise.instance_dependent_noise(
        PROBABILITIES, CLEAN, 0.3, generator=seeded(), temperature=temperature
    ).noisy_labels
    others = PROBABILITIES.scatter(1, CLEAN[:, None], 0.0)
    wrong = made != CLEAN
    assert torch.equal(made[wrong], others.argmax(dim=1)[wrong])


def test_temperature_turns_confusion_into_chance() -> None:
    confusion = PROBABILITIES.scatter(1, CLEAN[:, None], 0.0).amax(1) / PROBABILITIES.gather(1, CLEAN[:, None])[:, 0]
    heat = (0.0, 1.0, 5.0, 1000.0)
    means = []
    for temperature in heat:
        made = noise.instance_dependent_noise(PROBABILITIES, CLEAN, 0.3, generator=seeded(), temperature=temperature)
        means.append(float(confusion[made.noisy_labels != CLEAN].log().mean()))
    assert means == sorted(means, reverse=True)
    assert means[-1] == pytest.approx(float(confusion.log().mean()), abs=0.1)


def test_of_one_draw_the_weights_are_p_second_over_p_true() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.9, 0.1], [0.9, 0.1]]).double()
    weights = torch.tensor([1.0, 1 / 3, 1 / 9, 1 / 9]).double()
    labels, generator, hits = torch.zeros(4, dtype=torch.int64), seeded(), torch.zeros(4)
    for _ in range(2000):
        hits += noise.instance_dependent_noise(probabilities, labels, 0.25, generator=generator).noisy_labels
    assert torch.allclose(hits.double() / 2000, weights / weights.sum(), atol=0.04)


def test_a_network_without_a_second_choice_cannot_be_confused() -> None:
    certain = torch.eye(4)[[0, 1, 2, 3]].double()
    certain[0] = torch.tensor([0.6, 0.4, 0, 0])
    made = noise.instance_dependent_noise(certain, torch.arange(4), 0.25)
    assert made.noisy_labels.tolist() == [1, 1, 2, 3]
    with pytest.raises(ValueError, match=r"at most 0\.2500 can, since .* probability on the true class"):
        noise.instance_dependent_noise(certain, torch.arange(4), 0.5)


def test_a_true_class_of_probability_0_flips_first() -> None:
    probabilities = torch.tensor([[0.4, 0.6], [1.0, 0.0]])
    made = noise.instance_dependent_noise(probabilities, torch.tensor([0, 1]), 0.5, temperature=0.0)
    assert made.noisy_labels.tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["I", "II", "III"])
def test_pmd_swaps_the_two_most_probable_classes_and_nothing_else(kind: str) -> None:
    made = MODELS[f"PMD {kind}"](0.3, seeded()).noisy_labels
    top = PROBABILITIES.topk(2, dim=1).indices
    wrong = made != CLEAN
    pairs = torch.stack([CLEAN, made], dim=1)[wrong].sort(dim=1).values
    assert torch.equal(pairs, top[wrong].sort(dim=1).values)


@pytest.mark.parametrize(
    ("kind", "tau"),
    [
        ("I", lambda m: 0.5 - 0.5 * m**2),
        ("II", lambda m: 1 - m**3),
        ("III", lambda m: 1 - m**3 / 3 - m**2 / 3 - m / 3),
    ],
)
def test_pmd_flips_in_proportion_to_the_polynomial_of_the_margin(kind: str, tau: Callable[[float], float]) -> None:
    margins = torch.tensor([0.1, 0.5, 0.9]).double().repeat(20_000)
    probabilities = torch.stack([(1 + margins) / 2, (1 - margins) / 2], dim=1)
    made = noise.pmd_noise(probabilities, torch.zeros(60_000).long(), 0.1, kind=kind, generator=seeded())  # type: ignore[arg-type]
    shares = made.noisy_labels.view(-1, 3).double().mean(dim=0)
    expected = torch.tensor([tau(0.1), tau(0.5), tau(0.9)]).double()
    assert made.recipe["certain_flips"] == 0
    assert torch.allclose(shares, expected * (0.1 / expected.mean()), atol=0.007)


def test_pmd_says_which_rate_a_confident_network_allows() -> None:
    probabilities = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.4, 0.0], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
    labels = torch.tensor([0, 0, 2, 2])  # a margin of 1; fine; true class is the third; a margin of 1
    assert noise.pmd_noise(probabilities, labels, 0.25).noisy_labels.tolist() == [0, 1, 2, 2]
    with pytest.raises(ValueError, match=r"noise_rate 0\.5 cannot be reached: at most 0\.2500"):
        noise.pmd_noise(probabilities, labels, 0.5)


# The part-dependent model


def test_part_dependent_labels_follow_the_features() -> None:
    twice = FEATURES[:2000].repeat(2, 1) * 3  # a strong pull leaves little to chance
    labels = CLEAN[:2000].repeat(2)
    made = noise.part_dependent_noise(twice, labels, 0.45, num_classes=K, generator=seeded()).noisy_labels
    one, other = made[:2000], made[2000:]
    both = (one != labels[:2000]) & (other != labels[:2000])
    assert int(both.sum()) > 200
    assert float((one == other)[both].double().mean()) > 0.5  # 1 / 9 by chance


def test_part_dependent_labels_do_not_depend_on_the_unit() -> None:
    pixels = (FEATURES * 40 + 128).clamp(0, 255).to(torch.uint8).view(N, 3, 2, 2)
    as_bytes, as_floats = (
        noise.part_dependent_noise(x, CLEAN, 0.3, num_classes=K, generator=seeded()).noisy_labels
        for x in (pixels, pixels.double() / 256 - 4)
    )
    assert torch.equal(as_bytes, as_floats)


def test_part_dependent_rates_are_spread_around_the_requested_one() -> None:
    rates = noise.by_image._truncated_normal(0.4, 50_000, seeded())
    assert float(rates.mean()) == pytest.approx(0.4, abs=0.002)
    assert float(rates.std()) == pytest.approx(0.1, abs=0.002)
    assert bool((noise.by_image._truncated_normal(0.05, 50_000, seeded()) > 0).all())


# Draws of an exact size


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.data())
def test_flip_probabilities_add_up_and_keep_the_order(weights: list[float], data: st.DataObject) -> None:
    w = torch.tensor(weights, dtype=torch.float64)
    count = data.draw(st.integers(0, int((w > 1e-200).sum())))
    q = flip_probabilities(w.where(w > 1e-200, 0), count)
    assert float(q.sum()) == pytest.approx(count, abs=1e-6)
    assert bool(((q >= 0) & (q <= 1)).all())
    assert bool((q[w.argsort()].diff() >= -1e-12).all())
    taken = draw(q, seeded())
    assert len(taken) == count == len(taken.unique())
    assert bool((q[taken] > 0).all())


def test_draw_takes_each_sample_with_its_own_probability() -> None:
    q = torch.tensor([1.0, 0.5, 0.25, 0.25, 0.9, 0.1]).double()
    generator, hits = seeded(), torch.zeros(6)
    for _ in range(4000):
        hits[draw(q, generator)] += 1
    assert hits[0] == 4000
    assert torch.allclose(hits.double() / 4000, q, atol=0.03)


# The report


def test_transition_matrix_of_a_hand_example() -> None:
    clean = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
    noisy = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 0])
    report = noise.noise_report(clean, noisy, 3, requested=0.3)
    expected = torch.tensor([[3 / 4, 1 / 4, 0], [0, 1 / 3, 2 / 3], [0, 0, 1]], dtype=torch.float64)
    assert torch.equal(report.counts, torch.tensor([[3, 1, 0], [0, 1, 2], [0, 0, 2]]))
    assert torch.allclose(report.transition_matrix, expected)
    assert torch.equal(noise.transition_matrix(clean, noisy, 3), report.transition_matrix)
    assert torch.allclose(report.class_rates, torch.tensor([1 / 4, 2 / 3, 0], dtype=torch.float64))
    assert report.realised == pytest.approx(3 / 9)
    assert (report.num_samples, report.num_unknown, report.requested) == (9, 1, 0.3)
    assert report.right_label_leads.tolist() == [True, False, True]  # class 1 is mostly labelled 2
    assert report.true_class_leads.tolist() == [True, False, False]  # label 1: a tie; label 2: a tie
    assert not report.plurality_kept


def test_the_two_readings_of_plurality_differ() -> None:
    clean = torch.tensor([0] * 10 + [1] * 2)
    noisy = torch.tensor([0] * 6 + [1] * 4 + [1] * 2)
    report = noise.noise_report(clean, noisy, 2)
    assert report.right_label_leads.tolist() == [True, True]
    assert report.true_class_leads.tolist() == [True, False]  # most samples labelled 1 are of class 0
    assert not report.plurality_kept


def test_pair_flip_loses_the_plurality_at_one_half() -> None:
    labels = torch.arange(10_000) % 10
    kept, lost = (noise.pair_flip_noise(labels, rate, num_classes=10).report for rate in (0.4, 0.6))
    assert kept.plurality_kept
    assert not bool(lost.right_label_leads.any())
    assert not bool(lost.true_class_leads.any())


def test_a_class_without_samples_has_no_rate_and_no_complaint() -> None:
    report = noise.noise_report(torch.tensor([0, 0, 2]), torch.tensor([0, 0, 2]), 4)
    assert report.transition_matrix[1].isnan().all()
    assert report.class_rates.isnan().tolist() == [False, True, False, True]
    assert report.plurality_kept


@given(st.data())
def test_rows_of_the_matrix_sum_to_one_and_follow_the_classes(data: st.DataObject) -> None:
    k = data.draw(st.integers(2, 5))
    label = st.integers(0, k - 1)
    pairs = data.draw(st.lists(st.tuples(label, label), min_size=1, max_size=30))
    order = torch.tensor(data.draw(st.permutations(range(k))))
    clean, noisy = torch.tensor(pairs).T
    report, renamed = noise.noise_report(clean, noisy, k), noise.noise_report(order[clean], order[noisy], k)
    sums = report.transition_matrix.sum(dim=1)
    assert torch.allclose(sums[report.counts.sum(dim=1) > 0], torch.ones(1).double())
    assert torch.equal(renamed.counts[order][:, order], report.counts)
    assert torch.equal(renamed.right_label_leads[order], report.right_label_leads)
    assert torch.equal(renamed.true_class_leads[order], report.true_class_leads)
    assert report.realised == pytest.approx(sum(a != b for a, b in pairs) / len(pairs))


def test_the_report_prints_and_becomes_a_frame() -> None:
    made = MODELS["pair flip"](0.2, seeded())
    text = str(made)
    assert text.startswith("pair_flip_noise: 20.00% of 10000 labels are wrong (requested 20.00%).")
    assert len(text.splitlines()) == 4 + 1 + K
    frame = made.report.to_frame()
    assert frame.index.name == "class"
    assert frame["samples"].sum() == frame["labelled_so"].sum() == N
    assert frame["commonest_wrong_label"].tolist() == [(c + 1) % K for c in range(K)]
    many = torch.arange(40)
    assert "label" not in str(noise.noise_report(many, many, 40)).splitlines()[-1].split()[0]


# Input-dependent or only class-dependent


@pytest.mark.parametrize("name", CLASS_DEPENDENT)
def test_class_dependent_noise_has_a_ratio_of_one(name: str) -> None:
    found = [
        noise.input_dependence(PROBABILITIES, CLEAN, MODELS[name](0.3, seeded(seed)).noisy_labels)
        for seed in range(100)
    ]
    assert np.mean([one.ratio for one in found]) == pytest.approx(1, abs=0.01)
    assert all(one.high - one.low < 0.2 for one in found)
    assert sum(one.low < 1 < one.high for one in found) >= 89  # 95 expected
    assert sum(one.input_dependent for one in found) <= 8  # 2.5 expected
    assert "not told apart" in str(min(found, key=lambda one: one.low))


@pytest.mark.parametrize("name", CONFUSION)
def test_confusion_has_a_ratio_clearly_above_one(name: str) -> None:
    found = noise.input_dependence(PROBABILITIES, CLEAN, MODELS[name](0.3, seeded()).noisy_labels)
    assert found.low > 1.5
    assert found.input_dependent
    assert found.num_mislabelled == 3000


def test_input_dependence_of_a_hand_example() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.5, 0.5]])
    clean = torch.tensor([0, 0, 0, 1, -1])
    noisy = torch.tensor([1, 0, 0, 0, 0])  # on the images 0.5 and 0.4; class means 0.3 and 0.4
    found = noise.input_dependence(probabilities, clean, noisy)
    assert found.on_image == pytest.approx(0.45)
    assert found.class_mean == pytest.approx(0.35)
    assert found.ratio == pytest.approx(0.45 / 0.35)
    assert found.num_mislabelled == 2
    assert (found.low + found.high) / 2 == pytest.approx(found.ratio)


def test_input_dependence_needs_wrong_labels() -> None:
    with pytest.raises(ValueError, match=r"0 wrong label\(s\); this check needs at least two"):
        noise.input_dependence(PROBABILITIES, CLEAN, CLEAN)
    with pytest.raises(ValueError, match="clean_labels must have one entry for each of the 10000 rows"):
        noise.input_dependence(PROBABILITIES, CLEAN[:5], CLEAN[:5])
    with pytest.raises(ValueError, match="0 everywhere in their classes"):
        noise.input_dependence(torch.eye(2)[[0, 0]], torch.tensor([0, 0]), torch.tensor([1, 1]))


# What is refused


@every_model
@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(model: Model, rate: float) -> None:
    with pytest.raises(ValueError, match="noise_rate must be at least 0 and below 1"):
        model(rate, seeded())


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (CLEAN.int(), r"clean_labels must be one int64 number a sample.*\.long\(\)"),
        (CLEAN[:, None], r"clean_labels must be one int64 number a sample"),
        (CLEAN + 1, r"clean_labels must lie in 0 \.\. 9"),
        (CLEAN - 1, r"clean_labels must lie in 0 \.\. 9"),
    ],
    ids=["int32", "matrix", "too high", "negative"],
)
@pytest.mark.parametrize("kind", ["symmetric", "pair flip", "second choice", "PMD", "part"])
def test_bad_labels_are_refused(labels: torch.Tensor, sentence: str, kind: str) -> None:
    models: dict[str, Callable[[], object]] = {
        "symmetric": lambda: noise.symmetric_noise(labels, 0.2, num_classes=K),
        "pair flip": lambda: noise.pair_flip_noise(labels, 0.2, num_classes=K),
        "second choice": lambda: noise.instance_dependent_noise(PROBABILITIES, labels, 0.2),
        "PMD": lambda: noise.pmd_noise(PROBABILITIES, labels, 0.2),
        "part": lambda: noise.part_dependent_noise(FEATURES, labels, 0.2, num_classes=K),
    }
    with pytest.raises(ValueError, match=sentence):
        models[kind]()


@pytest.mark.parametrize(
    ("probabilities", "sentence"),
    [
        (PROBABILITIES.numpy(), "floating-point tensor.*torch.as_tensor"),
        (PROBABILITIES[0], "floating-point tensor of shape"),
        (CLEAN[:, None].repeat(1, K), "floating-point tensor of shape"),
        (torch.ones(N, 1), "at least 2 classes, but have 1"),
        (PROBABILITIES.log(), r"sum to 1 in every row.*10000 row\(s\) do not.*row 0.*softmax"),
        (PROBABILITIES * 1.1, "sum to 1"),
        (PROBABILITIES.clone().index_fill_(0, torch.tensor([4]), torch.nan), r"1 row\(s\) do not, the first is row 4"),
        (PROBABILITIES[:-1], "one entry for each of the 9999 samples"),
    ],
    ids=["array", "vector", "whole numbers", "one class", "logits", "too large", "NaN", "too short"],
)
@pytest.mark.parametrize("model", [noise.instance_dependent_noise, noise.pmd_noise], ids=["second choice", "PMD"])
def test_bad_probabilities_are_refused(model: Model, probabilities: torch.Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        model(probabilities, CLEAN, 0.2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: noise.instance_dependent_noise(PROBABILITIES, CLEAN, 0.2, temperature=-1.0), "temperature must be"),
        (lambda: noise.instance_dependent_noise(PROBABILITIES, CLEAN, 0.2, temperature=np.inf), "temperature must be"),
        (lambda: noise.pmd_noise(PROBABILITIES, CLEAN, 0.2, kind="IV"), "kind must be 'I', 'II' or 'III'"),  # type: ignore[arg-type]
        (lambda: noise.symmetric_noise(CLEAN * 0, 0.2, num_classes=1), "num_classes must be at least 2"),
        (lambda: noise.asymmetric_noise(CLEAN, 0.2, {3: 10}, num_classes=K), "class_map must lead.*3 to 10"),
        (lambda: noise.part_dependent_noise(CLEAN.double(), CLEAN, 0.2, num_classes=K), "features must be a tensor"),
        (lambda: noise.part_dependent_noise(FEATURES * 0, CLEAN, 0.2, num_classes=K), "not all the same"),
        (lambda: noise.part_dependent_noise(FEATURES / 0, CLEAN, 0.2, num_classes=K), "features must be finite"),
        (lambda: noise.part_dependent_noise(FEATURES[1:], CLEAN, 0.2, num_classes=K), "each of the 9999 samples"),
        (lambda: noise.noise_report(torch.tensor([-1]), torch.tensor([0]), 2), "nothing to report"),
        (lambda: noise.noise_report(torch.tensor([-2]), torch.tensor([0]), 2), r"clean_labels must lie in 0 \.\. 1"),
        (lambda: noise.NoisyLabels(CLEAN[1:], CLEAN, K), "noisy_labels must have one entry"),
        (lambda: noise.NoisyLabels(CLEAN, CLEAN, K - 1), r"must lie in 0 \.\. 8"),
    ],
)
def test_bad_settings_are_refused_by_name(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_labels_are_the_same_and_a_gpu_generator_is_refused() -> None:
    on_gpu = noise.instance_dependent_noise(PROBABILITIES.cuda(), CLEAN.cuda(), 0.3, generator=seeded())
    assert torch.equal(on_gpu.noisy_labels, MODELS["second choice"](0.3, seeded()).noisy_labels)
    with pytest.raises(ValueError, match="generator must live on the CPU"):
        noise.symmetric_noise(CLEAN, 0.2, num_classes=K, generator=torch.Generator("cuda"))


# Files


@settings(max_examples=20)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=20), st.integers(0, 2**32))
def test_labels_come_back_with_their_recipe(
    tmp_path_factory: pytest.TempPathFactory, clean: list[int], seed: int
) -> None:
    path = tmp_path_factory.mktemp("labels") / "new folder" / "labels"  # no ending: the name is kept
    labels = noise.NoisyLabels(
        torch.tensor(clean).clamp(min=0), torch.tensor(clean), 4, {"name": "größer", "seed": seed}
    )
    noise.save_labels(path, labels)
    back = noise.load_labels(path)
    assert torch.equal(back.noisy_labels, labels.noisy_labels)
    assert torch.equal(back.clean_labels, labels.clean_labels)
    assert (back.num_classes, back.recipe) == (4, labels.recipe)
    assert [file.name for file in path.parent.iterdir()] == ["labels"]  # nothing half-written stays behind


def test_a_failed_save_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.npz"
    noise.save_labels(path, MODELS["symmetric"](0.2, seeded()))
    before = path.read_bytes()

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="No space left"):
        noise.save_labels(path, MODELS["symmetric"](0.4, seeded()))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("recipe", [{"rate": float("nan")}, {"labels": torch.zeros(1)}])
def test_a_recipe_that_is_not_json_is_refused(tmp_path: Path, recipe: dict) -> None:
    with pytest.raises(ValueError, match="recipe must be plain JSON"):
        noise.save_labels(tmp_path / "labels.npz", noise.NoisyLabels(CLEAN, CLEAN, K, recipe))
    assert list(tmp_path.iterdir()) == []


class Bomb:
    """Would leave a mark if a pickle of it were opened."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was opened",))


def archive(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def head(**changes: object) -> np.ndarray:
    return np.array(json.dumps({"format": noise.files.FORMAT, "num_classes": 3, "recipe": {}} | changes))


ONE = np.zeros(4, dtype=np.int64)
FOREIGN = {
    "empty": b"",
    "text": b"0 1 2 3\n",
    "pickle": pickle.dumps(Bomb()),
    "pickled objects": archive(head=np.array(Bomb(), dtype=object), noisy_labels=ONE, clean_labels=ONE),
    "another archive": archive(labels=ONE),
    "no JSON": archive(head=np.array("labels"), noisy_labels=ONE, clean_labels=ONE),
    "another format": archive(head=head(format="labels 7"), noisy_labels=ONE, clean_labels=ONE),
    "no recipe": archive(head=head(recipe=None), noisy_labels=ONE, clean_labels=ONE),
    "no classes": archive(head=head(num_classes=None), noisy_labels=ONE, clean_labels=ONE),
    "JSON list": archive(head=np.array("[]"), noisy_labels=ONE, clean_labels=ONE),
    "float labels": archive(head=head(), noisy_labels=ONE / 2, clean_labels=ONE),
    "unequal lengths": archive(head=head(), noisy_labels=ONE, clean_labels=ONE[1:]),
    "out of range": archive(head=head(), noisy_labels=ONE + 3, clean_labels=ONE),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "theirs.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"theirs\.npz is not a label file .*\. Make it again with save_labels"):
        noise.load_labels(path)


def test_a_cut_or_damaged_file_is_refused_and_a_missing_one_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    noise.save_labels(path, MODELS["symmetric"](0.2, seeded()))
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 20]) + whole[middle + 20 :]
    for broken in [damaged, *(whole[:cut] for cut in (1, 30, middle, len(whole) - 1))]:
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="is not a label file of dsl_teach, or is cut off or damaged"):
            noise.load_labels(path)
    with pytest.raises(FileNotFoundError, match=r"There is no label file .*nowhere\.npz.*Check the path"):
        noise.load_labels(tmp_path / "nowhere.npz")
