"""A first estimate of how long a run takes, from short measurements before the first stage.

It counts generation and training; self-written data, judges that are models, and clients on
other machines it cannot know. It changes nothing that the run computes.
"""

import random
import time
from dataclasses import dataclass, replace
from typing import Any

from fedsafe.contracts import Sample
from fedsafe.evaluation.asking import asks_of
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.evaluation.served import conditions_with, served_through
from fedsafe.experiment.schema import Experiment
from fedsafe.pipeline.run_defense import defense_context
from fedsafe.pipeline.run_state import ADAPTER, ALIGNED, ALIGNMENT, DEPLOYMENT, Run

SMALLEST = 10**7
"""Parameters of the smallest model worth a measurement; a smaller one is done by then."""
ROWS, WORDS = 16, 8
"""Replies of the measured generation, at most, and tokens after their first."""
SAMPLES = 4
"""Samples of the measured training step, at most; a whole batch takes longer in proportion."""


@dataclass(frozen=True)
class Work:
    """What a run does, counted.

    Attributes:
        stages: Evaluations in full.
        replies: Replies of each.
        steps: Optimizer steps of the alignment and of the clients in this process or simulation.
        batch: Samples of the largest batch.
    """

    stages: int
    replies: int
    steps: int
    batch: int


def estimate(run: Run) -> None:
    """Measure generation and training once, and tell how long they will take in all."""
    model = run.session.loaded.model
    if run.stages or sum(parameter.numel() for parameter in model.parameters()) < SMALLEST:
        return
    work = count(run.experiment, run.runtime, run.planned)
    told = numbers(work, run)
    run.events(
        "note",
        f"First estimate, from short measurements: at most {told['left'] / 60:.0f} min for "
        f"{work.stages} evaluations of {work.replies} replies and {work.steps} training steps; "
        "what defenses do comes on top.",
        **told,
    )


def count(experiment: Experiment, runtime: str, planned: list[str]) -> Work:
    """Return what an experiment's stages do, as far as that is known beforehand."""
    shields = served_through(experiment.evaluation, None)
    conditions = conditions_with(experiment.evaluation, shields)
    asked = asks_of(conditions, prompts_of(experiment))
    federations = sum(name in planned for name in ("clean", "attacked", "trained"))
    training, alignment = experiment.training, experiment.alignment
    steps, batches = 0, [1]
    if runtime not in {DEPLOYMENT, ADAPTER, ALIGNMENT}:
        each = training.steps * training.accumulation * experiment.sampled
        steps, batches = federations * experiment.federation.rounds * each, [training.batch_size]
    if alignment is not None and ALIGNED in planned:
        steps += alignment.steps
        batches.append(alignment.batch_size)
    return Work(len(planned), sum(map(len, asked.values())), steps, max(batches))


def numbers(work: Work, run: Run) -> dict[str, Any]:
    """Return the seconds of evaluation and training in all, measured on the run's own model."""
    prompts = [Sample(p.instruction, p.instruction, p.input) for p in prompts_of(run.experiment)]
    run.session.put(run.start)
    evaluating = work.stages * work.replies * _seconds_a_reply(run, prompts)
    training = work.steps * _seconds_a_step(run, prompts, work.batch) if work.steps else 0.0
    return {
        "stage": "all",
        "total": work.stages * work.replies,
        "steps": work.steps,
        "evaluating": round(evaluating, 1),
        "training": round(training, 1),
        "left": round(evaluating + training, 1),
    }


def _seconds_a_reply(run: Run, prompts: list[Sample]) -> float:
    """Measure the prompts' pass and a decoding step apart: only the second grows with a reply."""
    settings = run.experiment.evaluation
    rows = prompts[: min(ROWS, settings.batch_size)]
    _generation(run, rows[:1], 1)  # the first call reads weights and code from the disk
    first = _generation(run, rows, 1)
    step = max(0.0, _generation(run, rows, 1 + WORDS) - first) / WORDS
    return (first + (settings.max_new_tokens - 1) * step) / max(1, len(rows))


def _generation(run: Run, rows: list[Sample], tokens: int) -> float:
    short = replace(run.session, max_new_tokens=tokens)
    begun = time.perf_counter()
    short.complete(rows)
    return time.perf_counter() - begun


def _seconds_a_step(run: Run, prompts: list[Sample], batch: int) -> float:
    measured = min(batch, SAMPLES, len(prompts))
    if not measured:
        return 0.0
    context = defense_context(run.session, random.Random(0), run.events)
    context.gradients(prompts[:1], batch_size=1)  # as above
    begun = time.perf_counter()
    context.gradients(prompts[-measured:], batch_size=measured)
    return (time.perf_counter() - begun) * batch / measured
