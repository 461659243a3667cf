"""A runtime that writes invented records at once, in place of the one that trains."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fedsafe.errors import RunError
from fedsafe.experiment import Experiment
from fedsafe.experiment.load import as_yaml
from fedsafe.launch import preflight
from fedsafe.runs.events import Event
from fedsafe.runs.files import write_text
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store
from tests.unit.fedsafe.report.synthetic import federation, stages, write_run


def plain(pipelines: Any) -> list[list[dict[str, Any]]]:
    """Return pipelines of defenses as plain values."""
    return [[choice.model_dump() for choice in steps] for steps in pipelines]


class ScriptedRuntime(ModuleType):
    """Plays a run, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("fedsafe.launch.inline")
        self.calls: list[tuple[Any, ...]] = []
        self.raising: BaseException | None = None

    def run(
        self, experiment: Experiment, directory: Path, listen: Callable[[Event], None]
    ) -> Summary:
        self.calls.append(("run", experiment.name, directory))
        write_run(directory, rounds=3)
        write_text(directory / "experiment.yaml", as_yaml(experiment))
        return self._play(directory, listen)

    def resume(self, directory: Path, listen: Callable[[Event], None]) -> Summary:
        self.calls.append(("resume", directory))
        return self._play(directory, listen)

    def defend(
        self,
        directory: Path,
        pipelines: Any,
        listen: Callable[[Event], None],
        attacked_again: int | None = None,
    ) -> Summary:
        again = () if attacked_again is None else (attacked_again,)
        self.calls.append(("defend", directory, plain(pipelines), *again))
        return self._play(directory, listen)

    def evaluate(
        self,
        directory: Path,
        listen: Callable[[Event], None],
        judge: object = None,
        second: Any = (),
        *,
        shields: Any = (),
        load: bool = True,
    ) -> Summary:
        self.calls.append(("evaluate", directory, judge, [one.name for one in second], load))
        return self._play(directory, listen)

    def defend_adapter(self, *arguments: Any) -> Summary:
        model, adapter, pipelines, output, experiment, listen = arguments
        self.calls.append(("defend_adapter", model, adapter, plain(pipelines), output, experiment))
        write_run(output, rounds=3)
        return self._play(output, listen)

    def _play(self, directory: Path, listen: Callable[[Event], None]) -> Summary:
        def tell(kind: str, message: str = "", **data: Any) -> None:
            listen(Event(kind, message, data, time.time()))

        tell("run-start", directory=str(directory), name="micro")
        tell("note", "[bold]foreign[/bold] \x1b[2Jnote")
        tell("stage-start", stage="attacked")
        for record in federation(3, attacked=True):
            tell("round-start", federation="main", round=record.round, rounds=3)
            tell("client", client=0, status="accepted", loss=float("nan"), done=1, total=10)
            found = record.model_dump(mode="json")
            tell("round-end", federation="main", rounds=3, record=found)
        if self.raising is not None:
            raise self.raising
        scores = stages()[2].scores.model_dump(mode="json")
        tell("stage-end", stage="attacked", scores=scores, seconds=4.0)
        summary = Store(directory).summary()
        if summary is None:
            raise RunError("no summary")
        return summary


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedRuntime:
    """Put the scripted runtime in place, and work in an empty directory."""
    scripted, launch = ScriptedRuntime(), ModuleType("fedsafe.launch")
    launch.inline, launch.preflight = scripted, preflight  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fedsafe.launch", launch)
    monkeypatch.chdir(tmp_path)
    return scripted


@pytest.fixture
def environment() -> dict[str, str]:
    """Environment of a command in its own process: the checkout on the path, no color."""
    checkout = str(Path(__file__).parents[4])
    return {**os.environ, "PYTHONPATH": checkout, "NO_COLOR": "1", "COLUMNS": "100"}
