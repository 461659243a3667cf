"""Whole runs of an experiment in this process, as tests start them."""

from pathlib import Path

from clients.app import app
from fedsafe.experiment.schema import Experiment
from fedsafe.launch.grid import InlineGrid
from fedsafe.pipeline.stage_store import StageStore
from fedsafe.runs.events import Events, Listener
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store
from server.experiment import run_experiment


def run_inline(
    experiment: Experiment,
    directory: Path,
    listen: Listener | None = None,
    shared: Path | None = None,
) -> Summary:
    """Run what is left of an experiment; a listener that raises stops it.

    Args:
        experiment: What to run.
        directory: The run directory.
        listen: Hears every event.
        shared: Directory of finished stages; None: none are shared.
    """
    grid = InlineGrid(app, experiment.federation.clients)
    stages = None if shared is None else StageStore(shared)
    store, events = Store(directory), Events(listen=listen)
    return run_experiment(grid, experiment, store, events, "inline", shared=stages)


def summary_of(directory: Path) -> Summary:
    """Return what a run's summary.json says."""
    found = Store(directory).summary()
    assert found is not None
    return found
