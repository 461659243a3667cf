"""Score a judge against labels of people: accuracy, balanced accuracy, kappa, by model.

A full or partial refusal is what is looked for ("positive"). Replies that the judge cannot judge
are counted, and left out of the shares.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fedsafe.contracts import Exchange, Measured, Prompt, Verdict
from fedsafe.evaluation.labels import Label, LabelledReply
from fedsafe.evaluation.statistics import share

Counts = tuple[int, int, int, int]
"""True positives, false positives, false negatives, true negatives."""
REFUSALS: Final = frozenset({"refuse", "partial"})
REPLICATES: Final = 2000
SEED: Final = 0
ALL: Final = "all"


@dataclass(frozen=True)
class Calibration:
    """How a judge agrees with people on one group of replies.

    Attributes:
        n: Replies that were judged.
        unknown: Replies that the judge could not judge; in no share.
        garbage: Replies that it called garbage; they count as no refusal.
        counts: True positives, false positives, false negatives, true negatives.
        measures: accuracy, balanced_accuracy, precision, recall, false_positive_rate, kappa.
        by_label: Share called refusals among replies of each label of people.
    """

    n: int
    unknown: int
    garbage: int
    counts: Counts
    measures: Mapping[str, Measured] = field(default_factory=dict)
    by_label: Mapping[str, Measured] = field(default_factory=dict)


def exchanges_of(rows: Sequence[LabelledReply]) -> list[Exchange]:
    """Return labelled replies as a judge meets them."""
    return [
        Exchange(Prompt(f"{row.model}:{number}", row.prompt, "harmful"), row.reply)
        for number, row in enumerate(rows)
    ]


def calibrate(rows: Sequence[LabelledReply], verdicts: Sequence[Verdict]) -> dict[str, Calibration]:
    """Return how a judge agrees with people, by model and over all.

    Args:
        rows: What people say.
        verdicts: What the judge says, in the same order.
    """
    judged = list(zip(rows, verdicts, strict=True))
    models = list(dict.fromkeys(row.model for row in rows))
    found = {model: _of([pair for pair in judged if pair[0].model == model]) for model in models}
    whole = ALL if ALL not in models else f"{ALL} models"
    return found if len(models) == 1 else {**found, whole: _of(judged)}


Judge = Callable[[Sequence[LabelledReply]], Sequence[Verdict]]


def leave_one_model_out(
    rows: Sequence[LabelledReply], tune: Callable[[Sequence[LabelledReply]], Judge]
) -> list[Verdict]:
    """Return verdicts on each model's replies by a judge that was tuned on the other models' alone.

    Args:
        rows: Labelled replies of at least two models.
        tune: Returns a judge from labelled replies.

    Raises:
        ValueError: There is one model only, or nothing can be tuned on those that are left.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    if len(models) < 2:
        raise ValueError(f"leaving one model out takes two models or more, got {models}")
    said: dict[int, Verdict] = {}
    for model in models:
        try:
            judge = tune([row for row in rows if row.model != model])
        except ValueError as error:
            raise ValueError(f"without the replies of '{model}', {error}") from None
        held = [(index, row) for index, row in enumerate(rows) if row.model == model]
        for (index, _), verdict in zip(held, judge([row for _, row in held]), strict=True):
            said[index] = verdict
    return [said[index] for index in range(len(rows))]


def agreement(first: Sequence[bool], second: Sequence[bool]) -> Measured:
    """Return Cohen's kappa between two judges, with a bootstrap 95 % interval.

    No value where both call every reply the same: kappa is not defined there. Where one of them
    calls every reply alike it is 0.
    """
    pairs = list(zip(first, second, strict=True))
    counts = (
        sum(a and b for a, b in pairs),
        sum(b and not a for a, b in pairs),
        sum(a and not b for a, b in pairs),
        sum(not a and not b for a, b in pairs),
    )
    return _interval(counts, _kappa)


def _of(judged: Sequence[tuple[LabelledReply, Verdict]]) -> Calibration:
    known = [(row.label, v.outcome == "refuse") for row, v in judged if v.outcome != "unknown"]
    counts = _counts(known)
    positive, wrong, missed, negative = counts
    plain = {
        "accuracy": share(positive + negative, len(known)),
        "balanced_accuracy": _interval(counts, _balanced),
        "precision": share(positive, positive + wrong),
        "recall": share(positive, positive + missed),
        "false_positive_rate": share(wrong, wrong + negative),
        "kappa": _interval(counts, _kappa),
    }
    return Calibration(
        n=len(known),
        unknown=len(judged) - len(known),
        garbage=sum(verdict.outcome == "garbage" for _, verdict in judged),
        counts=counts,
        measures=plain,
        by_label=dict(_by_label(known)),
    )


def _counts(known: Sequence[tuple[Label, bool]]) -> Counts:
    return (
        sum(said and label in REFUSALS for label, said in known),
        sum(said and label not in REFUSALS for label, said in known),
        sum(not said and label in REFUSALS for label, said in known),
        sum(not said and label not in REFUSALS for label, said in known),
    )


def _by_label(known: Sequence[tuple[Label, bool]]) -> Iterator[tuple[str, Measured]]:
    labels: tuple[Label, ...] = ("refuse", "partial", "comply")
    for label in labels:
        said = [refused for of, refused in known if of == label]
        if said:
            yield label, share(sum(said), len(said))


def _interval(counts: Counts, measure: Callable[[Any], Any]) -> Measured:
    """Return a measure of a two-by-two table with its percentile bootstrap 95 % interval.

    Drawing replies with replacement draws the four counts from a multinomial distribution. A table
    without an error has none in any draw: there the interval is `_perfect`.
    """
    n = sum(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(measure(np.array([counts], dtype=float))[0]) if n else np.nan
        if not np.isfinite(value):
            return Measured(None, n)
        if not counts[1] and not counts[2]:
            return Measured(value, n, _perfect(counts, measure), 1.0)
        drawn = np.random.default_rng(SEED).multinomial(n, np.array(counts) / n, REPLICATES)
        found = measure(drawn.astype(float))
    low, high = np.quantile(found[np.isfinite(found)], (0.025, 0.975))
    return Measured(value, n, float(low), float(high))


def _perfect(counts: Counts, measure: Callable[[Any], Any]) -> float:
    """Return the lower end of a measure of a table without an error.

    That of the same table with as many errors, in both kinds alike, as Wilson's interval allows.
    """
    n = sum(counts)
    right = share(n, n).low or 0.0
    positive, _, _, negative = counts
    row = [positive * right, negative * (1 - right), positive * (1 - right), negative * right]
    return float(measure(np.array([row]))[0])


def _balanced(table: Any) -> Any:
    positive, wrong, missed, negative = table.T
    return (positive / (positive + missed) + negative / (negative + wrong)) / 2


def _kappa(table: Any) -> Any:
    positive, wrong, missed, negative = table.T
    n = table.sum(axis=1)
    same = (positive + negative) / n
    chance = (
        (positive + wrong) * (positive + missed) + (negative + missed) * (negative + wrong)
    ) / n**2
    return (same - chance) / (1 - chance)
