"""Everything beyond the paper."""

from dsl_teach.prototypes.alternatives import class_means, neighbour_scores, random_prototypes
from dsl_teach.prototypes.spaces import ClassSums, class_sums, whitened

__all__ = ["ClassSums", "class_means", "class_sums", "neighbour_scores", "random_prototypes", "whitened"]
