"""One run directory being filled: its model, the stages that are done, its summary.

Knows nothing of federations or defenses.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from fedsafe.contracts import REGISTRIES
from fedsafe.data.client_datasets import data_hashes, left_out
from fedsafe.errors import DataError, RunError
from fedsafe.evaluation.evaluate import evaluate, prompts_of
from fedsafe.experiment.schema import Experiment
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.events import Events
from fedsafe.runs.provenance import observe
from fedsafe.runs.records import Detection, Provenance, Stage, Summary
from fedsafe.runs.store import Store, experiment_hash
from fedsafe.training.session import Session, resident

DEPLOYMENT = "deployment"
"""The runtime in which the data are the clients' own."""


@dataclass
class Run:
    """One run directory being filled."""

    experiment: Experiment
    store: Store
    events: Events
    session: Session
    identity: str = ""
    """Names this run and no other; the same after a restart."""
    stages: list[Stage] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)
    before: float = 0.0
    """Seconds that earlier attempts took."""
    earlier: tuple[str, str] = ("running", "")
    """Status and reason that the summary had before."""

    def known(self, name: str) -> Stage | None:
        """Return a stage that is done already."""
        return next((stage for stage in self.stages if stage.name == name), None)

    @property
    def planned(self) -> list[str]:
        """Names of the stages that the experiment asks for, in order."""
        experiment = self.experiment
        attacked = experiment.attack is not None
        control = ["clean"] if attacked and experiment.control else []
        defended = [f"defended:{choice.name}" for choice in experiment.defenses]
        return ["base", *control, self.main, *defended]

    @property
    def main(self) -> str:
        """Name of the main federation's stage."""
        return "trained" if self.experiment.attack is None else "attacked"

    def finish(
        self,
        name: str,
        adapter: adapters.Tensors,
        path: Path,
        seconds: float,
        found: Detection | None = None,
    ) -> Stage:
        """Evaluate a stage's adapter and keep the stage."""
        begun = time.perf_counter()

        def told(done: int, total: int) -> None:
            self.events("evaluate", stage=name, done=done, total=total)

        home = self.store.directory / "evaluations"
        scores, directory = evaluate(self.session, adapter, self.experiment, home, name, told)
        stage = Stage(
            name=name,
            adapter=adapters.digest(adapter),
            path=str(path.relative_to(self.store.directory)),
            scores=scores,
            seconds=seconds,
            evaluation=str(directory.relative_to(self.store.directory)),
            evaluation_seconds=time.perf_counter() - begun,
            detection=found,
            judge=self.experiment.evaluation.judge.name,
        )
        return self._keep(stage)

    def _keep(self, stage: Stage) -> Stage:
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
        )
        return stage

    def settle(self) -> Summary:
        """Write summary.json: completed if every planned stage is there, else as it was."""
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
                "seconds": self.before + time.perf_counter() - self.begun,
            }
        )
        self.store.write_summary(summary)
        return summary


def open_run(experiment: Experiment, store: Store, events: Events, runtime: str) -> Run:
    """Read data and prompts, load the model, and claim the run directory.

    The quick things come first, and nothing is written before all have been read, so
    that a mistake does not leave a directory behind that only the mistake fits. In a
    deployment the data are the clients' and not read here: they say what they hold.

    Raises:
        RunError: The directory holds something else, or model or data have changed.
        ModelError: The model cannot be loaded.
        DataError: The data cannot be read.
    """
    store.check(experiment)
    known = store.provenance()
    apart = DEPLOYMENT in (runtime, known.runtime if known else "")
    hashes = {} if apart else data_hashes(experiment)
    prompts_of(experiment)
    _see_that_files_exist(experiment, apart=apart)
    here = runtime == "inline"  # clients train in this very process
    trains = here or bool(experiment.defenses) or experiment.federation.root is not None
    session, seconds = resident(experiment, trains=trains)
    _unchanged(known, session.fingerprint, known.data if known and apart else hashes)
    store.open(experiment)
    events("note", f"Base model ready in {seconds:.1f} s.", fingerprint=session.fingerprint)
    for what, times in ({} if apart else left_out(experiment)).items():
        events("note", f"Left out of the data: {times} {what}.")
    summary = store.summary()
    if known is None:
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        known = observe(model=session.fingerprint, data=hashes, runtime=runtime, gpus=gpus)
        store.write_provenance(known)
    run = Run(experiment, store, events, session, known.run or known.started)
    if summary is not None:
        run.stages, run.before = list(summary.stages), summary.seconds
        run.earlier = (summary.status, summary.reason)
    return run


def _see_that_files_exist(experiment: Experiment, *, apart: bool) -> None:
    """Look for the files of parts that are needed only later; an attacker's lie with it.

    Raises:
        DataError: One is not there.
    """
    attack, root = experiment.attack, experiment.federation.root
    later = (
        ("attack.generator", "generator", attack.generator if attack and not apart else None),
        ("federation.root", "source", root),
    )
    for place, kind, choice in later:
        if choice is None:
            continue
        settings = REGISTRIES[kind][choice.name].resolve(choice.settings)
        for name, value in settings.items():
            if isinstance(value, Path) and not value.exists():
                raise DataError(f"{place}.{name}: there is no file {value}.")


def _unchanged(known: Provenance | None, model: str, data: dict[str, str]) -> None:
    """See that a run goes on with the model and the data that it began with."""
    if known is None:
        return
    for what, before, now in (
        ("base model, tokenizer or template", known.model, model),
        ("data", known.data, data),
    ):
        if before != now:
            raise RunError(
                f"The {what} changed since this run began. Put it back, or start a new run in "
                "another directory with -o."
            )
