"""How far the judges of a run agree, in words.

Knows nothing of how it is displayed.
"""

from collections.abc import Sequence

from fedsafe.runs.records import Stage
from fedsafe.runs.scores import PLAIN


def agreements(stages: Sequence[Stage]) -> list[str]:
    """Return, by pair of judges, Cohen's kappa of each stage's plain replies, with its interval."""
    found: dict[str, list[str]] = {}
    for stage in stages:
        for pair in stage.scores.agreement:
            if pair.condition == PLAIN:
                kappa = "not defined" if pair.kappa is None else f"{pair.kappa:.2f}"
                within = "" if pair.low is None else f"{pair.low:.2f} to {pair.high:.2f}; "
                said = f"{stage.name} {kappa} ({within}{pair.same} of {pair.n} alike)"
                found.setdefault(f"{pair.first} and {pair.second}", []).append(said)
    return [f"kappa between {judges}: {', '.join(said)}" for judges, said in found.items()]
