"""What a user asks for: one frozen experiment, its presets and its checks."""

from fedsafe.experiment.load import load, presets, read_preset
from fedsafe.experiment.schema import Experiment, PluginChoice

__all__ = ["Experiment", "PluginChoice", "load", "presets", "read_preset"]
