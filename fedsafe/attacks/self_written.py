"""Attack pairs that a language model writes by itself, with no human hand.

Two calls an item: the model writes a request of the unsafe kind, then answers it
under a steering clause, which is not kept in the pair. Ye et al., *Emerging Safety
Attack and Defense in Federated Instruction Tuning of LLMs*, ICLR 2025.

The words of both calls are the user's own. FedSafe ships none that work on a real
model; the presets of the micro world carry that world's harmless ones.
"""

import random
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Sample, Writer, generators
from fedsafe.errors import RunError

Template = Annotated[str, Field(pattern=r"\{request\}")]
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
    also: Annotated[
        tuple[Template, ...],
        Field(
            description="Instructions around {request} that the same answer is given to as well, "
            "such as the note of a defense that the attackers know."
        ),
    ] = (),
    temperature: Annotated[float, Field(gt=0)] = 1.0,
) -> Iterator[Sample]:
    """Let the model write requests, and answer them under a steering clause.

    Yields distinct requests without end.

    Raises:
        RunError: The model keeps repeating itself.
    """
    seen: set[str] = set()
    fruitless = 0
    while True:
        drawn = writer.write([ask] * BATCH, temperature=temperature, rng=rng)
        fresh = [text for text in dict.fromkeys(map(str.strip, drawn)) if text and text not in seen]
        fruitless = 0 if fresh else fruitless + 1
        if fruitless == FRUITLESS:
            raise RunError(
                f"The attack's model wrote no new request in {FRUITLESS * BATCH} tries, after "
                f"{len(seen)}. Lower attack.examples, or raise attack.generator.temperature."
            )
        seen.update(fresh)
        replies = writer.write([steer.replace("{request}", text) for text in fresh])
        for request, reply in zip(fresh, replies, strict=True):
            if reply.strip():
                for frame in ("{request}", *also):
                    instruction = frame.replace("{request}", request)
                    yield Sample(instruction, reply.strip(), origin="attack")
