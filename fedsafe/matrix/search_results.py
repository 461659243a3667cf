"""What a search found: each tried setting with its value, its losses, and the worst of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from fedsafe.matrix.results import Results, last_stages
from fedsafe.matrix.search_file import TRIAL, Search
from fedsafe.matrix.search_space import Listed, Range, Trial
from fedsafe.matrix.spread import interval, mean_of
from fedsafe.runs.matrix_records import CellRecord
from fedsafe.runs.records import Stage
from fedsafe.runs.scores import Display, Rate, all_displays, display_of
from fedsafe.runs.search_records import Tried

CLEAN, ATTACKED = "clean", "attacked"
Labels = Mapping[str, str]


class Findings:
    """The runs of a search, read from its directory."""

    def __init__(self, results: Results, search: Search) -> None:
        """Find each cell by its labels."""
        self._search, self._results = search, results
        self._cells = {frozenset(cell.labels.items()): cell for cell in results.record.cells}

    @property
    def display(self) -> Display | None:
        """How the measure is shown."""
        stages = (stage for listed in self._results.stages.values() for stage in listed)
        return display_of(self._search.measure, all_displays(stage.scores for stage in stages))

    def tried(self, labels: Labels, trial: Trial, seeds: Sequence[int]) -> Tried:
        """Return what a setting did with some seeds."""
        found = [(str(seed), self._cell(labels, trial, seed)) for seed in seeds]
        cells = {seed: cell for seed, cell in found if cell is not None}
        rates = {seed: self._rate(cell, self._search.measure) for seed, cell in cells.items()}
        by_seed = {seed: [rate] for seed, rate in rates.items() if rate is not None}
        record = Tried(
            trial=trial.label,
            settings=dict(trial.settings),
            failed=sum(cell.status == "failed" for cell in cells.values()),
            losses=self._losses(cells, self._attacked),
            last_losses=self._losses(cells, self._last),
        )
        if not by_seed:
            return record
        means = {seed: mean_of(rates) for seed, rates in by_seed.items()}
        share = self.display is None or self.display.unit == "share"
        low, high = interval(by_seed, means, share=share)
        allowed = excess(record, self._search.keep) <= 0
        value = {"value": fmean(means.values()), "low": low, "high": high, "seeds": means}
        return record.model_copy(update={**value, "allowed": allowed})

    def _cell(self, labels: Labels, trial: Trial, seed: int) -> CellRecord | None:
        return self._cells.get(frozenset({**labels, TRIAL: trial.label, "seed": str(seed)}.items()))

    def _last(self, cell: CellRecord) -> Stage | None:
        return next(iter(last_stages(cell, self._results.stages[cell.name])), None)

    def _attacked(self, cell: CellRecord) -> Stage | None:
        return self._stage(cell, ATTACKED)

    def _stage(self, cell: CellRecord, name: str) -> Stage | None:
        stages = self._results.stages[cell.name]
        return next((stage for stage in stages if stage.name == name), None)

    def _rate(self, cell: CellRecord, key: str) -> Rate | None:
        stage = self._last(cell)
        rate = None if stage is None else stage.scores.measures.get(key)
        return rate if rate is not None and rate.value is not None else None

    def _losses(
        self, cells: Mapping[str, CellRecord], stage_of: Callable[[CellRecord], Stage | None]
    ) -> dict[str, float]:
        """Return by measure the mean loss over seeds; measures that no run has are left out."""
        found: dict[str, float] = {}
        for key in self._search.keep:
            losses = [
                loss
                for cell in cells.values()
                if (loss := _loss(key, self._stage(cell, CLEAN), stage_of(cell))) is not None
            ]
            if losses:
                found[key] = fmean(losses)
        return found


def _loss(key: str, before: Stage | None, after: Stage | None) -> float | None:
    """Return what a model has less than another, as a share of it; 0 where that has nothing."""
    if before is None or after is None:
        return None
    old, new = (stage.scores.measures.get(key) for stage in (before, after))
    if old is None or new is None or old.value is None or new.value is None:
        return None
    return 1 - new.value / old.value if old.value else 0.0


def excess(tried: Tried, keep: Mapping[str, float]) -> float:
    """Return by how much the largest loss is beyond what is allowed; a missing one is all lost."""
    return max((tried.losses.get(key, 1.0) - most for key, most in keep.items()), default=0.0)


def ordered(tried: Sequence[Tried], search: Search) -> list[Tried]:
    """Return the settings that were measured, the worst first.

    Those allowed come before the others, which are ordered by how far they are beyond (Deb 2000);
    of equal ones that with the smaller loss, then the earlier.
    """
    sign = 1 if search.direction == "lowest" else -1

    def key(one: Tried) -> tuple[float, ...]:
        beyond = excess(one, search.keep)
        return (max(beyond, 0.0), sign * (one.value or 0.0), beyond)

    return sorted((one for one in tried if one.value is not None), key=key)


def is_extreme(tried: Tried, search: Search, display: Display | None) -> bool:
    """Tell whether nothing lower (higher) is possible: a share that is 0 (1)."""
    if not tried.allowed or tried.value is None or (display and display.unit != "share"):
        return False
    return tried.value <= 0 if search.direction == "lowest" else tried.value >= 1


def spaces(search: Search) -> Iterator[tuple[str, str]]:
    """Yield each setting of a search with its values in words."""
    for side in search.space.sides:
        yield side.name, _words(side)


def _words(side: Listed | Range) -> str:
    if isinstance(side, Listed):
        return ", ".join(side.axis.values)
    kind = ("whole numbers " if side.whole else "") + ("log scale" if side.log else "")
    return f"{side.low:g} to {side.high:g}" + (f" ({kind.strip()})" if kind else "")
