"""Experiment configuration: schema, presets, loading and checks."""

from fedsafe.experiment.load import load, presets, read_preset
from fedsafe.experiment.schema import Experiment, PluginChoice

__all__ = ["Experiment", "PluginChoice", "load", "presets", "read_preset"]
