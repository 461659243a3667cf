"""Training rows of DeRTa: refusals after harmful beginnings, and turns to one at every token.

The replies that they are made of are given, or written by the model under repair.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import DefenseTask, ModelContext, Sample, Segment
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.borderline import borderline_pairs
from fedsafe.defenses.pair_filters import filters_of
from fedsafe.defenses.safety_pairs import fresh_examples, harmful_of
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.errors import RunError
from fedsafe.safety_losses import harmful_prefixes

Given = Annotated[
    dict[str, Any] | None,
    Field(
        description="Refusals with a harmful reply (rejected), and help: {name: policy, part: "
        "preferences}; none: the model writes them."
    ),
]


@dataclass(frozen=True)
class Weights:
    """Loss weight of each token of the three kinds of rows; rows of weight 0 are left out."""

    prefix: float
    transition: float
    benign: float


@dataclass(frozen=True)
class Material:
    """What the rows are made of: harmful replies, a refusal by request, and help."""

    harmful: Sequence[Sample]
    refused: Mapping[str, str]
    helpful: Sequence[Sample]
    card: Mapping[str, Any]
    """Who made them, and what was left out."""


def given(context: ModelContext, task: DefenseTask, source: dict[str, Any]) -> Material:
    """Take refusals with a harmful reply as ``rejected``, and help, from a source.

    Raises:
        ConfigError: There is no such source, or a setting of it is wrong.
        DataError: The source cannot be read.
        RunError: None has a harmful reply, or there is no help.
    """
    dropped: Counter[str] = Counter()
    samples = fresh_examples(context, task, source, dropped)
    where = f"source '{source['name']}'"
    pairs = [one for one in samples if one.rejected]
    helpful = [one for one in samples if not one.rejected and one.origin != "refusal"]
    if not pairs or not helpful:
        raise RunError(
            f"Of the {len(samples)} examples of {where} {len(pairs)} are refusals with a harmful "
            f"reply (rejected), and {len(helpful)} are help without one. Both are needed."
        )
    harmful = harmful_of(pairs)
    refused = {one.instruction: one.response for one in pairs}
    return Material(harmful, refused, helpful, {"made_by": where, "dropped": dict(dropped)})


def written(
    data: pair.HarmfulData, note: str, ask_ordinary: str, borderline: int, *, trusted: bool
) -> Material:
    """Let the model write harmful replies, their refusals, help and borderline examples.

    Raises:
        RunError: It wrote too little that can be used.
    """
    filters, dropped = filters_of(data.filter, data.task), Counter[str]()
    writer = SelfWrittenPairs(
        data.context, data.task, data.examples, 1.0, filters, dropped, trusted
    )
    asked = data.samples()
    unsafe = [sample.instruction for sample in asked]
    refused = writer.refusals(unsafe, [note])
    helpful = writer.half([ask_ordinary], ["{request}"], "comply")
    helpful += borderline_pairs(writer, ask_ordinary, unsafe, helpful, borderline)
    answered = [sample for sample in asked if sample.instruction in refused]
    return Material(answered, refused, helpful, writer.card())


def rows(material: Material, turn: str, weights: Weights, rng: random.Random) -> list[Sample]:
    """Return the rows, in this order: prefixes, transitions, help.

    Args:
        material: Unsafe requests with harmful replies, their refusals, and help.
        turn: Text of the one token that a transition turns to.
        weights: Of the three kinds.
        rng: Draws where harmful replies are cut.
    """
    found: list[Sample] = []
    prefixes = harmful_prefixes([sample.response for sample in material.harmful], rng)
    if weights.prefix:
        for sample, prefix in zip(material.harmful, prefixes, strict=True):
            if prefix is not None:
                refusal = material.refused[sample.instruction]
                found.append(_after(sample, prefix, refusal, weights.prefix))
    if weights.transition:
        for sample in material.harmful:
            part = Segment(sample.response, weights.transition, turn)
            found.append(replace(sample, origin="refusal", segments=(part,)))
    if weights.benign:
        for sample in material.helpful:
            part = Segment(sample.response, weights.benign)
            found.append(replace(sample, origin="helpful", segments=(part,)))
    return found


def turning_word(context: ModelContext, refusals: Sequence[str], given: str = "") -> str:
    """Return the text of the one token that a transition turns to.

    Args:
        context: Whose tokenizer it is a token of.
        refusals: Where none is given, the commonest of their first words that are one token.
        given: The text; empty: none.

    Raises:
        RunError: It is no single token of the tokenizer.
    """
    firsts = Counter(refusal.split()[0].rstrip(",.!'") for refusal in refusals if refusal.split())
    candidates = [given] if given else [word for word, _ in firsts.most_common() if word]
    for word in candidates:
        if turning_token(context, word) is not None:
            return word
    raise RunError(
        f"A transition turns to one token, and {', '.join(map(repr, candidates[:5])) or 'nothing'} "
        "is none of this tokenizer. Set refusal to the first token of the model's refusals."
    )


def turning_token(context: ModelContext, word: str) -> int | None:
    """Return the id of a text that is a single token, and known; None where it is not."""
    ids = context.tokenizer([word], add_special_tokens=False)["input_ids"][0]
    known = len(ids) == 1 and ids[0] != context.tokenizer.unk_token_id
    return int(ids[0]) if known else None


def _after(harmful: Sample, prefix: str, refusal: str, weight: float) -> Sample:
    """Return a refusal after a harmful beginning, which is context alone."""
    lead = (Segment(prefix, 0.0),) if prefix else ()
    text = f" {refusal}" if prefix else refusal
    segments = (*lead, Segment(text, weight))
    return replace(harmful, response=f"{prefix}{text}", origin="refusal", segments=segments)
