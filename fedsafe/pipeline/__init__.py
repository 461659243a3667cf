"""The pipeline of an experiment: its stages, their keys, their evaluation and defenses."""
