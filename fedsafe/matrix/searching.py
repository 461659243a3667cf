"""Search an attack's settings for its worst case, with each combination of a matrix's axes.

Half of the settings are spread evenly over the space, the same ones for all combinations; each
further one lies a step from the worst so far of its combination. All runs are cells of one
matrix, so that what they share is done once and a stopped search goes on: it draws the same
settings again, and finds their runs done.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedsafe.errors import ConfigError
from fedsafe.matrix.axes import Axis, Label
from fedsafe.matrix.cells import Cell, cells_with, combinations
from fedsafe.matrix.definition import Definition
from fedsafe.matrix.directory import Matrix
from fedsafe.matrix.plan import plan_of
from fedsafe.matrix.pools import Pool
from fedsafe.matrix.results import SEED, Results
from fedsafe.matrix.running import Tell, run
from fedsafe.matrix.search_checks import check
from fedsafe.matrix.search_file import TRIAL, Search
from fedsafe.matrix.search_results import Findings, is_extreme, ordered, spaces
from fedsafe.matrix.search_space import AS_WRITTEN, Trial
from fedsafe.runs.checksums import write_sealed
from fedsafe.runs.files import digest
from fedsafe.runs.search_records import FILE, SearchRecord, Tried, Worst


@dataclass
class _Group:
    """One combination of the axes' values."""

    labels: Mapping[str, Label]
    trials: list[Trial]
    fresh: Trial | None = None


def _required_search(definition: Definition) -> Search:
    """Return what a file searches for.

    Raises:
        ConfigError: It has no search.
    """
    if definition.search is None:
        raise ConfigError(
            f"{definition.name} has no `search:`, which names what is tried. `fedsafe matrix run` "
            "runs all of its cells; `fedsafe matrix preset worst-case` is an example of a search."
        )
    return definition.search


def planned(definition: Definition, directory: Path) -> Matrix:
    """Return the matrix of a whole search, other settings in the place of those it will choose.

    Raises:
        ConfigError: It has no search, or a cell of it is no experiment.
    """
    search, chosen = _required_search(definition), list(combinations(definition))
    later = search.trials - 1 - search.designed
    points = search.space.design(search.designed + later * len(chosen), 0)
    shared, rest = points[: search.designed], points[search.designed :]
    groups = [
        _Group(one, [AS_WRITTEN, *shared, *rest[number * later : (number + 1) * later]], AS_WRITTEN)
        for number, one in enumerate(chosen)
    ]
    cells = _cells(definition, search, groups)
    check(cells, search)
    return Matrix(definition, plan_of(cells), directory)


def run_search(definition: Definition, directory: Path, pool: Pool, tell: Tell) -> SearchRecord:
    """Search, or go on with it; a run that fails does not stop it.

    Raises:
        ConfigError: The search or a cell is wrong; nothing has run.
        RunError: The directory holds something else, or another process works in it.
        KeyboardInterrupt: It was stopped; what is done is kept.
    """
    planned(definition, directory).check()
    try:
        return _Searching(definition, directory, pool, tell).work()
    finally:
        pool.close()


class _Searching:
    """One attempt to finish a search."""

    def __init__(self, definition: Definition, directory: Path, pool: Pool, tell: Tell) -> None:
        self._definition, self._home = definition, directory
        self._search = _required_search(definition)
        self._pool, self._tell = pool, tell
        self._failed: dict[str, str] = {}
        first = [AS_WRITTEN, *self._search.space.design(self._search.designed, 0)]
        self._groups = [_Group(labels, list(first)) for labels in combinations(definition)]

    def work(self) -> SearchRecord:
        """Do what is left, and return the record."""
        findings = self._measure()
        while self._propose(findings):
            findings = self._measure()
        for group in self._groups:
            worst = ordered(self._tried(findings, group), self._search)
            if worst and worst[0].allowed:
                chosen = (one for one in group.trials if one.label == worst[0].trial)
                group.fresh = next(chosen)
        findings = self._measure()
        return self._write(findings, "completed")

    def _measure(self) -> Findings:
        """Run what is chosen so far, and return what all runs found."""
        cells = _cells(self._definition, self._search, self._groups)
        axes = _axes(self._definition, self._search, self._groups)
        names = [axis.name for axis in self._definition.axes]
        layout = {
            "rows": [TRIAL],
            "columns": names,
            "measure": self._search.measure,
            "where": {SEED: [str(seed) for seed in self._search.seeds]},
        }
        cut = replace(self._definition, axes=axes, table={**layout, **dict(self._definition.table)})
        matrix = Matrix(cut, plan_of(cells), self._home)
        run(matrix, self._pool, self._tell, failed=self._failed, close=False)
        findings = Findings(Results(self._home), self._search)
        self._write(findings, "running")
        return findings

    def _propose(self, findings: Findings) -> bool:
        """Choose another setting for each combination that has runs left; tell whether any has."""
        chosen = [
            trial for group in self._groups if (trial := self._next(findings, group)) is not None
        ]
        if chosen:
            tried = max(len(group.trials) for group in self._groups)
            self._tell("search", {"settings": tried, "of": self._search.trials})
        return bool(chosen)

    def _next(self, findings: Findings, group: _Group) -> Trial | None:
        tried, most = len(group.trials), self._search.trials
        found = ordered(self._tried(findings, group), self._search)
        if tried >= most or not found or is_extreme(found[0], self._search, findings.display):
            return None
        center = next(one for one in group.trials if one.label == found[0].trial)
        # Of the combination itself, so that the others may be left out and come later.
        rng = np.random.default_rng([int(digest(dict(group.labels))[:12], 16), tried])
        shrink = 1 - 0.5 * tried / most
        labels = {one.label for one in group.trials}
        trial = self._search.space.near(center, labels, rng, shrink)
        if trial is not None:
            group.trials.append(trial)
        return trial

    def _tried(self, findings: Findings, group: _Group) -> Sequence[Tried]:
        return [findings.tried(group.labels, one, self._search.seeds) for one in group.trials]

    def _write(self, findings: Findings, status: str) -> SearchRecord:
        search = self._search
        record = SearchRecord.model_validate(
            {
                "name": self._definition.name,
                "status": status,
                "measure": search.measure,
                "direction": search.direction,
                "display": findings.display,
                "keep": dict(search.keep),
                "budget": search.budget,
                "seeds": list(search.seeds),
                "fresh_seeds": list(search.fresh),
                "space": dict(spaces(search)),
                "results": [self._worst(findings, group) for group in self._groups],
            }
        )
        write_sealed(self._home / FILE, record.plain())
        return record

    def _worst(self, findings: Findings, group: _Group) -> Worst:
        tried = self._tried(findings, group)
        worst = next((one for one in ordered(tried, self._search) if one.allowed), None)
        fresh = None
        if group.fresh is not None:
            fresh = findings.tried(group.labels, group.fresh, self._search.fresh)
        runs = len(tried) * len(self._search.seeds)
        runs += len(self._search.fresh) if group.fresh is not None else 0
        labels = dict(group.labels)
        return Worst(labels=labels, tried=list(tried), worst=worst, fresh=fresh, runs=runs)


def _axes(definition: Definition, search: Search, groups: Sequence[_Group]) -> list[Axis]:
    """Return the axes of the file with those of the settings tried and of the seeds."""
    trials = {one.label: one.settings for group in groups for one in group.trials}
    seeds = [*search.seeds, *(search.fresh if any(group.fresh for group in groups) else ())]
    return [
        *definition.axes,
        Axis(TRIAL, trials),
        Axis(SEED, {str(seed): {SEED: seed} for seed in seeds}),
    ]


def _cells(definition: Definition, search: Search, groups: Sequence[_Group]) -> list[Cell]:
    """Return the cells of the settings chosen so far."""
    whole = replace(definition, axes=_axes(definition, search, groups))
    return cells_with(whole, _labels(search, groups))


def _labels(search: Search, groups: Sequence[_Group]) -> Iterator[dict[str, Label]]:
    for group in groups:
        pairs = [(trial, seed) for trial in group.trials for seed in search.seeds]
        pairs += [(group.fresh, seed) for seed in search.fresh if group.fresh is not None]
        for trial, seed in pairs:
            yield {**group.labels, TRIAL: trial.label, SEED: str(seed)}
