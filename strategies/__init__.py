"""Aggregation strategies: rules, pre-aggregation filters, server optimizers, one pipeline.

Importing this package registers every rule, filter and optimizer and loads nothing
heavy. Knows nothing of models, messages or who sent what.
"""

from strategies import filters, optimizers, rules
from strategies.api import aggregate
from strategies.pipeline import Pipeline, build

__all__ = ["Pipeline", "aggregate", "build", "filters", "optimizers", "rules"]
