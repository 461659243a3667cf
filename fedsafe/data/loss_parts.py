"""The loss weight of each part of a rendered sample: earlier replies, and segments of the last.

Knows nothing of templates or tokens.
"""

from collections.abc import Iterable
from itertools import pairwise

from fedsafe.contracts import Sample, Segment, Turn
from fedsafe.errors import ModelError

History = tuple[Turn, ...]
Span = tuple[int, int]
"""Where a reply begins and ends in the prompt, in characters."""


def parts_of(
    prompt: str, response: str, earlier: Iterable[Span], sample: Sample
) -> tuple[Segment, ...]:
    """Return a rendered sample in parts with their loss weights; none for a plain one.

    Args:
        prompt: The text that the model is given, earlier turns included.
        response: The text that it is to answer, with the token that ends the turn.
        earlier: Earlier replies in the prompt, each with the token that ends it, in order.
        sample: Its segments weigh the response; loss on it has weight 1 without them.
    """
    found: list[Segment] = []
    place = 0
    for begin, end in earlier:
        found += [Segment(prompt[place:begin], 0.0), Segment(prompt[begin:end])]
        place = end
    if not found and not sample.segments:
        return ()
    found.append(Segment(prompt[place:], 0.0))
    found += _weighed(response, sample) if sample.segments else [Segment(response)]
    return tuple(part for part in found if part.text)


def _weighed(response: str, sample: Sample) -> list[Segment]:
    """Return the response in the sample's segments.

    What the template writes before the first segment belongs to it, and what it writes
    after the last (the token that ends the turn) to that. White space that the template
    trims from the response is missing in the segments as well.

    Raises:
        ModelError: The template writes another text than the response.
    """
    segments = sample.segments
    kept = sample.response
    if kept not in response:
        kept = kept.strip()
    begin, end = sample.response.find(kept), sample.response.find(kept) + len(kept)
    lead = response.find(kept)
    if lead < 0:
        raise ModelError(
            f"The template writes the response {kept[:40]!r} as {response[:40]!r}, so its segments "
            "cannot be told apart. Use the template 'alpaca'."
        )
    cuts, place = [0], 0
    for segment in segments[:-1]:
        place += len(segment.text)
        cuts.append(lead + min(max(place, begin), end) - begin)
    cuts.append(len(response))
    return [
        Segment(response[start:stop], segment.weight, segment.target)
        for (start, stop), segment in zip(pairwise(cuts), segments, strict=True)
    ]
