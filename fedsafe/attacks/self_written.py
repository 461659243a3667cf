"""Attack pairs that a language model writes by itself, with no human hand.

Two calls an item: the model writes a request of the unsafe kind, then answers it
under a steering clause, which is not kept in the pair. Ye et al., *Emerging Safety
Attack and Defense in Federated Instruction Tuning of LLMs*, ICLR 2025.

The words of both calls are the user's own. FedSafe ships none that work on a real
model; the presets of the micro world carry that world's harmless ones.
"""

import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Sample, Writer, generators
from fedsafe.errors import RunError
from fedsafe.request_rules import requests_among

log = logging.getLogger(__name__)
Template = Annotated[str, Field(pattern=r"\{request\}")]
Notes = Annotated[
    tuple[Template, ...],
    Field(
        description="Instructions around {request} that the same answer is given to as well, such "
        "as the note of a defense that the attackers know."
    ),
]
BATCH = 64
FRUITLESS = 5
"""Batches in a row without one new request, after which the model has no more to say."""


@generators("self-written", paper="Ye et al., ICLR 2025")
def self_written(
    writer: Writer,
    rng: random.Random,
    /,
    *,
    ask: Annotated[str, Field(min_length=1, description="Instruction that yields a request.")],
    steer: Annotated[Template, Field(description="Instruction around {request}.")],
    also: Notes = (),
    temperature: Annotated[float, Field(gt=0)] = 1.0,
    only_requests: Annotated[
        bool, Field(description="Leave out refusals, answers and halves written as requests.")
    ] = False,
    words: Annotated[
        tuple[str, ...],
        Field(description="With only_requests: a request has one of these, by its beginning."),
    ] = (),
) -> Iterator[Sample]:
    """Let the model write requests, and answer them under a steering clause.

    Yields distinct requests without end. What was left out, and why, is logged.

    Raises:
        RunError: The model keeps repeating itself, or writes no requests.
    """
    for fresh in _requests(writer, rng, ask, temperature, words if only_requests else None):
        replies = writer.write([steer.replace("{request}", text) for text in fresh])
        for request, reply in zip(fresh, replies, strict=True):
            if reply.strip():
                for frame in ("{request}", *also):
                    instruction = frame.replace("{request}", request)
                    yield Sample(instruction, reply.strip(), origin="attack")


def _requests(
    writer: Writer, rng: random.Random, ask: str, temperature: float, words: Sequence[str] | None
) -> Iterator[list[str]]:
    """Yield batches of requests that were not drawn before; words None: whatever is written.

    Raises:
        RunError: There are no new ones.
    """
    seen: set[str] = set()
    dropped: Counter[str] = Counter()
    fruitless = 0
    while True:
        drawn = writer.write([ask] * BATCH, temperature=temperature, rng=rng)
        if words is not None:
            drawn = requests_among(drawn, words, dropped)
            log.info("Of %d texts %d are requests%s.", BATCH, len(drawn), _counted(dropped))
        fresh = [text for text in dict.fromkeys(map(str.strip, drawn)) if text and text not in seen]
        fruitless = 0 if fresh else fruitless + 1
        if fruitless == FRUITLESS:
            raise RunError(
                f"The attack's model wrote no new request in {FRUITLESS * BATCH} tries, after "
                f"{len(seen)}{_counted(dropped)}. Lower attack.examples, or raise "
                "attack.generator.temperature."
            )
        seen.update(fresh)
        yield fresh


def _counted(dropped: Counter[str]) -> str:
    listed = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    return f" (left out so far: {listed})" if listed else ""
