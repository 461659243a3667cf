"""Experiment trackers: TensorBoard, MLflow, trackio and Weights & Biases, each on local files.

A tracker takes the settings of a run, the numbers of each round with the round as step, and the
numbers of each stage as its summary. None of them needs a network or an account.
"""

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fedsafe.errors import ConfigError, MissingDependencyError, RunError
from fedsafe.integrations.packages import optional_package
from fedsafe.integrations.tracked_run import PROJECT, TrackedRun, Tracker
from fedsafe.suggestions import suggestion


class TensorBoard:
    """Event files in a directory of the run's name, in place of those of an earlier export."""

    def __init__(self, store: Path, run: TrackedRun) -> None:
        optional_package("tensorboard", extra="tensorboard", purpose="TensorBoard")
        writers = optional_package(
            "torch.utils.tensorboard", extra="tensorboard", purpose="TensorBoard"
        )
        directory = store / run.name
        for earlier in directory.glob("events.out.tfevents.*"):
            earlier.unlink()
        self._writer = writers.SummaryWriter(str(directory))
        self._hparams = writers.summary.hparams
        self._settings = dict(run.settings)
        self._stages: dict[str, float] = {}
        rows = [f"| {name} | {_cell(value)} |" for name, value in self._settings.items()]
        self._writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def log_round(self, federation: str, number: int, figures: Mapping[str, float]) -> None:
        """Log the numbers of a round."""
        for name, value in figures.items():
            self._writer.add_scalar(f"{federation}/{name}", value, number)
        self._writer.flush()

    def log_stage(self, name: str, figures: Mapping[str, float]) -> None:
        """Log the numbers of a stage."""
        self._stages |= {f"stages/{name}/{measure}": value for measure, value in figures.items()}

    def close(self, status: str) -> None:
        """Write the stages, and settings beside them for the HParams tab."""
        for name, value in self._stages.items():
            self._writer.add_scalar(name, value, 0)
        for summary in self._hparams(self._settings, self._stages):
            self._writer.file_writer.add_summary(summary)
        self._writer.add_text("status", status)
        self._writer.close()


class MLflow:
    """A run in a local SQLite store, ``mlflow.db``; one of the same identity is deleted."""

    def __init__(self, store: Path, run: TrackedRun) -> None:
        mlflow = optional_package("mlflow", extra="mlflow", purpose="MLflow")
        optional_package("mlflow.store.db.utils", extra="mlflow", purpose="MLflow's SQLite store")
        for chatty in ("mlflow", "mlflow.store.db.utils", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        store.mkdir(parents=True, exist_ok=True)
        self._entities = mlflow.entities
        self._client = mlflow.MlflowClient(
            tracking_uri=f"sqlite:///{(store / 'mlflow.db').resolve()}"
        )
        experiment = self._experiment(str((store / "artifacts").resolve()))
        same = f"tags.`fedsafe.run` = '{run.identity}'"
        for earlier in self._client.search_runs([experiment], filter_string=same):
            self._client.delete_run(earlier.info.run_id)
        tags = {"fedsafe.run": run.identity}
        self._run = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        values = [(self._name(name), str(value)[:6000]) for name, value in run.settings.items()]
        for first in range(0, len(values), 100):  # as many as one call takes
            some = [self._entities.Param(*pair) for pair in values[first : first + 100]]
            self._client.log_batch(self._run, params=some)

    def log_round(self, federation: str, number: int, figures: Mapping[str, float]) -> None:
        """Log the numbers of a round."""
        self._log({f"{federation}/{name}": value for name, value in figures.items()}, number)

    def log_stage(self, name: str, figures: Mapping[str, float]) -> None:
        """Log the numbers of a stage."""
        self._log({f"stages/{name}/{measure}": value for measure, value in figures.items()}, 0)

    def close(self, status: str) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._run, "FINISHED" if status == "completed" else "FAILED")

    def _experiment(self, artifacts: str) -> str:
        known = self._client.get_experiment_by_name(PROJECT)
        if known is not None:
            return str(known.experiment_id)
        return str(self._client.create_experiment(PROJECT, artifacts))

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(self._name(name), value, now, step)
            for name, value in figures.items()
        ]
        self._client.log_batch(self._run, metrics=metrics)

    @staticmethod
    def _name(name: str) -> str:
        """Return a name that MLflow takes: it has no @ and no +."""
        return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "."))


class Trackio:
    """A run in trackio's SQLite file of this directory; one of the same name is replaced."""

    def __init__(self, store: Path, run: TrackedRun) -> None:
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        os.environ["TRACKIO_DIR"] = str(store.resolve())  # read once, when it is imported
        trackio = optional_package("trackio", extra="trackio", purpose="trackio")
        if Path(trackio.TRACKIO_DIR).resolve() != store.resolve():
            raise RunError(
                f"trackio writes to one directory in a process, here {trackio.TRACKIO_DIR}, and "
                f"not to {store} as well. Export that in another process."
            )
        for name in ("trackio", "trackio.run", "trackio.utils"):
            # In these modules alone: stdout is the command's.
            sys.modules[name].print = _say_nothing  # type: ignore[attr-defined]
        storage = trackio.SQLiteStorage
        if run.name in storage.get_runs(PROJECT):
            storage.delete_run(PROJECT, run.name)
        self._run = trackio.init(
            PROJECT, run.name, config=dict(run.settings), auto_log_cpu=False, auto_log_gpu=False
        )

    def log_round(self, federation: str, number: int, figures: Mapping[str, float]) -> None:
        """Log the numbers of a round."""
        self._run.log({f"{federation}/{name}": v for name, v in figures.items()}, step=number)

    def log_stage(self, name: str, figures: Mapping[str, float]) -> None:
        """Log the numbers of a stage."""
        self._run.log({f"stages/{name}/{measure}": v for measure, v in figures.items()}, step=0)

    def close(self, status: str) -> None:
        """Write what is left."""
        self._run.finish()


class WandB:
    """An offline run, which ``wandb sync`` uploads if that is wanted."""

    def __init__(self, store: Path, run: TrackedRun) -> None:
        wandb = optional_package("wandb", extra="wandb", purpose="Weights & Biases")
        store.mkdir(parents=True, exist_ok=True)
        for earlier in (store / "wandb").glob(f"offline-run-*-{run.identity[:12]}"):
            shutil.rmtree(earlier)
        self._run = wandb.init(
            project=PROJECT,
            name=run.name,
            id=run.identity[:12],
            mode="offline",
            dir=str(store),
            config=dict(run.settings),
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        )
        for federation in ("main", "control"):  # each counts its rounds from 1
            self._run.define_metric(f"{federation}/*", step_metric=f"{federation}/round")

    def log_round(self, federation: str, number: int, figures: Mapping[str, float]) -> None:
        """Log the numbers of a round."""
        named = {f"{federation}/{name}": value for name, value in figures.items()}
        self._run.log({**named, f"{federation}/round": number})

    def log_stage(self, name: str, figures: Mapping[str, float]) -> None:
        """Log the numbers of a stage."""
        self._run.summary.update({f"stages/{name}/{m}": value for m, value in figures.items()})

    def close(self, status: str) -> None:
        """Write what is left, and how the run ended."""
        self._run.finish(exit_code=0 if status == "completed" else 1)


TRACKERS: Final[Mapping[str, Callable[[Path, TrackedRun], Tracker]]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "trackio": Trackio,
    "wandb": WandB,
}
"""Trackers by name."""


def check_installed(name: str) -> None:
    """See that there is such a tracker and its package, without importing it.

    Raises:
        ConfigError: There is no such tracker.
        MissingDependencyError: Its package is not installed.
    """
    if name not in TRACKERS:
        raise ConfigError(
            f"--log {name}: there is no such tracker.{suggestion(name, list(TRACKERS))} There are "
            f"{', '.join(TRACKERS)}."
        )
    if find_spec(name) is None:
        raise MissingDependencyError(
            f"--log {name} needs the package {name}, which is not installed. Install it with: "
            f"pip install 'fedsafe[{name}]'."
        )


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _say_nothing(*_: object, **__: object) -> None:
    """Stand for ``print``."""
