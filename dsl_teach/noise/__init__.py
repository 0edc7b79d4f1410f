"""Wrong labels whose truth is known: noise models, and a report of what each one did."""

from dsl_teach.noise.by_image import instance_dependent_noise
from dsl_teach.noise.report import NoiseReport, NoisyLabels, noise_report, transition_matrix

__all__ = [
    "NoiseReport",
    "NoisyLabels",
    "instance_dependent_noise",
    "noise_report",
    "transition_matrix",
]
