"""Read the runs of a comparison: one run, one stage of it, or an experiment with several seeds.

Reads finished run directories; runs nothing and loads no model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from pydantic import ValidationError

from fedsafe.contracts import Exchange, Prompt, Verdict
from fedsafe.errors import RunError
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.evaluation.per_prompt import Answers, judged_replies, per_prompt
from fedsafe.experiment.schema import Experiment
from fedsafe.redaction import MASK, is_secret
from fedsafe.runs.checksums import read_sealed
from fedsafe.runs.comparison_records import ComparedRun, Differing
from fedsafe.runs.failed_stages import counted
from fedsafe.runs.records import Provenance, Stage, Summary
from fedsafe.runs.seed_records import FILE, SeedSummary
from fedsafe.runs.store import Store
from fedsafe.suggestions import suggestion
from fedsafe.validation_errors import first_of

Asked = tuple[str, str]
"""Id of a prompt, and condition under which it was asked."""
UNTOLD = {"version", "started", "run", "experiment", "compute", "max_length"}
"""Fields of provenance.json that name a run, or follow from its experiment."""


@dataclass
class OneRun:
    """One run that has evaluated stages."""

    directory: Path
    experiment: Experiment
    summary: Summary
    provenance: Provenance | None

    @classmethod
    def read(cls, directory: Path) -> "OneRun":
        """Read a run directory.

        Raises:
            RunError: It is none, nothing of it has been evaluated, or a record is broken.
        """
        store = Store(directory)
        experiment, summary = store.experiment, store.summary()
        if summary is None or not any(stage.status == "done" for stage in summary.stages):
            raise RunError(
                f"{directory} has no evaluated stage yet, so there is nothing to compare. Let the "
                f"run come that far: `fedsafe resume {directory}`."
            )
        return cls(directory, experiment, summary, store.provenance())

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Its stages that count, by name, in order; a failed defense as the model it was given."""
        return {stage.name: stage for stage in counted(self.summary.stages)}

    @cached_property
    def prompts(self) -> list[Prompt]:
        """Every prompt of its suites."""
        return prompts_of(self.experiment)

    def replies(self, name: str) -> dict[Asked, tuple[Exchange, Verdict]]:
        """Return a stage's replies with the verdicts that its scores count."""
        stage = self.stages[name]
        found = judged_replies(self.directory / stage.evaluation, self.prompts, stage.scores)
        return {(exchange.prompt.id, exchange.condition): (exchange, v) for exchange, v in found}

    def answers(self, name: str) -> dict[str, Answers]:
        """Return each measure's value on each prompt at a stage."""
        stage = self.stages[name]
        chosen = self.experiment.evaluation.measures
        return per_prompt(self.directory / stage.evaluation, self.prompts, chosen, stage.scores)


@dataclass
class Side:
    """One side of a comparison."""

    label: str
    given: str
    runs: dict[int, OneRun]
    """By seed; a single run under its own."""
    stage: str = ""
    seeded: bool = False
    """Whether it is an experiment that was run with several seeds."""

    @property
    def first(self) -> OneRun:
        """The run whose configuration stands for all."""
        return next(iter(self.runs.values()))

    @property
    def names(self) -> list[str]:
        """Stages that every one of its runs has."""
        return [n for n in self.first.stages if all(n in run.stages for run in self.runs.values())]

    def record(self) -> ComparedRun:
        """Return it as a record."""
        return ComparedRun(
            label=self.label,
            directory=self.given,
            name=self.first.experiment.name,
            seeds=list(self.runs),
            stage=self.stage,
        )


def sides(given: Sequence[str | Path]) -> list[Side]:
    """Read the sides of a comparison.

    Args:
        given: Two or more run directories or directories of seeds, each as ``DIR`` or
            ``DIR:STAGE``.

    Raises:
        RunError: There are not two to 26, or one of them is no run or has no such stage.
    """
    if not 2 <= len(given) <= len(ascii_uppercase):
        raise RunError(
            f"A comparison takes 2 to {len(ascii_uppercase)} runs, and {len(given)} were given. "
            "Name the one that the others are compared with first."
        )
    found = [_side(label, str(one)) for label, one in zip(ascii_uppercase, given, strict=False)]
    if len({side.seeded for side in found}) > 1:
        seeded = next(side for side in found if side.seeded)
        raise RunError(
            f"{seeded.given} holds runs with several seeds, and not all of the others do. Compare "
            f"one of its runs, such as {seeded.first.directory}, or several seeds with several."
        )
    return found


def _side(label: str, given: str) -> Side:
    directory, stage = _parsed(given)
    seeded = (directory / FILE).is_file()
    if seeded:
        runs = {seed: OneRun.read(directory / path) for seed, path in _seeds(directory)}
    else:
        run = OneRun.read(directory)
        runs = {run.experiment.seed: run}
    side = Side(label, given, runs, stage, seeded)
    if stage:
        check_stage(side)
    return side


def check_stage(side: Side) -> None:
    """See that every run of a side has the stage that was asked for.

    Raises:
        RunError: One has not.
    """
    if side.stage not in side.names:
        raise RunError(
            f"{side.given} has no evaluated stage '{side.stage}'."
            f"{suggestion(side.stage, side.names)} Stages: {', '.join(side.names)}."
        )


def _seeds(directory: Path) -> list[tuple[int, str]]:
    try:
        return list(SeedSummary.model_validate(read_sealed(directory / FILE)).runs.items())
    except ValidationError as error:
        raise RunError(
            f"{directory / FILE} cannot be read: {first_of(error)}. Give the command again that "
            "made it."
        ) from None


def _parsed(given: str) -> tuple[Path, str]:
    """Return directory and stage of ``DIR`` or ``DIR:STAGE``."""
    if Path(given).exists():
        return Path(given), ""
    places = [index for index, character in enumerate(given) if character == ":"]
    for place in reversed(places):
        if Path(given[:place]).is_dir():
            return Path(given[:place]), given[place + 1 :]
    return Path(given), ""


def settings_that_differ(found: Sequence[Side]) -> list[Differing]:
    """Return the settings in which the sides' experiments are not alike."""
    rows = [dict(_flat(side.first.experiment.model_dump(mode="json"))) for side in found]
    if any(side.seeded for side in found):
        for row in rows:
            row.pop("seed", None)
    return _differing(rows)


def environment_that_differs(found: Sequence[Side]) -> list[Differing]:
    """Return what provenance.json says of versions, machine, model and data that is not alike."""
    rows = [
        {} if (known := side.first.provenance) is None
        else dict(_flat(known.model_dump(mode="json", exclude=UNTOLD)))
        for side in found
    ]  # fmt: skip
    return _differing(rows)


def _differing(rows: Sequence[Mapping[str, Any]]) -> list[Differing]:
    paths = dict.fromkeys(path for row in rows for path in row)
    values = {path: [row.get(path) for row in rows] for path in paths}
    return [
        Differing(path=path, values=[_shown(path, one) for one in each])
        for path, each in values.items()
        if any(one != each[0] for one in each)
    ]


def _shown(path: str, value: Any) -> Any:
    return MASK if is_secret(path.rpartition(".")[2], value) else value


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of everything that is no mapping, nor a list of mappings."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{index}")
    else:
        yield path, value
