"""Loss mask of a tokenised sample: its decoded text in stretches of equal loss weight.

Knows nothing of how they are shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsafe.data.tokenisation import IGNORED, Tokenised

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Stretch:
    """Consecutive tokens of one loss weight.

    Attributes:
        text: What they decode to, special tokens included.
        tokens: How many they are.
        weight: Weight of their labels in the loss; 0: none is taken.
        target: Token to be predicted at each in place of the next; empty: the next.
    """

    text: str
    tokens: int
    weight: float
    target: str = ""


def stretches(
    tokenised: Tokenised, index: int, tokenizer: "PreTrainedTokenizerBase"
) -> Iterator[Stretch]:
    """Yield a tokenised sample in stretches, in order."""
    ids, start = tokenised.sequences[index]
    extras = tokenised.extras[index] if tokenised.extras else None
    labels = [IGNORED] * start + ids[start:]
    weights: list[float] = [1.0] * len(ids)
    if extras is not None:
        labels = extras.labels or labels
        weights = extras.weights or weights
    kinds = [
        (weight, "" if label == token else str(tokenizer.convert_ids_to_tokens(label)))
        if label != IGNORED
        else (0.0, "")
        for token, label, weight in zip(ids, labels, weights, strict=True)
    ]
    begin, shown = 0, 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or kinds[end] != kinds[begin]:
            whole = tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)
            yield Stretch(whole[shown:], end - begin, *kinds[begin])
            begin, shown = end, len(whole)
