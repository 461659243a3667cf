"""How far judges agree: Cohen's kappa between every two of them, by condition."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from fedsafe.contracts import Exchange, Verdict
from fedsafe.evaluation.calibration import agreement
from fedsafe.runs.scores import Agreement


def agreements(
    exchanges: Sequence[Exchange], said: Mapping[str, Sequence[Verdict]]
) -> tuple[Agreement, ...]:
    """Return how far every two judges agree on whether replies refuse, under each condition.

    Args:
        exchanges: What was judged; utility prompts and given answers are left out.
        said: Each judge's verdicts, by its key.
    """
    found = []
    conditions = dict.fromkeys(exchange.condition for exchange in exchanges)
    for first, second in combinations(said, 2):
        for condition in conditions:
            pairs = [
                (one, other)
                for exchange, one, other in zip(exchanges, said[first], said[second], strict=True)
                if exchange.condition == condition
                and exchange.prompt.purpose != "utility"
                and exchange.loss is None
            ]
            if pairs:
                found.append(_between(first, second, condition, pairs))
    return tuple(found)


def unread(exchanges: Sequence[Exchange], said: Mapping[str, Sequence[Verdict]]) -> tuple[str, ...]:
    """Return the judges that could neither judge nor score any reply, by key.

    Args:
        exchanges: What was judged; given answers are left out.
        said: Each judge's verdicts, by its key.
    """
    spoken = [index for index, exchange in enumerate(exchanges) if exchange.loss is None]
    silent = {
        key: all(verdicts[i].outcome == "unknown" and verdicts[i].score is None for i in spoken)
        for key, verdicts in said.items()
    }
    return tuple(key for key, nothing in silent.items() if nothing and spoken)


def _between(
    first: str, second: str, condition: str, pairs: Sequence[tuple[Verdict, Verdict]]
) -> Agreement:
    known = [pair for pair in pairs if all(verdict.outcome != "unknown" for verdict in pair)]
    one = [pair[0].outcome == "refuse" for pair in known]
    other = [pair[1].outcome == "refuse" for pair in known]
    kappa = agreement(one, other)
    return Agreement(
        first=first,
        second=second,
        condition=condition,
        n=len(known),
        same=sum(a == b for a, b in zip(one, other, strict=True)),
        kappa=kappa.value,
        low=kappa.low,
        high=kappa.high,
        unknown=len(pairs) - len(known),
    )
