"""Judge the kept replies of a run again, with no model loaded."""

import time
from pathlib import Path

from fedsafe.evaluation import inspecting, kept
from fedsafe.evaluation.evaluate import judges_of, prompts_of, rejudge
from fedsafe.evaluation.judging import reads_with_a_model
from fedsafe.experiment.schema import Experiment
from fedsafe.pipeline.opening import same_experiment
from fedsafe.pipeline.run_state import adapter_of
from fedsafe.runs.events import Events
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import Store


def rejudge_run(store: Store, experiment: Experiment, events: Events) -> Summary | None:
    """Judge every stage of a run again; None where a model is needed, for replies or judge.

    Args:
        store: The run directory.
        experiment: That of the run, with the judge and measures that are wanted.
        events: Receives progress events.

    Raises:
        RunError: A record of the run, or an adapter, was changed or damaged.
        FedSafeError: The judge failed.
    """
    same_experiment(store, store.provenance())
    summary = store.summary()
    if any(map(reads_with_a_model, judges_of(experiment))):
        return None
    if summary is None or not _replies_of_all(store, experiment, summary):
        return None
    stages = list(summary.stages)
    for index, stage in enumerate(stages):
        if stage.status != "done":
            continue
        events("stage-start", stage=stage.name)
        stages[index] = _judged(store, experiment, stage)
        scores = stages[index].scores.model_dump(mode="json")
        events("stage-end", stage=stage.name, scores=scores, seconds=stage.seconds)
    judged = summary.model_copy(update={"stages": stages})
    store.write_summary(judged)
    return judged


def _replies_of_all(store: Store, experiment: Experiment, summary: Summary) -> bool:
    prompts = prompts_of(experiment)
    done = [stage for stage in summary.stages if stage.status == "done"]
    places = [_place(store, stage) for stage in done]
    wanted = experiment.evaluation.diagnostics
    return bool(done) and all(
        kept.exchanges(place, prompts) is not None and inspecting.kept(place, wanted) is not None
        for place in places
    )


def _judged(store: Store, experiment: Experiment, stage: Stage) -> Stage:
    """Return a stage with new scores, after a look whether its adapter is still the same."""
    adapter_of(store, stage)
    begun = time.perf_counter()
    scores = rejudge(_place(store, stage), experiment, stage.name)
    return stage.model_copy(
        update={
            "scores": scores,
            "judge": experiment.evaluation.judge.name,
            "evaluation_seconds": time.perf_counter() - begun,
        }
    )


def _place(store: Store, stage: Stage) -> Path:
    return store.directory / stage.evaluation
