"""Runners: execute an experiment in this process."""
