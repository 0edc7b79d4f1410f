"""The method's label correction as a scikit-learn estimator, for feature arrays that are there already."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from dsl_teach.prototypes.correction import best_class, class_scores
from dsl_teach.prototypes.selection import select_prototypes


class PrototypeClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):
    """Prototypes by density peaks from noisy labels; samples go to the class they resemble most.

    ``fit(X, y)`` chooses the prototypes, ``predict(X)`` lets them vote, and ``correct(X, y)`` does the same but keeps
    the given label in a tie. The features X, (N, D), are the embeddings of some network, or any others whose cosines
    mean something; y are N labels, perhaps wrong. Both may be arrays or tensors; answers are arrays. As a step of a
    pipeline it turns features into class scores.

    Args:
        p: prototypes a class.
        m: samples a class that prototypes are chosen from.
        eta_max: the gate, see :func:`dsl_teach.prototypes.selection.select_prototypes`.
        quantile: where the threshold S_c lies among the similarities.
        random_state: an integer seed for the draw of the m samples; None is 0.

    Attributes:
        classes_: the K labels, sorted.
        prototypes_: the :class:`dsl_teach.prototypes.selection.Prototypes` found.
    """

    def __init__(
        self,
        p: int = 8,
        m: int = 1280,
        *,
        eta_max: float = 0.95,
        quantile: float = 0.6,
        random_state: int | None = None,
    ):
        self.p = p
        self.m = m
        self.eta_max = eta_max
        self.quantile = quantile
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> PrototypeClassifier:
        """Choose the prototypes of each class."""
        X, y = validate_data(self, _array(X), _array(y), dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.encoder_ = LabelEncoder().fit(y)
        self.classes_ = self.encoder_.classes_
        self.prototypes_ = select_prototypes(
            torch.tensor(X),
            torch.as_tensor(self.encoder_.transform(y)),
            num_classes=len(self.classes_),
            p=self.p,
            m=self.m,
            eta_max=self.eta_max,
            quantile=self.quantile,
            generator=torch.Generator().manual_seed(self.random_state or 0),
        )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The class scores sigma, (N, K)."""
        check_is_fitted(self)
        X = validate_data(self, _array(X), dtype=[np.float64, np.float32], reset=False)
        return class_scores(torch.tensor(X), self.prototypes_).numpy()

    def decision_function(self, X: Any) -> np.ndarray:
        """The class scores, (N, K); of two classes the second less the first, (N,)."""
        scores = self.transform(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The class each sample resembles most, (N,); the first one in a tie."""
        scores = torch.as_tensor(self.transform(X))
        return self.classes_[best_class(scores).numpy()]

    def correct(self, X: Any, y: Any) -> np.ndarray:
        """The corrected labels of samples with given labels, (N,).

        Raises:
            ValueError: if there is not one label a sample, or a label was not there in ``fit``.
        """
        scores, y = torch.as_tensor(self.transform(X)), _array(y)
        check_consistent_length(scores, y)
        return self.classes_[best_class(scores, torch.as_tensor(self.encoder_.transform(y))).numpy()]


def _array(x: Any) -> Any:
    """A tensor, on whatever device, as an array; anything else as it is."""
    return x.numpy(force=True) if isinstance(x, torch.Tensor) else x
