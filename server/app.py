"""Flower ServerApp: run the experiment that the run configuration names.

``flwr run . --run-config 'experiment="micro" output="/abs/dir"'``. The in-process
runtime calls the same `server.experiment.run_experiment`.
"""

from contextlib import suppress
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedsafe.errors import ConfigError, FedSafeError
from fedsafe.experiment import load
from fedsafe.flower.compatibility import check
from fedsafe.flower.ray_address import dropped_address
from fedsafe.pipeline.run_state import DEPLOYMENT
from fedsafe.runs.events import Event, Events
from fedsafe.runs.files import private_directory
from fedsafe.runs.store import Store, run_directory
from server.experiment import run_experiment
from server.memory_limit import limit_server_memory
from server.progress_file import ProgressFile
from server.transport.allowlist import AllowList
from server.transport.nodes import deployed

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that the run configuration names."""
    check("serverapp")
    limit_server_memory()
    config = context.run_config
    reference = str(config.get("experiment", "micro"))
    changes = [line for line in str(config.get("settings", "")).split(";") if line.strip()]
    experiment = load(reference, changes)
    keys = _path("allow", str(config.get("allow", "")))
    allow = () if keys is None else AllowList(keys)
    output = _path("output", str(config.get("output", "")))
    store = Store(output or run_directory("", experiment))
    private_directory(store.directory)
    runtime = DEPLOYMENT if deployed(grid) else "simulation"
    randomness = _path("randomness", str(config.get("randomness", "")))
    progress = ProgressFile(store.directory)

    def listen(event: Event) -> None:
        _log(event)
        progress.hear(event)

    events = Events(store.events, listen)
    if runtime != DEPLOYMENT and (dropped := dropped_address()):
        events("note", dropped)
    try:
        with events.ticking():
            summary = run_experiment(
                grid, experiment, store, events, runtime, allow=allow, randomness=randomness
            )
    finally:
        _draw(store)
    _say(f"{summary.status}: {store.directory}")


def _draw(store: Store) -> None:
    """Leave the report, also of a run that failed; its own failure must not hide the first."""
    from fedsafe.report import write

    with suppress(FedSafeError, OSError):
        _say(f"report {write(store.directory)}")


def _path(key: str, text: str) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ConfigError(
            f"{key} is '{text}'; a ServerApp runs in a directory of Flower's choice, so give an "
            "absolute path."
        )
    return path


def _log(event: Event) -> None:
    """Write the events that matter to the run's log, a line each."""
    data = event.data
    if event.kind == "round-end":
        record = data["record"]
        accepted = sum(client["status"] == "accepted" for client in record["clients"])
        _say(
            f"{data['federation']} round {record['round']}/{data['rounds']}: {accepted} of "
            f"{len(record['cohort'])} replies, {record['seconds']:.1f} s"
        )
    elif event.kind in {"stage-start", "stage-end", "run-start"}:
        _say(f"{event.kind} {data.get('stage', data.get('directory', ''))}")
    elif event.kind in {"note", "early-stop"}:
        _say(event.message)
    elif event.kind == "progress":
        _say("progress " + ", ".join(f"{name} {value}" for name, value in data.items()))


def _say(text: str) -> None:
    from logging import INFO

    from fedsafe.flower.internals import log

    log(INFO, text)
