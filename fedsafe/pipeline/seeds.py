"""Aggregate runs of one experiment with several seeds: spread, and paired differences.

Reads finished run directories; runs nothing and loads no model.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fedsafe.contracts import Prompt
from fedsafe.errors import RunError
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.evaluation.paired import holm, mean_interval, paired_difference
from fedsafe.evaluation.per_prompt import Answers, per_prompt
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.checksums import write_sealed
from fedsafe.runs.failed_stages import MAIN, counted
from fedsafe.runs.records import Stage
from fedsafe.runs.scores import SHIELDED, Display, all_displays, parts_of
from fedsafe.runs.seed_records import FILE, Difference, SeedStage, SeedSummary, Spread
from fedsafe.runs.store import Store, experiment_hash


def seed_directory(directory: Path, seed: int) -> Path:
    """Return where the run with a seed lies."""
    return directory / f"seed-{seed}"


def aggregate_seeds(directory: Path, experiment: Experiment, seeds: Iterable[int]) -> SeedSummary:
    """Aggregate the runs of an experiment in ``<directory>/seed-K``, and write seeds.json.

    A defense that failed with a seed counts there with the values of the model that it was given,
    in every mean and difference.

    Args:
        directory: Directory of the runs.
        experiment: The experiment, with any seed.
        seeds: Seeds whose runs are finished.

    Raises:
        RunError: A run is missing or unfinished, or its files were changed.
    """
    runs = {seed: SeedRun.read(seed_directory(directory, seed)) for seed in seeds}
    names = list(dict.fromkeys(name for run in runs.values() for name in run.stages))
    displays = all_displays(stage.scores for run in runs.values() for stage in run.stages.values())
    judged = (
        stage.scores.judge or stage.judge
        for run in runs.values()
        for stage in run.stages.values()
        if stage.status == "done"
    )
    summary = SeedSummary(
        name=experiment.name,
        experiment=experiment_hash(experiment.model_copy(update={"seed": 0})),
        seeds=list(runs),
        runs={seed: seed_directory(Path(), seed).name for seed in runs},
        judges=list(dict.fromkeys(judged)),
        displays=displays,
        stages=[_stage(runs, name, displays) for name in names],
        differences=_adjusted(
            found
            for before, after in _compared(names)
            for found in _differences(runs, before, after, displays)
        ),
    )
    write_sealed(directory / FILE, summary.plain())
    return summary


@dataclass
class SeedRun:
    """One finished run: its stages by name, and each measure's value on each prompt."""

    directory: Path
    experiment: Experiment
    stages: dict[str, Stage]

    @classmethod
    def read(cls, directory: Path) -> "SeedRun":
        """Read a run directory.

        Raises:
            RunError: It holds no run whose main model has been evaluated.
        """
        store = Store(directory)
        summary = store.summary()
        stages = {} if summary is None else {stage.name: stage for stage in summary.stages}
        if not any(name in stages for name in MAIN):
            raise RunError(
                f"{directory} holds no finished run. Give the command again with --seeds: it goes "
                "on where it stopped."
            )
        return cls(directory, store.experiment, stages)

    def stage(self, name: str) -> Stage | None:
        """Return a stage as it counts: for a failed defense, the model that it was given."""
        return next(
            (stage for stage in counted(list(self.stages.values())) if stage.name == name), None
        )

    def value(self, name: str, key: str) -> float | None:
        """Return what a measure found at a stage; behind a shield it lacks: as it is served."""
        stage = self.stage(name)
        if stage is None:
            return None
        rate = stage.scores.measures.get(_served(key, stage.scores.measures))
        return None if rate is None else rate.value

    def answers(self, name: str, key: str) -> Answers:
        """Return a measure's value on each prompt at a stage; empty where it has none."""
        stage = self.stage(name)
        if stage is None or not stage.evaluation:
            return {}
        found = self._answers(stage)
        return found.get(_served(key, stage.scores.measures), {})

    def _answers(self, stage: Stage) -> dict[str, Answers]:
        if stage.name not in self._known:
            directory = self.directory / stage.evaluation
            chosen = self.experiment.evaluation.measures
            self._known[stage.name] = per_prompt(directory, self.prompts, chosen, stage.scores)
        return self._known[stage.name]

    @cached_property
    def _known(self) -> dict[str, dict[str, Answers]]:
        return {}

    @cached_property
    def prompts(self) -> list[Prompt]:
        """Prompts of its suites."""
        return prompts_of(self.experiment)


def _served(key: str, known: Mapping[str, object]) -> str:
    """Return the key of what is served where a shielded measure is asked of a bare model."""
    measure, condition = parts_of(key)
    return measure if condition == SHIELDED and key not in known else key


def _compared(names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the stages to compare: before against after the federation, then each defense."""
    main = next(name for name in MAIN if name in names)
    before = next((name for name in ("clean", "aligned", "base") if name in names), None)
    if "aligned" in names and "base" in names:
        yield "base", "aligned"
    if before is not None:
        yield before, main
    yield from ((main, name) for name in names if name.startswith("defended:"))


def _keys(runs: Mapping[int, SeedRun], name: str) -> list[str]:
    """Return the measures of a stage over seeds; those of the defended model if it failed."""
    evaluated = [run.stages[name].scores for run in runs.values() if name in run.stages]
    if not any(scores.measures for scores in evaluated):
        counted = (run.stage(name) for run in runs.values())
        evaluated = [stage.scores for stage in counted if stage is not None]
    return list(dict.fromkeys(key for scores in evaluated for key in scores.measures))


def _stage(runs: Mapping[int, SeedRun], name: str, displays: Mapping[str, Display]) -> SeedStage:
    found: dict[str, Spread] = {}
    for key in _keys(runs, name):
        known = {seed: run.value(name, key) for seed, run in runs.items()}
        values = {seed: value for seed, value in known.items() if value is not None}
        if values:
            over_seeds = _interval(list(values.values()), _least(key, displays, 0.0))
            found[key] = Spread.model_validate({**over_seeds, "seeds": values})
    stages = {seed: run.stages[name] for seed, run in runs.items() if name in run.stages}
    failed = [seed for seed, stage in stages.items() if stage.status == "failed"]
    stops = {seed: one.early_stop for seed, one in stages.items() if one.early_stop is not None}
    return SeedStage(name=name, measures=found, failed=failed, early_stops=stops)


def _least(key: str, displays: Mapping[str, Display], least: float) -> float | None:
    """Return the least value there can be of a share, or of a difference of shares."""
    display = displays.get(parts_of(key)[0])
    return least if display is None or display.unit == "share" else None


def _interval(values: list[float], least: float | None) -> dict[str, float | None]:
    """Return mean, sd and interval over seeds, cut to what can be: ``least`` to 1."""
    of = mean_interval(values)
    low, high = of.low, of.high
    if least is not None and low is not None and high is not None:
        low, high = max(low, least), min(high, 1.0)
    return {"mean": of.mean, "sd": of.sd, "low": low, "high": high}


def _differences(
    runs: Mapping[int, SeedRun], before: str, after: str, displays: Mapping[str, Display]
) -> Iterator[Difference]:
    for key in _keys(runs, after):
        moved = []
        for run in runs.values():
            old, new = run.value(before, key), run.value(after, key)
            if old is not None and new is not None:
                moved.append(new - old)
        if moved:
            over_seeds = _interval(moved, _least(key, displays, -1.0))
            names = {"before": before, "after": after, "measure": key}
            yield Difference.model_validate({**names, **over_seeds, **_pooled(runs, names)})


def _adjusted(found: Iterable[Difference]) -> list[Difference]:
    """Return differences with Holm's correction over all of their tests."""
    differences = list(found)
    adjusted = iter(holm([one.p_value for one in differences if one.p_value is not None]))
    return [
        one if one.p_value is None else one.model_copy(update={"p_adjusted": next(adjusted)})
        for one in differences
    ]


def _pooled(runs: Mapping[int, SeedRun], names: Mapping[str, str]) -> dict[str, float | None]:
    """Return what all pairs of prompts say together; nothing where there are no pairs."""
    pairs: list[tuple[float, float]] = []
    groups: list[str] = []
    seeds: list[int] = []
    for seed, run in runs.items():
        old = run.answers(names["before"], names["measure"])
        new = run.answers(names["after"], names["measure"])
        for id_ in (one for one in old if one in new):
            pairs.append((old[id_].value, new[id_].value))
            groups.append(old[id_].group)
            seeds.append(seed)
    return paired_difference(pairs, groups, seeds)
