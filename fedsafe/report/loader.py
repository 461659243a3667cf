"""Load a run directory for the report; missing files give empty values.

Knows nothing of HTML.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from fedsafe.errors import RunError
from fedsafe.report.defenses import Defense, defenses_of, titles
from fedsafe.report.measures import Measure, found, short
from fedsafe.report.verdict import Story, tell
from fedsafe.runs.failed_stages import counted
from fedsafe.runs.files import read_lines
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Provenance, Record, Round, Stage, Summary
from fedsafe.runs.scores import PLAIN, Display, all_displays, condition_name
from fedsafe.validation_errors import first_of

R = TypeVar("R", bound=Record)
Exchange = dict[str, Any]
"""A line of exchanges.jsonl, with the verdict on it."""


@dataclass(frozen=True)
class RunData:
    """One run as its files tell it."""

    directory: Path
    configuration: str
    summary: Summary | None
    provenance: Provenance | None
    rounds: tuple[Round, ...]
    control: tuple[Round, ...]
    cards: dict[str, dict[str, Any]]
    """Card of each defense's data, by directory name."""

    @property
    def stages(self) -> list[Stage]:
        """Stages that have been evaluated."""
        found = [] if self.summary is None else self.summary.stages
        return [stage for stage in found if stage.status == "done"]

    @property
    def counted(self) -> list[Stage]:
        """Stages of tables: a failed defense has the values of the model that it left."""
        return [] if self.summary is None else counted(self.summary.stages)

    @property
    def failed(self) -> list[Stage]:
        """Stages that failed: defenses that made no adapter."""
        found = [] if self.summary is None else self.summary.stages
        return [stage for stage in found if stage.status == "failed"]

    @cached_property
    def story(self) -> Story:
        """The roles the stages play."""
        return tell(self.stages, self.defenses)

    @cached_property
    def defenses(self) -> dict[str, Defense]:
        """The defense of each defended stage, by the stage's name."""
        return defenses_of(self.directory, self.stages)

    @cached_property
    def titles(self) -> dict[str, tuple[str, str]]:
        """Heading of each stage, and the settings in which it differs from its likes."""
        return titles(self.stages, self.defenses)

    @cached_property
    def measures(self) -> list[Measure]:
        """Every measure of any stage."""
        return found(stage.scores for stage in self.stages)

    def called(self, condition: str) -> str:
        """Return how a condition is called."""
        return short(condition_name(condition, self._displays))

    @cached_property
    def _displays(self) -> dict[str, Display]:
        return all_displays(stage.scores for stage in self.stages)

    def card(self, stage: Stage) -> dict[str, Any] | None:
        """Return the card of the data that a stage's defense made, if it made any."""
        return self.cards.get(Path(stage.path).parent.name)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The experiment's values; empty where the YAML is broken."""
        try:
            values = yaml.safe_load(self.configuration)
        except yaml.YAMLError:
            return {}
        return values if isinstance(values, dict) else {}

    def setting(self, path: str, default: Any = None) -> Any:
        """Return one setting by its dotted path."""
        value: Any = self.settings
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return default if value is None else value

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.setting("name", self.directory.name))

    @cached_property
    def malicious(self) -> frozenset[int]:
        """Clients that were malicious in any round."""
        return frozenset(c.client for r in self.rounds for c in r.clients if c.malicious)

    def exchanges(self, stage: Stage) -> list[Exchange]:
        """Return the exchanges of a stage's evaluation, each with its verdict."""
        rows = self._rows(f"{stage.evaluation}/exchanges.jsonl")
        for row in rows:  # earlier versions told of one condition alone
            row.setdefault("condition", "prefilled" if row.get("prefilled") else PLAIN)
        if not stage.scores.verdicts:
            return rows
        verdicts = self._rows(f"{stage.evaluation}/{stage.scores.verdicts}")
        if len(verdicts) != len(rows):
            return []
        return [{**row, **verdict} for row, verdict in zip(rows, verdicts, strict=True)]

    def _rows(self, name: str) -> list[Exchange]:
        path = (self.directory / name).resolve()
        if not path.is_relative_to(self.directory.resolve()):
            return []
        return [row for row in _lines(path) if isinstance(row, dict)]


def read(directory: Path) -> RunData:
    """Read a run directory, however far the run has come.

    Raises:
        RunError: It is no run directory, or one of its files is broken.
    """
    configuration = directory / RunFile.EXPERIMENT
    if not configuration.is_file():
        raise RunError(
            f"{directory} is no run directory: it has no experiment.yaml. Give the directory that "
            "`fedsafe run` printed."
        )
    return RunData(
        directory=directory,
        configuration=configuration.read_text(encoding="utf-8", errors="replace"),
        summary=_record(directory / RunFile.SUMMARY, Summary),
        provenance=_record(directory / RunFile.PROVENANCE, Provenance),
        rounds=_rounds(directory / RunFile.ROUNDS),
        control=_rounds(directory / RunFile.CONTROL / RunFile.ROUNDS),
        cards=dict(_cards(directory)),
    )


def drops(rounds: tuple[Round, ...]) -> Iterator[tuple[int, int, str, str]]:
    """Yield (round, client, status, reason) of every reply that did not count."""
    for record in rounds:
        for client in record.clients:
            if client.status != "accepted" or client.reason:
                fate = "left out" if client.status == "accepted" else client.status
                yield record.round, client.client, fate, client.reason


def _record(path: Path, kind: type[R]) -> R | None:
    if not path.is_file():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(f"{path} cannot be read: {first_of(error)}.") from None


def _rounds(path: Path) -> tuple[Round, ...]:
    try:
        return tuple(Round.model_validate(row) for row in _lines(path))
    except ValidationError as error:
        raise RunError(f"{path} cannot be read: {first_of(error)}.") from None


def _lines(path: Path) -> list[Any]:
    try:
        return read_lines(path)
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}.") from None


def _cards(directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(directory.glob("defenses/*/card.json")):
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} cannot be read: {error}.") from None
        if isinstance(card, dict):
            yield path.parent.name, card
