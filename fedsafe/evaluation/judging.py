"""Call a judge: its settings bound, its model at hand, one verdict an exchange."""

from collections.abc import Iterable, Sequence
from math import isfinite
from random import Random
from typing import Any, Final, get_args

from fedsafe.contracts import Exchange, ModelContext, Outcome, Verdict, judges
from fedsafe.errors import RunError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.plugins.signatures import data_of
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import plan_of
from fedsafe.training.session import Session

OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
GIVEN: Final = Verdict("unknown", raw="a given answer, not the model's reply")


def judge(
    choice: PluginChoice, exchanges: Sequence[Exchange], context: ModelContext | None = None
) -> list[Verdict]:
    """Return the chosen judge's verdict on each exchange.

    Args:
        choice: The judge and its settings.
        exchanges: What it judges.
        context: The model, for a judge that reads with it.

    Raises:
        RunError: The judge does not give one verdict an exchange, or needs a model and there is
            none.
    """
    bound: Any = judges[choice.name].configure(choice.settings)
    if any(exchange.loss is not None for exchange in exchanges):
        spoken = iter(judge(choice, [one for one in exchanges if one.loss is None], context))
        return [next(spoken) if one.loss is None else GIVEN for one in exchanges]
    if not reads_with_a_model(choice):
        verdicts = bound(exchanges)
    elif context is None:
        raise RunError(
            f"Judge '{choice.name}' asks the model whose replies it judges, and none is loaded "
            "here. Use another judge."
        )
    else:
        verdicts = bound(context, exchanges)
    return _checked(choice.name, verdicts, len(exchanges))


def _checked(name: str, verdicts: object, wanted: int) -> list[Verdict]:
    """Return what a judge gave, one verdict an exchange.

    Raises:
        RunError: It gave something else, which no measure could count.
    """
    found: list[Any] = list(verdicts) if isinstance(verdicts, Iterable) else [verdicts]
    for one in found:
        if not isinstance(one, Verdict) or one.outcome not in OUTCOMES:
            said = f"the outcome {one.outcome!r}" if isinstance(one, Verdict) else f"{one!r:.40}"
            raise RunError(
                f"Judge '{name}' gave {said}. It must give one fedsafe.contracts.Verdict for each "
                f"exchange, with the outcome {', '.join(OUTCOMES)}."
            )
        if one.score is not None and not isfinite(one.score):
            raise RunError(
                f"Judge '{name}' gave the score {one.score}. It must be a finite number, or None "
                "where there is none."
            )
    if len(found) != wanted:
        raise RunError(
            f"Judge '{name}' gave {len(found)} verdicts on {wanted} exchanges. It must give one "
            "each, in order; 'unknown' is one."
        )
    return found


def reads_with_a_model(choice: PluginChoice) -> bool:
    """Return whether a judge is given the model beside the exchanges."""
    return len(data_of(judges[choice.name].function) or ()) > 1


def judging_context(session: Session) -> SessionContext:
    """Return a resident model as a judge meets it; it trains nothing and draws nothing."""
    training = session.spec.training
    return SessionContext(
        session=session,
        plan=plan_of(training, training.learning_rate),
        batch_size=session.batch_size,
        rng=Random(0),
    )
