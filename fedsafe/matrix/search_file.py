"""The ``search:`` section of a matrix file: what is tried, what is lowest, within what loss."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

from fedsafe.errors import ConfigError
from fedsafe.experiment.seed_list import seed_list
from fedsafe.matrix.axes import Axis
from fedsafe.matrix.search_space import Space, space_of
from fedsafe.suggestions import suggestion

KEYS = ("space", "lowest", "highest", "keep", "budget", "seeds", "fresh")
LOSS = 0.10
"""Allowed loss of skill unless told otherwise: a share of what the clean control has."""
MOST = 1000
"""Runs of each combination."""
TRIAL = "trial"
"""Name of the axis that the settings tried make."""


@dataclass(frozen=True)
class Search:
    """A search for the worst setting.

    Attributes:
        space: What is tried.
        measure: Of the last model; such as ``refusal``.
        direction: Whether its lowest or its highest value is looked for.
        keep: By measure the loss that the attacked model may have, as a share of the clean
            control's value.
        budget: Runs of each combination of the axes' values, those with fresh seeds included.
        seeds: Of the runs that the setting is chosen by.
        fresh: Seeds that the chosen setting is measured with again.
    """

    space: Space
    measure: str
    direction: Literal["lowest", "highest"]
    keep: Mapping[str, float]
    budget: int
    seeds: Sequence[int]
    fresh: Sequence[int]

    @property
    def trials(self) -> int:
        """Settings that are tried with each combination, the file's own included."""
        return (self.budget - len(self.fresh)) // len(self.seeds)

    @property
    def designed(self) -> int:
        """How many of them are spread over the space; the others follow what these found."""
        return ceil((self.trials - 1) / 2)


def search_of(
    written: Any, axes: Sequence[Axis], base: Mapping[str, Any], home: Path | None
) -> Search:
    """Return the search that a file describes.

    Raises:
        ConfigError: A key or value is wrong, or the axes have what a search sets itself.
    """
    if not isinstance(written, Mapping):
        raise ConfigError(f"search: write {', '.join(KEYS)}.")
    for key in written:
        if key not in KEYS:
            raise ConfigError(f"search.{key}: unknown key.{suggestion(str(key), KEYS)}")
    space = space_of(written.get("space"), base, home)
    _apart(axes, space)
    measure, direction = _measure(written)
    search = Search(
        space=space,
        measure=measure,
        direction=direction,
        keep=_keep(written.get("keep", {"new-skill": LOSS})),
        budget=_budget(written.get("budget")),
        seeds=_seeds("seeds", written.get("seeds", [0])),
        fresh=_seeds("fresh", written.get("fresh")),
    )
    both = sorted(set(search.seeds) & set(search.fresh))
    if both:
        raise ConfigError(
            f"search.fresh: seed {both[0]} is one of search.seeds too. A setting that was chosen "
            "by a seed is measured again with others."
        )
    if search.trials < 2:
        raise ConfigError(
            f"search.budget: {search.budget} runs leave {max(search.trials, 0)} settings to try, "
            f"with {len(search.seeds)} seeds each and {len(search.fresh)} runs with fresh seeds. "
            f"Give at least {2 * len(search.seeds) + len(search.fresh)}."
        )
    return search


def _apart(axes: Sequence[Axis], space: Space) -> None:
    """See that no axis sets what the search sets.

    Raises:
        ConfigError: One does.
    """
    for axis in axes:
        if axis.name in {"seed", TRIAL}:
            where = "search.seeds and search.fresh" if axis.name == "seed" else "search.space"
            raise ConfigError(f"axes.{axis.name}: a search has its own; write {where}.")
        below = {path for value in axis.values.values() for path in value}
        for side in space.sides:
            if side.name in below:
                raise ConfigError(
                    f"search.space.{side.name}: axis '{axis.name}' sets it too. Leave it in one."
                )


def _measure(written: Mapping[str, Any]) -> tuple[str, Literal["lowest", "highest"]]:
    given = {key: written[key] for key in ("lowest", "highest") if key in written}
    if len(given) > 1:
        raise ConfigError("search: write lowest: MEASURE or highest: MEASURE, not both.")
    name = next(iter(given.values()), "refusal")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"search: {name!r} is no measure. Write one, such as lowest: refusal.")
    return name, "highest" if "highest" in given else "lowest"


def _keep(written: Any) -> Mapping[str, float]:
    if not isinstance(written, Mapping):
        raise ConfigError(
            f"search.keep: {written!r}: write by measure the loss that is allowed, such as "
            "{new-skill: 0.1} for a tenth of what the clean control has."
        )
    for name, loss in written.items():
        number = isinstance(loss, int | float) and not isinstance(loss, bool)
        if not number or not 0 <= loss < 1:
            raise ConfigError(
                f"search.keep.{name}: {loss!r} is no loss. Write a share of the clean control's "
                "value, from 0 to less than 1, such as 0.1."
            )
    return {str(name): float(loss) for name, loss in written.items()}


def _budget(written: Any) -> int:
    if isinstance(written, bool) or not isinstance(written, int) or not 1 <= written <= MOST:
        raise ConfigError(
            f"search.budget: {written!r} is no number of runs from 1 to {MOST}. They are of each "
            "combination of the axes' values."
        )
    return written


def _seeds(key: str, written: Any) -> list[int]:
    if isinstance(written, int) and not isinstance(written, bool):
        written = [written]
    if not isinstance(written, str | Iterable):
        raise ConfigError(f"search.{key}: write seeds, such as {key}: 0-2.")
    try:
        return seed_list(written)
    except ConfigError as error:
        raise ConfigError(f"search.{key}: {error}") from None
