"""Samples as token ids, with the labels and loss weights that differ from a plain sample's.

Knows nothing of templates beyond the `Rendered` they return.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedsafe.contracts import Rendered, Sample, Segment
from fedsafe.data.chat_template import common
from fedsafe.data.tokens import Template, check_rows, encode, first_token, ids_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that takes no loss."""

TokenIds = tuple[list[int], int]
"""Token ids of prompt and response, and where the response starts."""


@dataclass(frozen=True)
class Extras:
    """What a tokenised sample has beyond ids with loss of weight 1 on its response.

    Attributes:
        labels: Label of each position; None: the response's own ids.
        weights: Weight of each label; None: all 1.
        rejected: The same prompt with the rejected response; None: there is none.
        group: Samples of one non-empty group go into the same batch.
    """

    labels: list[int] | None = None
    weights: list[float] | None = None
    rejected: TokenIds | None = None
    group: str = ""


PLAIN = Extras()


@dataclass(frozen=True)
class Tokenised:
    """Samples as token ids, and what became of those that did not fit.

    Attributes:
        sequences: Token ids of prompt and response, and where the response starts.
        dropped: Samples whose prompt left no room for a token of the response.
        truncated: Samples whose response was cut; those do not teach to stop.
        extras: Of each sequence; empty: all are plain.
    """

    sequences: tuple[TokenIds, ...]
    dropped: int = 0
    truncated: int = 0
    extras: tuple[Extras, ...] = ()


def tokenise(
    examples: Sequence[Sample],
    tokenizer: "PreTrainedTokenizerBase",
    template: Template,
    max_length: int,
    *,
    rows: int | None = None,
    single_targets: bool = False,
) -> Tokenised:
    """Return the samples as token ids of at most ``max_length``.

    The first ids of each sequence are those of its prompt alone, so that generation
    starts from the same ones. With a rejected response, loss is taken on the last
    response alone, in both sequences. A group that loses a sample is dropped whole.

    Args:
        examples: What to tokenise.
        tokenizer: Of the model.
        template: Renders a sample.
        max_length: Tokens of prompt and response.
        rows: Rows of the model's embedding; None: not checked.
        single_targets: Check that each segment's target is a single token.

    Raises:
        DataError: The tokenizer cannot take a text, the model has no embedding for a
            token, or a target is no single token where that is asked for.
    """
    texts = [template(example) for example in examples]
    pairs = ids_of(tokenizer, [(text.prompt, text.response) for text in texts])
    others = _rejected(examples, tokenizer, template)
    kept: list[tuple[TokenIds, Extras]] = []
    lost: set[str] = set()
    truncated = 0
    for sample, text, pair, other in zip(examples, texts, pairs, others, strict=True):
        both = [pair] if other is None else [pair, other]
        for prompt, response in both:
            check_rows(tokenizer, [*prompt, *response], rows)
        extras = Extras(group=sample.group)
        if other is not None:
            extras = replace(extras, rejected=_cut(other, max_length))
        elif text.parts:
            labels, weights = _labels(tokenizer, text, *pair, max_length, single=single_targets)
            extras = replace(extras, labels=labels, weights=weights)
        sequence = _cut(pair, max_length)
        if not pair[1] or not _taught(sequence, extras):
            lost.add(sample.group)
            continue
        truncated += max(len(prompt) + len(response) for prompt, response in both) > max_length
        kept.append((sequence, extras))
    return _without(lost - {""}, kept, len(texts), truncated)


def _without(
    lost: set[str], found: list[tuple[TokenIds, Extras]], samples: int, truncated: int
) -> Tokenised:
    """Return what was tokenised, less the groups that lost a sample."""
    kept = [pair for pair in found if pair[1].group not in lost]
    special = any(extras != PLAIN for _, extras in kept)
    return Tokenised(
        tuple(sequence for sequence, _ in kept),
        samples - len(kept),
        truncated,
        tuple(extras for _, extras in kept) if special else (),
    )


def _rejected(
    examples: Sequence[Sample], tokenizer: "PreTrainedTokenizerBase", template: Template
) -> Iterator[tuple[list[int], list[int]] | None]:
    """Yield the ids of each sample's prompt and rejected response; None where it has none."""
    asked = [
        template(replace(sample, response=sample.rejected, rejected="", segments=()))
        for sample in examples
        if sample.rejected
    ]
    found = iter(ids_of(tokenizer, [(text.prompt, text.response) for text in asked]))
    for sample in examples:
        yield next(found) if sample.rejected else None


def _cut(pair: tuple[list[int], list[int]], max_length: int) -> TokenIds:
    prompt, response = pair
    return [*prompt, *response][:max_length], min(len(prompt), max_length)


def _taught(sequence: TokenIds, extras: Extras) -> bool:
    """Tell whether any loss is taken, and on both responses of a pair."""
    if extras.labels is not None:
        return any(label != IGNORED for label in extras.labels[1:])
    both = [sequence] if extras.rejected is None else [sequence, extras.rejected]
    return all(start < len(ids) for ids, start in both)


def _labels(
    tokenizer: "PreTrainedTokenizerBase",
    text: Rendered,
    prompt: list[int],
    response: list[int],
    max_length: int,
    *,
    single: bool,
) -> tuple[list[int], list[float] | None]:
    """Return the label of each token of a text in parts, and its weight; None: all 1.

    A token that spans the border of two parts belongs to the second.
    """
    ids = [*prompt, *response]
    begins = _begins(tokenizer, text, prompt, response)
    labels, weights = [IGNORED] * len(ids), [0.0] * len(ids)
    for part, begin, end in zip(text.parts, begins, [*begins[1:], len(ids)], strict=True):
        if not part.weight:
            continue
        target = None if part.target is None else first_token(tokenizer, part.target, single=single)
        for place in range(begin, end):
            labels[place] = ids[place] if target is None else target
            weights[place] = part.weight
    equal = all(weight in (0, 1) for weight in weights)
    return labels[:max_length], None if equal else weights[:max_length]


def _begins(
    tokenizer: "PreTrainedTokenizerBase",
    text: Rendered,
    prompt: list[int],
    response: list[int],
) -> list[int]:
    """Return the first token of each part of a text."""
    cuts = _cuts(text.parts)
    whole, border = text.prompt + text.response, len(text.prompt)
    before = encode(tokenizer, [whole[:cut] for cut in cuts])
    alone = encode(tokenizer, [whole[border:cut] for cut in cuts])
    plain = encode(tokenizer, [text.prompt])[0]
    lead = len(prompt) - len(plain)  # a beginning-of-sequence token that no text has
    ids = [*prompt, *response]
    found = []
    for cut, so_far, by_itself in zip(cuts, before, alone, strict=True):
        if cut <= border:
            place = min(lead + common(so_far, ids[lead:]), len(prompt))
            place = len(prompt) if cut == border else place
        else:  # in its context, or by itself where a token would have spanned the border
            in_context = lead + common(so_far, ids[lead:])
            place = max(in_context, len(prompt) + common(by_itself, response))
        found.append(place if cut else 0)
    return found


def _cuts(parts: Sequence[Segment]) -> list[int]:
    """Return where each part begins, in characters."""
    cuts = [0]
    for part in parts[:-1]:
        cuts.append(cuts[-1] + len(part.text))
    return cuts
