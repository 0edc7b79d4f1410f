"""Prototypes by density peaks, and the labels they correct: density -> selection -> correction."""

from dsl_teach.prototypes.correction import best_class, class_scores, correct_labels, label_margin
from dsl_teach.prototypes.density import cosine_similarity, density, eta, similarity_threshold
from dsl_teach.prototypes.selection import Prototypes, sample_by_class, select_prototypes

__all__ = [
    "Prototypes",
    "best_class",
    "class_scores",
    "correct_labels",
    "cosine_similarity",
    "density",
    "eta",
    "label_margin",
    "sample_by_class",
    "select_prototypes",
    "similarity_threshold",
]
