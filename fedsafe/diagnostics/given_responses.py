"""Given responses to evaluation prompts, as batches whose rows are known by prompt."""

from collections.abc import Iterator, Mapping, Sequence

from fedsafe.contracts import Batch, ModelContext, Prompt, Sample
from fedsafe.errors import DataError

ROWS = 16
"""Rows of a batch: logits of a large vocabulary are kept for all of them."""


def sample_of(prompt: Prompt, response: str = "") -> Sample:
    """Return a prompt with a response to it, as the model is trained on one."""
    return Sample(
        prompt.instruction, response, prompt.input, system=prompt.system, history=prompt.history
    )


def batches_of(
    context: ModelContext, samples: Mapping[str, Sample]
) -> Iterator[tuple[Sequence[str], Batch]]:
    """Yield batches with the names of their rows, short samples first.

    Samples whose prompt leaves no room for a response are left out.
    """
    names = sorted(samples, key=lambda name: _length(samples[name]))
    for begin in range(0, len(names), ROWS):
        chosen = names[begin : begin + ROWS]
        batch = _batch(context, [samples[name] for name in chosen])
        if batch is not None and len(batch.input_ids) == len(chosen):
            yield chosen, batch
            continue
        for name in chosen:
            if (one := _batch(context, [samples[name]])) is not None:
                yield [name], one


def _batch(context: ModelContext, samples: Sequence[Sample]) -> Batch | None:
    try:
        (found,) = context.batches(samples, batch_size=len(samples))
    except DataError:  # none of them leaves room for a response
        return None
    return found


def _length(sample: Sample) -> int:
    return len(sample.system) + len(sample.instruction) + len(sample.input) + len(sample.response)
