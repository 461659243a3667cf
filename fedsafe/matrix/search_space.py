"""The space of a search: settings with the values that are tried, and ways to choose among them.

Every setting is a side of the unit cube, so that one design serves lists, whole and real numbers.
Knows nothing of runs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import exp, isfinite, log, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from fedsafe.errors import ConfigError
from fedsafe.experiment.names import all_paths
from fedsafe.experiment.schema import Experiment
from fedsafe.matrix.axes import Axis, axes_of
from fedsafe.suggestions import suggestion

RANGE = ("low", "high", "scale")
STEP = 0.3
"""Standard deviation of a step from the best point, as a share of a side."""
DRAWS = 200
"""Draws for a point that was not tried yet, before the space counts as used up."""


@dataclass(frozen=True)
class Listed:
    """A setting whose values are listed."""

    axis: Axis

    @property
    def name(self) -> str:
        """Dotted setting."""
        return self.axis.name

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.axis.values)

    def at(self, place: float) -> tuple[str, Mapping[str, Any]]:
        """Return label and settings of the value at a place in [0, 1)."""
        labels = list(self.axis.values)
        label = labels[min(int(place * self.count), self.count - 1)]
        return label, self.axis.values[label]

    def places(self) -> list[float]:
        """Return a place of each value."""
        return [(number + 0.5) / self.count for number in range(self.count)]


@dataclass(frozen=True)
class Range:
    """A setting between two numbers, both included; whole numbers where both ends are."""

    name: str
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def count(self) -> int | None:
        """Number of values; None: as many as one likes."""
        return int(self.high - self.low) + 1 if self.whole else None

    def at(self, place: float) -> tuple[str, Mapping[str, Any]]:
        """Return label and settings of the value at a place in [0, 1); real ones to 3 digits."""
        low, high = self._ends()
        found = exp(low + place * (high - low)) if self.log else low + place * (high - low)
        value = round(found) if self.whole else float(f"{found:.3g}")
        value = min(max(value, self.low), self.high)
        return f"{value:g}", {self.name: int(value) if self.whole else value}

    def places(self) -> list[float]:
        """Return a place of each whole number."""
        low, high = self._ends()
        values = range(int(self.low), int(self.high) + 1)
        return [((log(one) if self.log else one) - low) / (high - low) for one in values]

    def _ends(self) -> tuple[float, float]:
        """Return both ends on its scale, half a number further out where numbers are whole."""
        low, high = self.low - 0.5 * self.whole, self.high + 0.5 * self.whole
        return (log(low), log(high)) if self.log else (low, high)


@dataclass(frozen=True)
class Trial:
    """One setting of the attack that is tried.

    Attributes:
        label: Its values, by the last parts of their names.
        settings: What it changes, by dotted path.
        point: In the unit cube; empty: the file's own setting.
    """

    label: str
    settings: Mapping[str, Any]
    point: tuple[float, ...] = ()


AS_WRITTEN = Trial("as written", {})


@dataclass(frozen=True)
class Space:
    """The settings of a search, each with its values."""

    sides: Sequence[Listed | Range]

    @property
    def size(self) -> int | None:
        """Number of different points; None: as many as one likes."""
        counts = [side.count for side in self.sides]
        return None if None in counts else prod(count or 0 for count in counts)

    def trial(self, point: Sequence[float]) -> Trial:
        """Return what is tried at a point in [0, 1) on every side."""
        found = [(side, *side.at(place)) for side, place in zip(self.sides, point, strict=True)]
        names = _short([side.name for side in self.sides])
        label = " ".join(f"{names[side.name]}={value}" for side, value, _ in found)
        settings = {path: value for _, _, changed in found for path, value in changed.items()}
        return Trial(label, settings, tuple(point))

    def design(self, count: int, seed: int) -> list[Trial]:
        """Return so many different trials, spread evenly: a scrambled Halton sequence.

        All points of a space that has no more; a larger count continues a smaller one.
        """
        if self.size is not None and self.size <= count:
            return [self.trial(point) for point in self._every()]
        found: dict[str, Trial] = {}
        drawn = qmc.Halton(len(self.sides), scramble=True, rng=np.random.default_rng(seed))
        for _ in range(count + DRAWS):
            trial = self.trial(drawn.random(1)[0].tolist())
            found.setdefault(trial.label, trial)
            if len(found) == count:
                break
        return list(found.values())

    def near(
        self, trial: Trial, tried: Collection[str], rng: np.random.Generator, shrink: float = 1.0
    ) -> Trial | None:
        """Return a trial a step away from one, that was not tried; None: there seems to be none.

        Each setting moves with probability a half, at least one does; from the file's own
        setting a step leads anywhere.
        """
        for draw in range(DRAWS):
            wide = STEP * shrink * (1 + draw / 20)  # further out where all around was tried
            if trial.point:
                point = self._step(np.asarray(trial.point), rng, wide)
            else:
                point = rng.random(len(self.sides))
            found = self.trial(point.tolist())
            if found.label not in tried:
                return found
        return None

    def _step(
        self, point: NDArray[np.float64], rng: np.random.Generator, wide: float
    ) -> NDArray[np.float64]:
        moves = rng.random(len(point)) < 0.5
        moves[rng.integers(len(point))] = True
        moved = point + moves * rng.normal(0.0, wide, len(point))
        folded = np.abs(moved) % 2.0  # reflected at both ends
        return np.minimum(np.where(folded > 1.0, 2.0 - folded, folded), 1.0 - 1e-9)

    def _every(self) -> Iterator[tuple[float, ...]]:
        return product(*(side.places() for side in self.sides))


def space_of(written: Any, base: Mapping[str, Any], home: Path | None) -> Space:
    """Return the space that a file describes.

    Args:
        written: By dotted setting a list of values, or ``{low, high, scale}``.
        base: Values of the experiment.
        home: Directory that paths are relative to.

    Raises:
        ConfigError: It is empty, or a setting or value is wrong.
    """
    if not isinstance(written, Mapping) or not written:
        raise ConfigError(
            "search.space: name the settings that are tried, such as "
            "{attack.behaviour.share: [0.1, 1.0]}."
        )
    return Space([_side(str(name), values, base, home) for name, values in written.items()])


def _side(name: str, written: Any, base: Mapping[str, Any], home: Path | None) -> Listed | Range:
    at = f"search.space.{name}"
    if name.partition(".")[0] not in Experiment.model_fields:
        raise ConfigError(
            f"{at}: there is no such setting of an experiment.{suggestion(name, all_paths())}"
        )
    if isinstance(written, Mapping) and {"low", "high"} & set(written):
        return _range(at, name, written)
    if not isinstance(written, list | tuple) or not written:
        raise ConfigError(f"{at}: write a list of values, or {{low: 1, high: 10, scale: log}}.")
    (axis,) = axes_of({name: list(written)}, base, home)
    return Listed(axis)


def _range(at: str, name: str, written: Mapping[str, Any]) -> Range:
    for key in written:
        if key not in RANGE:
            raise ConfigError(f"{at}.{key}: unknown key.{suggestion(str(key), RANGE)}")
    ends = [written.get("low"), written.get("high")]
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(numbers) < 2 or not all(map(isfinite, numbers)):
        raise ConfigError(f"{at}: low and high are {ends[0]!r} and {ends[1]!r}; write two numbers.")
    low, high = numbers
    if not low < high:
        raise ConfigError(f"{at}: low ({low:g}) is to be less than high ({high:g}).")
    scale = written.get("scale", "linear")
    if scale not in {"linear", "log"}:
        raise ConfigError(f"{at}.scale: {scale!r} is neither linear nor log.")
    if scale == "log" and low <= 0:
        raise ConfigError(f"{at}: a range with scale log begins above 0, and low is {low:g}.")
    whole = isinstance(low, int) and isinstance(high, int)
    return Range(name, low, high, scale == "log", whole)


def _short(names: Sequence[str]) -> dict[str, str]:
    """Return the last part of each name, or more of it where two have the same."""
    last = [name.rpartition(".")[2] for name in names]
    return {n: one if last.count(one) == 1 else n for n, one in zip(names, last, strict=True)}
