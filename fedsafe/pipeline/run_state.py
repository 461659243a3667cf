"""The state of one run: its model, the stages that are done, its summary.

Knows nothing of federations or defenses.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Unpack

from fedsafe.errors import RunError
from fedsafe.evaluation.evaluate import evaluate
from fedsafe.evaluation.sharing import SharedEvaluations
from fedsafe.experiment.pipelines import again_name, ends_of, pipelines_of, steps_of
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.models.start_adapter import read_start
from fedsafe.pipeline.keys import evaluation_digest
from fedsafe.pipeline.stage_notes import StageNotes
from fedsafe.pipeline.stage_store import StageStore
from fedsafe.runs.events import Events
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import Store, experiment_hash
from fedsafe.shields.serving import load_shield
from fedsafe.training.session import Session

DEPLOYMENT = "deployment"
"""The runtime in which the data are the clients' own."""
ADAPTER = "adapter"
"""The runtime of a directory that holds the defenses of an adapter from anywhere."""
ALIGNMENT = "alignment"
"""The runtime of a directory that holds an aligned adapter, and no federation."""
BASE, ALIGNED = "base", "aligned"
"""Names of the stages before a federation."""


@dataclass
class Run:
    """One run directory being filled."""

    experiment: Experiment
    store: Store
    events: Events
    session: Session
    runtime: str
    """What it began as: inline, simulation, deployment or adapter."""
    identity: str = ""
    """Names this run and no other; the same after a restart."""
    data: dict[str, str] = field(default_factory=dict)
    """sha256 of the clients' data, where the server knows them."""
    shared: StageStore | None = None
    """Finished stages of other runs."""
    stages: list[Stage] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    seconds_before: float = 0.0
    """Seconds that earlier attempts took."""
    earlier: tuple[str, str] = ("running", "")
    """Status and reason that the summary had before."""

    def known(self, name: str) -> Stage | None:
        """Return a stage that is done already; None where it is missing or has failed."""
        done = (stage for stage in self.stages if stage.status == "done")
        return next((stage for stage in done if stage.name == name), None)

    @property
    def planned(self) -> list[str]:
        """Names of the stages that the experiment asks for, in order."""
        experiment = self.experiment
        before = [BASE] if experiment.alignment is None else [BASE, ALIGNED]
        before = [] if self.runtime == ADAPTER else before
        if self.runtime == ALIGNMENT:
            return before
        control = ["clean"] if experiment.attack is not None and experiment.control else []
        pipelines = pipelines_of(experiment.defenses)
        defended = [step.name for step in steps_of(pipelines, self.main)]
        ends = ends_of(pipelines, self.main) if experiment.second_attack is not None else []
        return [*before, *control, self.main, *defended, *map(again_name, ends)]

    @property
    def main(self) -> str:
        """Name of the stage that defenses begin with."""
        if self.runtime == ADAPTER:
            return "given"
        if self.runtime == ALIGNMENT:
            return ALIGNED
        return "trained" if self.experiment.attack is None else "attacked"

    @cached_property
    def kept(self) -> adapters.Tensors | None:
        """The adapter that training goes on with (``adapter.start``); None: a fresh one."""
        base = self.known(BASE)
        if self.experiment.adapter.kept_start is not None and base is not None:
            return self.adapter(base)  # as it was when the run began
        return read_start(self.experiment.adapter)

    @property
    def given(self) -> str:
        """The sha256 of that adapter; empty: a fresh one."""
        return "" if self.kept is None else adapters.digest(self.kept)

    @property
    def start(self) -> adapters.Tensors:
        """The adapter before the federation: the aligned one, the kept one, or a fresh one."""
        aligned = self.known(ALIGNED)
        if aligned is not None:
            return self.adapter(aligned)
        return self.session.start(self.experiment.seed) if self.kept is None else self.kept

    @property
    def before_federation(self) -> str:
        """The sha256 of the adapter before the federation; empty: a fresh one."""
        aligned = self.known(ALIGNED)
        return self.given if aligned is None else aligned.adapter

    @cached_property
    def shared_evaluations(self) -> SharedEvaluations | None:
        """Evaluations of other runs."""
        if self.shared is None:
            return None
        return SharedEvaluations(self.shared, evaluation_digest(self.experiment))

    def path(self, stage: Stage) -> Path:
        """Return the directory of a stage's adapter."""
        return self.store.directory / stage.path

    def adapter(self, stage: Stage) -> adapters.Tensors:
        """Return a stage's adapter.

        Raises:
            ModelError: It cannot be read, or was damaged.
            RunError: It is another adapter than the one that the stage ended with.
        """
        return adapter_of(self.store, stage)

    def finish(
        self,
        name: str,
        adapter: adapters.Tensors,
        path: Path,
        seconds: float,
        **notes: Unpack[StageNotes],
    ) -> Stage:
        """Evaluate a stage's adapter, with the shield beside it, and keep the stage.

        Args:
            name: Of the stage.
            adapter: What it made.
            path: Directory of the adapter, inside the run directory.
            seconds: Time to make it.
            **notes: Further fields of the stage.
        """
        begun, home = time.perf_counter(), self.store.directory / RunFile.EVALUATIONS
        asked = (self.session, adapter, self.experiment, home, name, self._told(name))
        shield, others = load_shield(path), self.shared_evaluations
        scores, directory = evaluate(*asked, shield=shield, shared=others, start=self.start)
        stage = Stage(
            name=name,
            adapter=adapters.digest(adapter),
            path=str(path.relative_to(self.store.directory)),
            scores=scores,
            seconds=seconds,
            evaluation=str(directory.relative_to(self.store.directory)),
            evaluation_seconds=time.perf_counter() - begun,
            judge=self.experiment.evaluation.judge.name,
            **notes,
        )
        return self.keep(stage)

    def _told(self, name: str) -> Callable[[int, int], None]:
        """Return what tells of the progress of a stage's evaluation."""
        return lambda done, total: self.events("evaluate", stage=name, done=done, total=total)

    def keep(self, stage: Stage) -> Stage:
        """Put a stage into the summary, in place of one of the same name."""
        names = [known.name for known in self.stages]
        if stage.name in names:
            self.stages[names.index(stage.name)] = stage
        else:
            self.stages.append(stage)
        self.summarise("running")
        self.events(
            "stage-end",
            stage=stage.name,
            scores=stage.scores.model_dump(mode="json"),
            seconds=stage.seconds,
            reason=stage.reason,
        )
        return stage

    def settle(self) -> Summary:
        """Write summary.json: completed if every planned stage is done, failed if one failed.

        Otherwise it stays what it was.
        """
        failed = [s for s in self.stages if s.status == "failed" and s.name in self.planned]
        if failed:
            reason = " ".join(f"{stage.name} failed: {stage.reason}" for stage in failed)
            return self.summarise("failed", reason)
        if all(self.known(name) for name in self.planned):
            return self.summarise("completed")
        earlier, reason = self.earlier
        return self.summarise("interrupted" if earlier == "running" else earlier, reason)

    def summarise(self, status: str, reason: str = "") -> Summary:
        """Write summary.json as things stand."""
        summary = Summary.model_validate(
            {
                "name": self.experiment.name,
                "experiment": experiment_hash(self.experiment),
                "status": status,
                "reason": reason,
                "stages": self.stages,
                "seconds": self.seconds_before + time.perf_counter() - self.started,
            }
        )
        self.store.write_summary(summary)
        return summary


def adapter_of(store: Store, stage: Stage) -> adapters.Tensors:
    """Return a stage's adapter.

    Raises:
        ModelError: It cannot be read, or was damaged.
        RunError: It is another adapter than the one that the stage ended with.
    """
    path = store.directory / stage.path
    tensors = adapters.load(path)
    found = adapters.digest(tensors)
    if found != stage.adapter:
        raise RunError(
            f"The adapter in {path} is not the one that stage '{stage.name}' ended with: its "
            f"sha256 is {found[:16]}, and summary.json says {stage.adapter[:16]}. Restore it from "
            "a copy, or run the experiment again in another directory."
        )
    return tensors
