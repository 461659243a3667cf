"""How updates are combined: one rule or one family a file, filters, one pipeline.

Importing this package registers every rule, filter and optimizer and loads nothing
heavy. Knows nothing of models, messages or who sent what.
"""

from strategies import (
    alignins,
    bulyan,
    centered_clipping,
    clipping,
    dnc,
    flame,
    fltrust,
    foolsgold,
    geometric_median,
    krum,
    lora,
    mda,
    meamed,
    mean,
    median,
    mixing,
    noise,
    norm_threshold,
    optimizers,
    reference,
    residual,
    robust_learning_rate,
    signguard,
    spectral,
    trimmed_mean,
)
from strategies.library import aggregate
from strategies.pipeline import Pipeline, build

__all__ = [
    "Pipeline",
    "aggregate",
    "alignins",
    "build",
    "bulyan",
    "centered_clipping",
    "clipping",
    "dnc",
    "flame",
    "fltrust",
    "foolsgold",
    "geometric_median",
    "krum",
    "lora",
    "mda",
    "meamed",
    "mean",
    "median",
    "mixing",
    "noise",
    "norm_threshold",
    "optimizers",
    "reference",
    "residual",
    "robust_learning_rate",
    "signguard",
    "spectral",
    "trimmed_mean",
]
