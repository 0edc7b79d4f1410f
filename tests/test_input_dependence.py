"""Noise that knows only the class has a ratio of one; noise that looks at the image a larger one."""

import numpy as np
import pytest
import torch
from dsl_lessons.input_dependence import input_dependence

from tests.test_noise import CLEAN, MODELS, PROBABILITIES, seeded


@pytest.mark.parametrize("name", ["symmetric", "pair flip"])
def test_class_dependent_noise_has_a_ratio_of_one(name):
    labels = [MODELS[name](0.3, seeded(seed)).noisy_labels for seed in range(100)]
    found = [input_dependence(PROBABILITIES, CLEAN, noisy_labels) for noisy_labels in labels]
    assert np.mean([one.ratio for one in found]) == pytest.approx(1, abs=0.01)
    assert sum(one.low < 1 < one.high for one in found) >= 89  # 95 expected
    assert sum(one.input_dependent for one in found) <= 8  # 2.5 expected


@pytest.mark.parametrize("name", ["second choice", "most confusable"])
def test_confusion_has_a_ratio_clearly_above_one(name):
    found = input_dependence(PROBABILITIES, CLEAN, MODELS[name](0.3, seeded()).noisy_labels)
    assert found.low > 1.5
    assert found.input_dependent
    assert found.num_mislabelled == 3000


def test_a_hand_example():
    probabilities = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.5, 0.5]])
    clean = torch.tensor([0, 0, 0, 1, -1])
    noisy = torch.tensor([1, 0, 0, 0, 0])  # on the images 0.5 and 0.4; class means 0.3 and 0.4
    found = input_dependence(probabilities, clean, noisy)
    assert (found.on_image, found.class_mean) == pytest.approx((0.45, 0.35))
    assert found.low > 0
    assert found.ratio == pytest.approx(0.45 / 0.35) == pytest.approx((found.low * found.high) ** 0.5)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"0 wrong label\(s\); this check needs at least two"):
        input_dependence(PROBABILITIES, CLEAN, CLEAN)
    with pytest.raises(ValueError, match="clean_labels must have one entry for each of the 10000 rows"):
        input_dependence(PROBABILITIES, CLEAN[:5], CLEAN[:5])
    with pytest.raises(ValueError, match="0 everywhere in their classes"):
        input_dependence(torch.eye(2)[[0, 0]], torch.tensor([0, 0]), torch.tensor([1, 1]))
