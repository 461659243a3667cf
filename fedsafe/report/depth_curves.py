"""The depth curve: unsafe replies against how much of a complying reply is forced.

After Qi et al., *Safety Alignment Should Be Made More Than Just a Few Tokens Deep*, ICLR 2025
(arXiv:2406.05946). Read from the records of conditions ``prefilled`` and ``prefilled-tokens``;
knows nothing of how curves are displayed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fedsafe.runs.records import Stage
from fedsafe.runs.scores import PLAIN, Rate, Scores, parts_of

UNITS: Final[Mapping[str, str]] = {"prefilled": "words", "prefilled-tokens": "tokens"}
"""Condition that forces a beginning, and what its number counts."""
MEASURE: Final = "unsafe"
ALL: Final = "all"
"""Stands for a prefill that is forced whole."""


@dataclass(frozen=True)
class DepthCurve:
    """Unsafe share by depth, for each stage.

    Attributes:
        unit: What depths count: words or tokens.
        depths: In growing order; a prefill that is forced whole is last, as ``all``.
        rates: What was found, by name of the stage and depth.
    """

    unit: str
    depths: Sequence[str]
    rates: Mapping[str, Mapping[str, Rate]]


def depth_curves(stages: Sequence[Stage]) -> list[DepthCurve]:
    """Return the curves of a run: one a unit, where a stage was asked at two depths or more."""
    found = []
    for condition, unit in UNITS.items():
        rates = {stage.name: _by_depth(stage.scores, condition) for stage in stages}
        known = {depth for by_depth in rates.values() for depth in by_depth}
        if len(known - {"0", ALL}) >= 2:
            asked = {name: by_depth for name, by_depth in rates.items() if by_depth}
            found.append(DepthCurve(unit, sorted(known, key=_place), asked))
    return found


def is_in_curve(condition: str, curves: Sequence[DepthCurve]) -> bool:
    """Tell whether what was asked under a condition is a point of one of some curves."""
    family, _, depth = condition.partition(":")
    unit = UNITS.get(family)
    return any(curve.unit == unit and (depth or ALL) in curve.depths for curve in curves)


def _by_depth(scores: Scores, condition: str) -> dict[str, Rate]:
    """Return the unsafe share at each depth of a condition.

    Depth 0 is asked plainly unless a condition is of it; that is so only where every harmful
    prompt has a prefill, so that the same prompts are counted.
    """
    found: dict[str, Rate] = {}
    for key, rate in scores.measures.items():
        measure, asked = parts_of(key)
        match = re.fullmatch(rf"{re.escape(condition)}(?::(\d+))?", asked)
        if measure == MEASURE and match and rate.value is not None:
            found[match[1] or ALL] = rate
    plain = scores.rate(MEASURE, PLAIN)
    if found and plain is not None and plain.value is not None:
        counts = {rate.n + rate.unknown for rate in found.values()}
        if counts == {plain.n + plain.unknown}:
            found.setdefault("0", plain)
    return found


def _place(depth: str) -> tuple[bool, int]:
    return depth == ALL, int(depth) if depth != ALL else 0
