"""How long a matrix takes and how much disk: measured on its model, then on its first stages.

Before anything ran short measurements (`fedsafe.pipeline.estimate`) give the seconds of a
reply and of a training step, and settings say how many there are. What has run then corrects
each kind of stage by what it took against what was reckoned.
"""

import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from fedsafe.contracts import Sample
from fedsafe.evaluation.asking import asks_of
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.experiment.pipelines import pipelines_of
from fedsafe.experiment.schema import Experiment
from fedsafe.matrix.plan import Plan, Stage
from fedsafe.pipeline.estimate import Work, numbers
from fedsafe.pipeline.opening import open_run
from fedsafe.pipeline.run_defense import defense_context
from fedsafe.pipeline.run_state import Run
from fedsafe.runs.events import Events
from fedsafe.runs.files import digest
from fedsafe.runs.matrix_records import CELLS, STAGES, StageRecord
from fedsafe.runs.store import Store

MANY = 1000
"""Replies and steps that the measured times are told of, so that they lose nothing to rounding."""
REPLY_BYTES = 700
"""Of a reply with its prompt and verdicts, as its files have it."""
CELL_BYTES = 200_000
"""Of a cell's own records and report."""
CELL_SECONDS = 0.5
ROWS = 64
"""Replies that are measured together, of a model that takes a short time for them."""
SHORT = 20.0
"""Seconds that such a measurement may take."""


@dataclass(frozen=True)
class Speed:
    """What one experiment's model takes.

    Attributes:
        reply: Seconds of one reply of an evaluation.
        step: Seconds of one training step with the experiment's batch.
        adapter: Bytes of an adapter.
        replies: Replies of one evaluation.
    """

    reply: float
    step: float
    adapter: int
    replies: int


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Attributes:
        seconds: Of work in all that is left, in one process.
        disk: Bytes of the directory when all is done.
        measured: Stages that ran and whose times it is made from; 0: a first estimate.
        unknown: Kinds of stages whose time could not be reckoned beforehand.
    """

    seconds: float
    disk: float
    measured: int
    unknown: Sequence[str] = ()


def speeds(plan: Plan) -> dict[str, Speed]:
    """Measure each model and setting of a plan once; by `group` of the experiment.

    Raises:
        FedSafeError: A model or its data cannot be loaded.
    """
    found: dict[str, Speed] = {}
    for cell in plan.cells:
        name = group(cell.experiment)
        if name not in found:
            found[name] = _measure(cell.experiment)
    return found


def group(experiment: Experiment) -> str:
    """Return what names the experiments that take equally long for a reply and for a step."""
    evaluation = experiment.evaluation.model_dump_json(include={"suites", "max_new_tokens"})
    training = experiment.training.model_dump_json(include={"batch_size", "optimizer"})
    return digest(experiment.model, experiment.adapter, evaluation, training)[:16]


def _measure(experiment: Experiment) -> Speed:
    bare = experiment.model_copy(update={"attack": None, "defenses": (), "alignment": None})
    with TemporaryDirectory() as scratch:
        run = open_run(bare, Store(Path(scratch)), Events(), "inline")
        told = numbers(Work(1, MANY, MANY, bare.training.batch_size), run)
        reply, step = told["evaluating"] / MANY, told["training"] / MANY
        if reply * ROWS < SHORT and step < SHORT:
            reply, step = _whole_batches(run)
        shapes = run.session.shapes.values()
    asked = asks_of(bare.evaluation.conditions, prompts_of(bare))
    adapter = 4 * sum(map(prod, shapes))
    return Speed(reply, step, adapter, replies=sum(map(len, asked.values())))


def _whole_batches(run: Run) -> tuple[float, float]:
    """Return the seconds of a reply and of a step, measured in batches as large as in the run.

    A small model takes hardly longer for many rows than for few.
    """
    experiment = run.experiment
    prompts = [Sample(p.instruction, p.instruction, p.input) for p in prompts_of(experiment)]
    rows = (prompts * ROWS)[: min(ROWS, experiment.evaluation.batch_size)]
    begun = time.perf_counter()
    run.session.complete(rows)
    reply = (time.perf_counter() - begun) / len(rows)
    size = experiment.training.batch_size
    batch = (prompts * size)[:size]
    context = defense_context(run.session, random.Random(0), run.events)
    begun = time.perf_counter()
    context.gradients(batch, batch_size=size)
    return reply, time.perf_counter() - begun


def reckoned(stage: Stage, speed: Speed) -> float:
    """Return the seconds of a stage by the first estimate."""
    experiment = stage.experiment
    seconds: float = speed.replies * speed.reply
    if stage.kind == "federation":
        training, federation = experiment.training, experiment.federation
        steps = federation.rounds * experiment.sampled * training.steps * training.accumulation
        every, prompts = experiment.evaluation.probe_every, experiment.evaluation.probe_prompts
        probes = federation.rounds // every * min(speed.replies, 4 * prompts) if every else 0
        return seconds + steps * speed.step + probes * speed.reply
    if stage.kind == "aligned" and experiment.alignment is not None:
        return seconds + experiment.alignment.steps * speed.step
    if stage.kind == "second-attack" and experiment.second_attack is not None:
        second, training = experiment.second_attack, experiment.training
        steps = experiment.sampled * training.steps * training.accumulation
        return seconds + second.rounds * (steps * speed.step + 4 * second.prompts * speed.reply)
    if stage.kind == "defense":
        settings = pipelines_of(experiment.defenses)[-1][-1].settings
        repair, pairs = (_count(settings.get(name)) for name in ("steps", "pairs"))
        return seconds + repair * speed.step + 4 * pairs * speed.reply
    return seconds


def _count(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def estimate(
    plan: Plan,
    known: Mapping[str, Speed],
    ended: Mapping[str, StageRecord],
    directory: Path | None = None,
) -> Estimate:
    """Return what is left to be expected.

    Args:
        plan: The plan.
        known: What `speeds` measured.
        ended: Stages and cells that are done, by id.
        directory: The matrix directory, if there is one.
    """
    scale = _scales(ended.values())
    left = [stage for stage in plan.stages.values() if stage.id not in ended]
    unknown = sorted({_kind(stage.kind, stage.name) for stage in left} - scale.keys())
    other = scale.get("federation", 1.0)
    seconds = sum(
        reckoned(stage, known[group(stage.experiment)])
        * scale.get(_kind(stage.kind, stage.name), other)
        for stage in left
    )
    cells = [one.seconds for one in ended.values() if one.kind == "cell"]
    each = sum(cells) / len(cells) if cells else CELL_SECONDS
    seconds += each * sum(f"cell:{cell.name}" not in ended for cell in plan.cells)
    measured = sum(one.kind != "cell" for one in ended.values())
    return Estimate(seconds, _disk(plan, known, ended, directory), measured, unknown)


def _kind(kind: str, name: str) -> str:
    """Return what stages are compared by: defenses by their last step."""
    return (
        f"defense {name.rpartition('+')[2].removeprefix('defended:')}"
        if kind == "defense"
        else kind
    )


def _scales(ended: Iterable[StageRecord]) -> dict[str, float]:
    """Return what each kind of stage took, against what was reckoned."""
    took: dict[str, list[float]] = {}
    for one in ended:
        if one.kind != "cell" and one.units > 0:
            sums = took.setdefault(_kind(one.kind, one.name), [0.0, 0.0])
            sums[0] += one.seconds
            sums[1] += one.units
    return {kind: seconds / units for kind, (seconds, units) in took.items()}


def _disk(
    plan: Plan,
    known: Mapping[str, Speed],
    ended: Mapping[str, StageRecord],
    directory: Path | None,
) -> float:
    """Return the bytes of the whole directory when all is done."""
    stages = 0.0
    for stage in plan.stages.values():
        speed = known[group(stage.experiment)]
        stages += speed.adapter + speed.replies * REPLY_BYTES
    cells = float(CELL_BYTES * len(plan.cells))
    if directory is not None:
        seen: set[int] = set()
        made, run = (bytes_of(directory / name, seen) for name in (STAGES, CELLS))
        done = sum(one.kind != "cell" for one in ended.values())
        whole = sum(one.kind == "cell" for one in ended.values())
        stages = made / done * len(plan.stages) if done else stages
        cells = run / whole * len(plan.cells) if whole else cells
    return stages + cells


def bytes_of(directory: Path, seen: set[int] | None = None) -> int:
    """Return the bytes that a directory's files take on the disk, a linked file counted once."""
    known = set() if seen is None else seen
    total = 0
    for home, _, files in os.walk(directory):
        for file in files:
            state = (Path(home) / file).lstat()
            if state.st_ino not in known:
                known.add(state.st_ino)
                total += state.st_blocks * 512
    return total
