"""The plan of a matrix: a graph of stages, each named by what it depends on.

A stage is one adapter with its evaluation: the base, an aligned base, a federation, one step of
a defense pipeline. Cells whose settings give a stage the same key have it in common, and it is
made once. Before anything ran the adapters themselves are not known, so that a stage's key here
names the stages before it in place of their results; the content keys of the run
(`fedsafe.pipeline.keys`) then find what else is equal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fedsafe.attack_task import AttackTask
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.pipelines import again_name, ends_of, pipelines_of, steps_of
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.matrix.cells import Cell
from fedsafe.pipeline import keys
from fedsafe.pipeline.defense_work import with_all_settings
from fedsafe.runs.files import digest

BASE, ALIGNED, CLEAN, ATTACKED, TRAINED = "base", "aligned", "clean", "attacked", "trained"


@dataclass(frozen=True)
class Stage:
    """One stage of the plan.

    Attributes:
        key: sha256 of what it depends on, the stages before it included.
        kind: base, aligned, federation, defense or second-attack.
        name: Of the stage in the run that makes it, such as ``attacked``.
        experiment: The smallest experiment whose run makes it.
        after: Keys of the stages that it needs.
        cell: Name of the first cell that has it.
    """

    key: str
    kind: str
    name: str
    experiment: Experiment
    after: tuple[str, ...]
    cell: str

    @property
    def id(self) -> str:
        """The key's beginning, which names its files."""
        return self.key[:16]


@dataclass(frozen=True)
class Plan:
    """The stages of all cells.

    Attributes:
        cells: What is run.
        stages: Every stage by key, each after those that it needs.
        of_cell: Keys of each cell's stages by the cell's name, in order.
    """

    cells: Sequence[Cell]
    stages: Mapping[str, Stage]
    of_cell: Mapping[str, Sequence[str]]

    @property
    def total(self) -> int:
        """Stages of all cells if nothing were shared."""
        return sum(map(len, self.of_cell.values()))

    def users(self) -> dict[str, int]:
        """Return how many cells have each stage."""
        counted = dict.fromkeys(self.stages, 0)
        for listed in self.of_cell.values():
            for key in listed:
                counted[key] += 1
        return counted

    def data_sets(self) -> tuple[int, int]:
        """Return the attackers' data sets that models write: of all cells, and without repeats."""
        made = [one for cell in self.cells for one in _written(cell.experiment)]
        return len(made), len(set(made))


def plan_of(cells: Sequence[Cell]) -> Plan:
    """Return the plan of some cells."""
    stages: dict[str, Stage] = {}
    of_cell: dict[str, list[str]] = {}
    made: dict[str, str] = {}
    for cell in cells:
        listed = of_cell[cell.name] = []
        for stage, adapter in _CellStages(cell).all():
            first = made.setdefault(adapter, stage.key)
            if first != stage.key:  # the same adapter, evaluated otherwise
                stage = replace(stage, after=(*stage.after, first))  # noqa: PLW2901
            stages.setdefault(stage.key, stage)
            if stage.key not in listed:
                listed.append(stage.key)
    return Plan(cells, stages, of_cell)


class _CellStages:
    """The stages of one cell, each with the key of its adapter alone."""

    def __init__(self, cell: Cell) -> None:
        self._cell, self._second = cell, cell.experiment.second_attack
        experiment = cell.experiment.model_copy(update={"second_attack": None})
        self._experiment = experiment
        template = experiment.data.template.model_dump_json()
        self._judged = digest(experiment.evaluation.model_dump_json(), template)
        self._model = digest(experiment.model.path, experiment.model.revision, template)
        self._given = digest(experiment.adapter.start) if experiment.adapter.start else ""
        self._main = TRAINED if experiment.attack is None else ATTACKED

    def all(self) -> Iterator[tuple[Stage, str]]:
        """Yield them in order."""
        experiment, before = self._experiment, self._given
        bare = experiment.model_copy(update={"attack": None, "defenses": (), "control": False})
        adapter = keys.key(keys.base_inputs(experiment, self._model, before))
        start = self._stage("base", BASE, bare, adapter)
        yield start, adapter
        if experiment.alignment is not None:
            source = experiment.alignment.source
            inputs = (experiment, self._model, before, experiment.alignment, source)
            before = adapter = keys.key(keys.alignment_inputs(*inputs))
            start = self._stage("aligned", ALIGNED, bare, adapter, start.key)
            yield start, adapter
        if experiment.attack is not None and experiment.control:
            adapter = self._federation(bare, before)
            yield self._stage("federation", CLEAN, bare, adapter, start.key), adapter
        alone = experiment.model_copy(update={"defenses": (), "control": False})
        adapter = self._federation(experiment, before)
        main = self._stage("federation", self._main, alone, adapter, start.key)
        yield main, adapter
        yield from self._defended(main, adapter, before)

    def _defended(self, main: Stage, adapter: str, before: str) -> Iterator[tuple[Stage, str]]:
        """Yield the steps of the cell's defense pipelines."""
        experiment = self._experiment
        found = {self._main: (main, adapter, tuple[PluginChoice, ...]())}
        prompts = frozenset({experiment.evaluation.model_dump_json(include={"suites"})})
        for step in steps_of(pipelines_of(experiment.defenses), self._main):
            earlier, repaired, choices = found[step.after]
            chosen = with_all_settings(step.choice)
            settings = (experiment, self._model, repaired, chosen, prompts, before)
            key = keys.key(keys.defense_inputs(*settings))
            pipeline = (*choices, step.choice)
            name = steps_of([pipeline], self._main)[-1].name
            written = pipeline[0] if len(pipeline) == 1 else pipeline
            alone = experiment.model_copy(update={"defenses": (written,), "control": False})
            made = self._stage("defense", name, alone, key, earlier.key)
            found[step.name] = (made, key, pipeline)
            yield made, key
        if self._second is not None:
            for name in ends_of(pipelines_of(experiment.defenses), self._main):
                yield self._again(*found[name][:2])

    def _again(self, defended: Stage, adapter: str) -> tuple[Stage, str]:
        """Return the second attack on a defended model."""
        alone = defended.experiment.model_copy(update={"second_attack": self._second})
        key = digest("second attack", adapter, self._second)
        name = again_name(defended.name)
        return self._stage("second-attack", name, alone, key, defended.key), key

    def _federation(self, experiment: Experiment, before: str) -> str:
        """Return the key of a federation's adapter before anything ran."""
        source = {"source": experiment.data.source.model_dump_json()}
        inputs = keys.federation_inputs(experiment, self._model, source, "", before)
        if experiment.attack is not None and experiment.evaluation.overlap == "remove":
            inputs["suites"] = experiment.evaluation.model_dump_json(include={"suites"})
        return keys.key(inputs)

    def _stage(
        self, kind: str, name: str, smallest: Experiment, adapter: str, *after: str
    ) -> Stage:
        key = digest(adapter, self._judged)
        return Stage(key, kind, name, smallest, after, self._cell.name)


def _written(experiment: Experiment) -> Iterator[str]:
    """Yield what names each data set that an experiment's attackers write."""
    attack = experiment.attack
    if attack is None or attack.generator is None:
        return
    for client in sorted(malicious_clients(experiment)):
        task = AttackTask.of(experiment, client)
        if task is not None:
            yield digest(task.generator, task.examples, task.seed, experiment.model.path)
