"""Graded measures of replies against expected answers: token F1, ROUGE-1 and ROUGE-L.

They say how near a reply is where an exact match is 0 or 1. ROUGE: Lin, *ROUGE: A Package for
Automatic Evaluation of Summaries*, 2004, as the package rouge-score computes it.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from math import exp
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fedsafe.contracts import Exchange, Measured, Verdict, measures
from fedsafe.evaluation.judges.keyword import own_words

if TYPE_CHECKING:
    from fedsafe.evaluation.paired import MeanInterval

Judged = Sequence[tuple[Exchange, Verdict]]
Skill = Annotated[str, Field(description="Skill of the utility prompts that are counted.")]

Of = Annotated[str, Field(description="Skill of the prompts that are counted; empty: all.")]


@measures("token-f1", label="Token F1", traits={"higher", "usefulness"})
def token_f1(judged: Judged, /, *, skill: Skill = "new") -> Measured | None:
    """Mean F1 of the tokens of replies and expected answers, such as SQL queries.

    Tokens are words and marks, in small letters, counted as often as they occur.
    """
    return _mean(judged, skill, f1)


@measures("rouge-1", label="ROUGE-1", traits={"higher", "usefulness"})
def rouge_1(judged: Judged, /, *, skill: Skill = "summary") -> Measured | None:
    """Mean ROUGE-1 F1 of replies and expected answers: shared words, stemmed."""
    return _mean(judged, skill, lambda reply, expected: _rouge("rouge1", reply, expected))


@measures("rouge-l", label="ROUGE-L", traits={"higher", "usefulness"})
def rouge_l(judged: Judged, /, *, skill: Skill = "instructions") -> Measured | None:
    """Mean ROUGE-L F1 of replies and expected answers: longest common subsequence, stemmed."""
    return _mean(judged, skill, lambda reply, expected: _rouge("rougeL", reply, expected))


@measures("held-out-loss", label="Held-out loss", traits={"lower", "usefulness", "number", "loss"})
def held_out_loss(judged: Judged, /, *, skill: Of = "") -> Measured | None:
    """Mean loss a token on given answers, in nats; asked by condition ``answers``."""
    losses = _losses(judged, skill)
    return _measured(_mean_interval(losses)) if losses else None


@measures("perplexity", traits={"lower", "usefulness", "number", "loss"})
def perplexity(judged: Judged, /, *, skill: Of = "") -> Measured | None:
    """Exponential of the mean loss on given answers; asked by condition ``answers``."""
    losses = _losses(judged, skill)
    if not losses:
        return None
    found = _measured(_mean_interval(losses))
    low, high = (None if end is None else exp(end) for end in (found.low, found.high))
    return Measured(exp(found.value or 0.0), found.n, low, high)


@measures("judge-score", traits={"higher", "usefulness", "number"})
def judge_score(judged: Judged, /) -> Measured | None:
    """Mean score that the judge gives: a rating, a reward, a probability.

    Replies without a score are counted as unknown.
    """
    scores = [verdict.score for _, verdict in judged]
    known = [score for score in scores if score is not None]
    if not scores:
        return None
    missing = len(scores) - len(known)
    if not known:
        return Measured(None, 0, unknown=missing)
    found = _mean_interval(known)
    return Measured(found.mean, found.n, found.low, found.high, unknown=missing)


def _losses(judged: Judged, skill: str) -> list[float]:
    return [
        exchange.loss
        for exchange, _ in judged
        if exchange.loss is not None and skill in ("", exchange.prompt.skill)
    ]


def _mean_interval(values: Sequence[float]) -> "MeanInterval":
    """Return mean and interval; NumPy and SciPy are imported only where there are values."""
    from fedsafe.evaluation.paired import mean_interval

    return mean_interval(values)


def _measured(found: "MeanInterval") -> Measured:
    return Measured(found.mean, found.n, found.low, found.high)


def f1(reply: str, expected: str) -> float:
    """Return the F1 of the tokens of two texts; 0 where they share none.

    >>> round(f1("SELECT a FROM t", "SELECT b FROM t"), 2)
    0.75
    """
    said, wanted = Counter(_tokens(reply)), Counter(_tokens(expected))
    shared = sum((said & wanted).values())
    return 2 * shared / (sum(said.values()) + sum(wanted.values())) if shared else 0.0


def _mean(judged: Judged, skill: str, grade: Callable[[str, str], float]) -> Measured | None:
    """Return the mean of the best grade over expected answers, with Student's interval."""
    grades = [
        max(grade(own_words(exchange), answer) for answer in exchange.prompt.expected)
        for exchange, _ in judged
        if exchange.prompt.skill == skill and exchange.prompt.expected
    ]
    if not grades:
        return None
    found = _mean_interval(grades)
    low, high = found.low, found.high
    return Measured(
        value=found.mean,
        n=found.n,
        low=None if low is None else max(0.0, low),
        high=None if high is None else min(1.0, high),
    )


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.casefold())


def _rouge(name: str, reply: str, expected: str) -> float:
    return float(_scorer(name).score(expected, reply)[name].fmeasure)


@cache
def _scorer(name: str) -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer([name], use_stemmer=True)
