"""The scikit-learn estimator: its contract, and the same answers as the functions."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
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


def blobs(classes):
    random = np.random.default_rng(1)
    codes = random.integers(0, classes, 90)
    return random.normal(size=(classes, 12))[codes] * 2 + random.normal(size=(90, 12)), codes


@pytest.mark.parametrize("classes", [2, 3])
def test_tensors_give_what_arrays_give_and_scores_decide(classes):
    X, y = blobs(classes)
    of_arrays = PrototypeClassifier(p=3).fit(X, y)
    of_tensors = PrototypeClassifier(p=3).fit(torch.tensor(X, requires_grad=True), torch.tensor(y))
    for name in ("predict", "transform", "decision_function"):
        np.testing.assert_array_equal(getattr(of_tensors, name)(torch.tensor(X)), getattr(of_arrays, name)(X))
    np.testing.assert_array_equal(of_tensors.correct(torch.tensor(X), torch.tensor(y)), of_arrays.correct(X, y))
    decision = of_arrays.decision_function(X)
    chosen = decision > 0 if classes == 2 else decision.argmax(axis=1)
    np.testing.assert_array_equal(of_arrays.predict(X), chosen)


def test_it_is_tuned_within_a_pipeline_and_gives_scores_to_the_next_step():
    X, y = blobs(3)
    grid = {"prototypeclassifier__p": [1, 4]}
    search = GridSearchCV(make_pipeline(StandardScaler(), PrototypeClassifier()), grid, cv=3).fit(X, y)
    assert search.score(X, y) > 0.9
    assert make_pipeline(PrototypeClassifier(p=4), LogisticRegression()).fit(X, y).score(X, y) > 0.9


def test_prototypes_are_shown_in_a_line():
    assert len(repr(PrototypeClassifier(p=4).fit(*blobs(3)).prototypes_)) < 100
