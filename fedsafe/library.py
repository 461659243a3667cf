"""FedSafe from Python: load an experiment, run it, read a run as pandas frames.

``from fedsafe import load_experiment, run, read_run``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsafe.app import activate
from fedsafe.evaluation.kept import records, replies
from fedsafe.experiment import Experiment, load
from fedsafe.runs.comparison_records import Comparison
from fedsafe.runs.events import Listener
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Round, Stage, Summary
from fedsafe.runs.seed_records import SeedSummary
from fedsafe.runs.store import FederationStore, Store, default_directory

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunFrames", "compare", "load_experiment", "read_run", "run", "run_seeds"]

CLUSTERED = ("clusters", "cluster_low", "cluster_high")
"""What a rate has where prompts are not independent."""
VERDICT = ("outcome", "correct", "raw", "score")
"""What a judge says of an exchange, kept in a file of its own."""


@dataclass(frozen=True)
class RunFrames:
    """One run as pandas frames.

    Attributes:
        directory: The run directory.
        experiment: The resolved experiment.
        summary: What summary.json says; None before there is one.
        stages: One row a stage: name, judge, seconds, and each score as ``unsafe``,
            ``unsafe.n``, ``unsafe.low``, ``unsafe.high`` (and ``unsafe.clusters``,
            ``unsafe.cluster_low``, ... where prompts are not independent), under a condition as
            ``unsafe@prefilled``; shares in [0, 1].
        rounds: One row a round of a federation (``main`` or ``control``): accepted replies,
            norms, bytes, seconds, ``metrics.*``, ``probe.*``.
        clients: One row a client and round: status, reason, influence, norm, loss, malicious.
        exchanges: One row a prompt put to a stage: instruction, reply, outcome of the judge.
            The texts are the models' own, and may be harmful.
    """

    directory: Path
    experiment: Experiment
    summary: Summary | None
    stages: "pd.DataFrame"
    rounds: "pd.DataFrame"
    clients: "pd.DataFrame"
    exchanges: "pd.DataFrame"


def load_experiment(
    reference: str | Path | Mapping[str, Any], changes: Iterable[str] = ()
) -> Experiment:
    """Return a checked experiment.

    Args:
        reference: Preset name, path of a YAML file, run directory, or the values themselves.
        changes: ``a.b=value`` texts, as ``--set`` takes them.

    Raises:
        ConfigError: Anything is wrong; ``problems`` has each as (path, sentence).
    """
    activate()
    return load(reference, changes)


def run(
    experiment: Experiment | str | Path | Mapping[str, Any],
    directory: str | Path | None = None,
    *,
    changes: Iterable[str] = (),
    listen: Listener | None = None,
) -> RunFrames:
    """Run an experiment in this process, or what is left of it, and return its frames.

    The report is left in the directory, also by a run that fails.

    Args:
        experiment: An experiment, or what `load_experiment` takes.
        directory: Where to; None: ``runs/<name>-<hash>`` in the current directory.
        changes: ``a.b=value`` texts.
        listen: Called with each event (`fedsafe.runs.events.Event`) as it happens.

    Raises:
        ConfigError: The experiment is wrong.
        FedSafeError: The run failed; its summary says where and why.
    """
    from fedsafe.launch import inline
    from fedsafe.report import write

    given = experiment.model_dump(mode="json") if isinstance(experiment, Experiment) else experiment
    resolved = load_experiment(given, changes)
    home = default_directory(resolved) if directory is None else Path(directory)
    try:
        inline.run(resolved, home, listen)
    finally:
        if (home / RunFile.EXPERIMENT).is_file():
            write(home)
    return read_run(home)


def run_seeds(
    experiment: Experiment | str | Path | Mapping[str, Any],
    seeds: str | Iterable[int],
    directory: str | Path | None = None,
    *,
    changes: Iterable[str] = (),
    listen: Listener | None = None,
) -> SeedSummary:
    """Run an experiment once for each seed, and aggregate: spread and paired differences.

    Each run lies in ``<directory>/seed-K``. A completed one is not run again, another goes on
    where it stopped; the aggregate is left in ``<directory>/seeds.json``.

    Args:
        experiment: An experiment, or what `load_experiment` takes; its own seed is not used.
        seeds: Such as ``"0-4"`` or ``[0, 3, 7]``.
        directory: Where to; None: ``runs/<name>-<hash>-seeds`` in the current directory.
        changes: ``a.b=value`` texts.
        listen: Called with each event of each run.

    Raises:
        ConfigError: The experiment or the seeds are wrong.
        FedSafeError: A run failed; the message names its seed. Runs that are done are kept.
    """
    from fedsafe.matrix import seed_runs

    given = experiment.model_dump(mode="json") if isinstance(experiment, Experiment) else experiment
    plan = seed_runs.plan(load_experiment(given, changes), seeds, directory)
    return seed_runs.run(plan, listen)


def compare(*runs: str | Path, reveal: bool = False) -> Comparison:
    """Compare runs with the first of them, stage by stage and prompt by prompt.

    Args:
        runs: Two or more run directories, ``DIR:STAGE``, or directories of several seeds.
        reveal: Put prompts and replies of what flipped into the record.

    Raises:
        RunError: One is no run, or they were evaluated on different prompts.
    """
    from fedsafe.pipeline.comparison import compare as compared

    activate()
    return compared(runs, reveal=reveal)


def read_run(directory: str | Path) -> RunFrames:
    """Return a run directory as pandas frames, however far the run has come.

    Raises:
        RunError: It is no run directory, or one of its files is broken.
    """
    import pandas as pd

    activate()
    store = Store(Path(directory))
    experiment, summary = store.experiment, store.summary()
    federations = {"control": store.control, "main": store}
    stages = list(summary.stages) if summary is not None else []
    frames = [
        [_stage(stage) for stage in stages],
        [row for name, one in federations.items() for row in _rounds(name, one)],
        [row for name, one in federations.items() for row in _clients(name, one)],
        [row for stage in stages for row in _exchanges(store.directory, stage)],
    ]
    return RunFrames(store.directory, experiment, summary, *map(pd.DataFrame, frames))


def _stage(stage: Stage) -> dict[str, Any]:
    values = stage.model_dump(mode="json")
    scores = values.pop("scores")
    values.pop("detection", None)
    detection = {} if stage.detection is None else stage.detection.model_dump(mode="json")
    return {
        **values,
        **dict(_measured(scores)),
        **{f"detection.{name}": value for name, value in detection.items()},
    }


def _rounds(name: str, federation: FederationStore) -> Iterator[dict[str, Any]]:
    for record in federation.rounds():
        values = record.model_dump(mode="json", exclude={"clients", "metrics", "probe", "version"})
        values["accepted"] = sum(client.status == "accepted" for client in record.clients)
        values["malicious"] = sum(client.malicious for client in record.clients)
        metrics = {f"metrics.{key}": value for key, value in record.metrics.items()}
        yield {"federation": name, **values, **metrics, **dict(_probe(record))}


def _probe(record: Round) -> Iterator[tuple[str, Any]]:
    if record.probe is not None:
        for name, value in _measured(record.probe.model_dump(mode="json")):
            yield f"probe.{name}", value


def _clients(name: str, federation: FederationStore) -> Iterator[dict[str, Any]]:
    for record in federation.rounds():
        for client in record.clients:
            yield {
                "federation": name,
                "round": record.round,
                **client.model_dump(mode="json"),
            }


def _measured(scores: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the measures by their own names, and what else the scores say."""
    rest = {name: value for name, value in scores.items() if name not in {"displays", "measures"}}
    yield from _rates({**rest, **scores.get("measures", {})})


def _rates(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each rate of scores as its share, and beside it n, interval and unknowns."""
    for name, value in scores.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and "value" in value:
            yield path, value["value"]
            for part in ("n", "low", "high", "unknown", *CLUSTERED):
                if part in value and not (part in CLUSTERED and value[part] is None):
                    yield f"{path}.{part}", value[part]
        elif isinstance(value, Mapping):
            yield from _rates(value, f"{path}.")
        elif value is not None and not isinstance(value, list):
            yield path, value


def _exchanges(home: Path, stage: Stage) -> Iterator[dict[str, Any]]:
    """Yield the exchanges of a stage, with the verdicts of the judge of its scores."""
    directory = home / stage.evaluation
    if not stage.evaluation or not directory.resolve().is_relative_to(home.resolve()):
        return
    path = str(stage.scores.model_dump(mode="json").get("verdicts") or "")
    verdicts = {
        (row.get("id"), row.get("condition")): {k: row[k] for k in VERDICT if k in row}
        for row in (records(directory / path) if path else ())
    }
    for row in replies(directory):
        verdict = verdicts.get((row.get("id"), row.get("condition")), {})
        yield {"stage": stage.name, "judge": stage.judge, **row, **verdict}
