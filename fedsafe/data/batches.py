"""From text to token ids to batches, with the boundary of the response exact to the token.

Knows nothing of templates beyond the `Rendered` they return.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsafe.contracts import Batch, Example, Rendered
from fedsafe.errors import DataError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that takes no loss."""


@dataclass(frozen=True)
class Tokenised:
    """Examples as token ids, and what became of those that did not fit.

    Attributes:
        sequences: Token ids of prompt and response, and where the response starts.
        dropped: Examples whose prompt left no room for a token of the response.
        truncated: Examples whose response was cut; those do not teach to stop.
    """

    sequences: tuple[tuple[list[int], int], ...]
    dropped: int = 0
    truncated: int = 0


def tokenise(
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    template: Callable[[Example], Rendered],
    max_length: int,
) -> Tokenised:
    """Return the examples as token ids of at most ``max_length``.

    The first ids of each sequence are those of its prompt alone, so that generation
    starts from the same ones.
    """
    texts = [template(example) for example in examples]
    pairs = _ids(tokenizer, [(text.prompt, text.response) for text in texts])
    kept: list[tuple[list[int], int]] = []
    truncated = 0
    for prompt, response in pairs:
        if len(prompt) >= max_length or not response:
            continue
        truncated += len(prompt) + len(response) > max_length
        kept.append(([*prompt, *response][:max_length], len(prompt)))
    return Tokenised(tuple(kept), len(texts) - len(kept), truncated)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str, prefill: str = "") -> list[int]:
    """Return the token ids that generation starts from, as training has them.

    A prefill is set apart by a space unless the prompt ends in white space.
    """
    gap = " " if prompt and not prompt[-1].isspace() else ""
    ((before, begun),) = _ids(tokenizer, [(prompt, f"{gap}{prefill}" if prefill else "")])
    return [*before, *begun]


def pad_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return an id to pad with: the pad token, another unless there is none but the end.

    Padding is masked by length, so even the end-of-sequence token does no harm.
    """
    end = tokenizer.eos_token_id
    for token in (tokenizer.pad_token_id, tokenizer.unk_token_id):
        if token is not None and token != end:
            return int(token)
    return int(end) if end is not None else 0


def batches(
    tokenised: Tokenised, rng: random.Random, batch_size: int, pad: int, *, window: int = 1
) -> Iterator[Batch]:
    """Yield batches without end: each pass has every example once, in a new order.

    All have the same size, so a pass may end within a batch. With fewer examples than
    ``batch_size``, every batch is all of them.

    Args:
        tokenised: What to draw from.
        rng: Decides the order, alone.
        batch_size: Examples a batch.
        pad: Token id that fills the right end of shorter rows.
        window: Group examples of like length within so many consecutive batches. What is
            drawn for the window as a whole stays the same.

    Raises:
        DataError: There is no example.
    """
    if not tokenised.sequences:
        raise DataError(
            f"There is no example to train on: {tokenised.dropped} were dropped because the "
            "prompt alone fills data.max_length. Raise it, or give shorter examples."
        )
    size = min(batch_size, len(tokenised.sequences))
    pool: list[int] = []
    while True:
        while len(pool) < size * window:
            order = list(range(len(tokenised.sequences)))
            rng.shuffle(order)
            pool += order
        chosen, pool = pool[: size * window], pool[size * window :]
        if window > 1:
            chosen.sort(key=lambda index: len(tokenised.sequences[index][0]))
        groups = [chosen[begin : begin + size] for begin in range(0, len(chosen), size)]
        if window > 1:
            rng.shuffle(groups)
        for group in groups:
            yield collate([tokenised.sequences[index] for index in group], pad)


def collate(sequences: Sequence[tuple[Sequence[int], int]], pad: int) -> Batch:
    """Return sequences as one right-padded batch with loss on the responses alone."""
    width = max(len(ids) for ids, _ in sequences)
    shape = (len(sequences), width)
    input_ids = torch.full(shape, pad, dtype=torch.int64)
    attention_mask = torch.zeros(shape, dtype=torch.int64)
    labels = torch.full(shape, IGNORED, dtype=torch.int64)
    for row, (ids, start) in enumerate(sequences):
        tokens = torch.tensor(ids, dtype=torch.int64)
        input_ids[row, : len(ids)] = tokens
        attention_mask[row, : len(ids)] = 1
        labels[row, start : len(ids)] = tokens[start:]
    return Batch(input_ids, attention_mask, labels)


def _ids(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[tuple[str, str]]
) -> list[tuple[list[int], list[int]]]:
    """Return the token ids of each (prompt, continuation), the boundary kept.

    A continuation has the tokens it has in its context, unless a token would span the
    boundary: then it has those it has by itself.
    """
    if not texts:
        return []
    prompts = _encode(tokenizer, [prompt for prompt, _ in texts])
    wholes = _encode(tokenizer, [prompt + continuation for prompt, continuation in texts])
    start = _leading(tokenizer)
    found = []
    for (prompt, continuation), before, whole in zip(texts, prompts, wholes, strict=True):
        if whole[: len(before)] == before:
            after = whole[len(before) :]
        else:
            after = _encode(tokenizer, [continuation])[0]
        lead = [] if prompt.startswith(tokenizer.bos_token or "\0") else start
        found.append(([*lead, *before], after))
    return found


def _leading(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the beginning-of-sequence id if the tokenizer adds one by itself."""
    beginning = tokenizer.bos_token_id
    with_special: list[int] = tokenizer("a")["input_ids"]
    return [beginning] if beginning is not None and with_special[:1] == [beginning] else []


def _encode(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)[
        "input_ids"
    ]
    return encoded
