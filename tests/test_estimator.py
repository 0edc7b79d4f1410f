"""The scikit-learn estimator: its contract, and the same answers as the functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from dsl_teach.prototypes import correct_labels, select_prototypes
from dsl_teach.prototypes.estimator import PrototypeClassifier


@parametrize_with_checks([PrototypeClassifier(p=4)])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_it_gives_what_the_functions_give_and_refuses_a_new_label_or_a_missing_one():
    random = np.random.default_rng(0)
    codes = torch.from_numpy(random.integers(0, 3, 120))
    X, y = random.normal(size=(120, 20)), np.array(["cat", "dog", "eel"])[codes]
    prototypes = select_prototypes(torch.as_tensor(X), codes, num_classes=3, p=3, m=20)
    expected = correct_labels(torch.as_tensor(X), prototypes, codes)
    found = PrototypeClassifier(p=3, m=20).fit(X, y)
    assert torch.equal(found.prototypes_.index, prototypes.index)
    assert found.correct(X, y).tolist() == np.array(["cat", "dog", "eel"])[expected].tolist()
    with pytest.raises(ValueError, match="previously unseen labels"):
        found.correct(X[:1], ["fox"])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        found.correct(X[:2], y[:1])
