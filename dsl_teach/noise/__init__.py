"""Wrong labels whose truth is known: noise that knows only the class, noise that looks at the image, and a report."""

from dsl_teach.noise.by_class import pair_flip_noise, symmetric_noise
from dsl_teach.noise.by_image import instance_dependent_noise, more_frequent, share_to_frequent
from dsl_teach.noise.report import NoiseReport, NoisyLabels, noise_report

__all__ = [
    "NoiseReport",
    "NoisyLabels",
    "instance_dependent_noise",
    "more_frequent",
    "noise_report",
    "pair_flip_noise",
    "share_to_frequent",
    "symmetric_noise",
]
