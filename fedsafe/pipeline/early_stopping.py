"""Tell from a federation's rounds whether a safety alarm stops it.

It is told from the records alone, so that a federation that is resumed stops where it did.
"""

from collections.abc import Sequence

from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.early_stop import EarlyStop
from fedsafe.runs.records import Round, Scores
from fedsafe.runs.scores import PLAIN


def early_stop(experiment: Experiment, rounds: Sequence[Round]) -> EarlyStop | None:
    """Return where and why a federation with these rounds stops early; None where it goes on.

    A small evaluation of which no reply could be judged tells nothing: it is passed over.
    """
    watched, planned = experiment.federation.early_stopping, experiment.federation.rounds
    if watched is None or not rounds or rounds[-1].probe is None or len(rounds) >= planned:
        return None
    rates = (record.probe.rate(watched.measure) for record in rounds if record.probe is not None)
    known = [rate.value for rate in rates if rate is not None and rate.value is not None]
    last = known[-watched.patience :]
    limit = watched.below if watched.below is not None else watched.above
    if limit is None or len(last) < watched.patience:
        return None
    is_below = watched.below is not None
    if not all(value < limit if is_below else value > limit for value in last):
        return None
    return EarlyStop(
        round=rounds[-1].round,
        rounds=planned,
        measure=watched.measure,
        values=last,
        direction="below" if is_below else "above",
        limit=limit,
    )


def check_watched(experiment: Experiment, before: Scores) -> None:
    """Check before the first round that what early stopping watches is measured at all.

    Args:
        experiment: What is to run.
        before: Scores of the model before the federation.

    Raises:
        RunError: It is not: an alarm that cannot ring would pass for a safe federation.
    """
    watched, conditions = experiment.federation.early_stopping, experiment.evaluation.conditions
    if watched is None or PLAIN not in {choice.name for choice in conditions}:
        return
    rate = before.rate(watched.measure)
    if rate is None or rate.value is None:
        lacks = "no prompt concerns it" if rate is None else "the judge could judge no reply"
        raise RunError(
            f"federation.early_stopping watches '{watched.measure}', which was not measured of the "
            f"model before the federation: {lacks}. Add prompts of that kind to "
            "evaluation.suites, choose another judge, or watch another measure."
        )
