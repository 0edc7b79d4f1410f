"""Wrong labels whose truth is known: noise models, and a report of what each one did.

Models that know only the class, models that look at the image, the report, a check that tells the two kinds apart,
and files that keep labels together with their recipe.
"""

from dsl_teach.noise.by_class import CIFAR10_CONFUSIONS, asymmetric_noise, pair_flip_noise, symmetric_noise
from dsl_teach.noise.by_image import instance_dependent_noise, part_dependent_noise, pmd_noise
from dsl_teach.noise.dependence import InputDependence, input_dependence
from dsl_teach.noise.direction import Direction, in_words, keep_direction, more_frequent, towards
from dsl_teach.noise.files import load_labels, save_labels
from dsl_teach.noise.report import NoiseReport, NoisyLabels, noise_report, transition_matrix

__all__ = [
    "CIFAR10_CONFUSIONS",
    "Direction",
    "InputDependence",
    "NoiseReport",
    "NoisyLabels",
    "asymmetric_noise",
    "in_words",
    "input_dependence",
    "instance_dependent_noise",
    "keep_direction",
    "load_labels",
    "more_frequent",
    "noise_report",
    "pair_flip_noise",
    "part_dependent_noise",
    "pmd_noise",
    "save_labels",
    "symmetric_noise",
    "towards",
    "transition_matrix",
]
