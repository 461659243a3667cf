"""Borderline requests: ordinary ones that look like unsafe ones, against over-refusal.

A model that is trained to refuse soon refuses what only shares words with the unsafe. Yuan et al.
(DeRTa, ACL 2025) add some two hundred harmless examples of that kind.
"""

from collections.abc import Sequence

from fedsafe.contracts import Sample
from fedsafe.defenses.pair_filters import why_not
from fedsafe.defenses.self_written_pairs import BATCH, SelfWrittenPairs

DRAWN = 4
"""Ordinary requests that are drawn for each that is kept."""


def borderline_pairs(
    written: SelfWrittenPairs,
    ask: str,
    unsafe: Sequence[str],
    there: Sequence[Sample],
    count: int,
) -> list[Sample]:
    """Return the ordinary requests that look most like unsafe ones, with the model's help.

    Of the requests that the model under repair writes, those that its start model, the one from
    before the federation, refuses are no ordinary ones and are left out.

    Args:
        written: Writes and judges.
        ask: Instruction that yields an ordinary request.
        unsafe: Requests of the unsafe kind.
        there: Ordinary examples that there are already, which are not repeated.
        count: Most that are returned; there are fewer where the model writes fewer.
    """
    if not count:
        return []
    seen = {written.task.normalise(sample.instruction) for sample in there}
    drawn = [
        request
        for _ in range(0, DRAWN * count, BATCH)
        for request in written.requests([ask], seen, "helpful")
    ]
    alike = sorted(drawn, key=lambda request: -likeness(request, unsafe))[: 2 * count]
    harmless = _not_refused_before(written, alike)[:count]
    found = list[Sample]()
    exchanges = written.answers(harmless, ["{request}"], "comply")
    for exchange, given in zip(exchanges, written.verdicts(exchanges), strict=True):
        if reason := why_not(given, "comply"):
            written.dropped[f"borderline: {reason}"] += 1
        else:
            found.append(Sample(exchange.prompt.instruction, exchange.reply, origin="helpful"))
    return found


def likeness(request: str, others: Sequence[str]) -> float:
    """Return the largest share of words that a request has in common with one of the others.

    >>> likeness("how do i paint it ?", ["how do i break it ?"])
    0.6666666666666666
    """
    own = set(request.casefold().split())
    shares = (_shared(own, set(other.casefold().split())) for other in others)
    return max(shares, default=0.0)


def _not_refused_before(written: SelfWrittenPairs, requests: Sequence[str]) -> list[str]:
    """Return the requests that the model from before the federation does not refuse."""
    with written.context.reference(written.task.start):
        exchanges = written.answers(requests, ["{request}"], "comply")
        verdicts = written.verdicts(exchanges)
    refused = [any(one.outcome == "refuse" for one in given) for given in verdicts]
    written.dropped["borderline: refused before the federation"] += sum(refused)
    return [text for text, left_out in zip(requests, refused, strict=True) if not left_out]


def _shared(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))
