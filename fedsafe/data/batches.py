"""Batches of tokenised samples: each pass in a new order, groups together, pairs row by row.

The names of `fedsafe.data.tokens` and `fedsafe.data.tokenisation` can be had from here.
"""

import random
from collections.abc import Iterator, Sequence

from fedsafe.contracts import Batch
from fedsafe.data.tokenisation import IGNORED, PLAIN, Extras, TokenIds, Tokenised, tokenise
from fedsafe.data.tokens import pad_id, prompt_ids, reply_start, reply_texts
from fedsafe.errors import DataError
from fedsafe.lazy import torch

__all__ = [
    "IGNORED",
    "Extras",
    "TokenIds",
    "Tokenised",
    "batches",
    "collate",
    "in_order",
    "pad_id",
    "prompt_ids",
    "reply_start",
    "reply_texts",
    "tokenise",
]


def batches(
    tokenised: Tokenised, rng: random.Random, batch_size: int, pad: int, *, window: int = 1
) -> Iterator[Batch]:
    """Yield batches without end: each pass has every sample once, in a new order.

    All have the same size, so a pass may end within a batch. With fewer samples than
    ``batch_size``, every batch is all of them. With groups a batch may be smaller: the
    samples of one group are never parted.

    Args:
        tokenised: What to draw from.
        rng: Decides the order, alone.
        batch_size: Samples a batch.
        pad: Token id that fills the right end of shorter rows.
        window: Group samples of like length within so many consecutive batches. What is
            drawn for the window as a whole stays the same.

    Raises:
        DataError: There is no sample, or a group is larger than a batch.
    """
    _check(tokenised)
    units = _units(tokenised, batch_size)
    size = min(batch_size, len(tokenised.sequences))
    if len(units) < len(tokenised.sequences):
        chosen = _grouped(tokenised, units, rng, size, window)
    else:
        chosen = _single(tokenised, rng, size, window)
    numbers = _numbers(tokenised)
    for indices in chosen:
        yield _batch(tokenised, indices, pad, numbers)


def in_order(tokenised: Tokenised, batch_size: int, pad: int) -> list[Batch]:
    """Return every sample once, in order, as batches; the last may be smaller.

    Groups stay together, at the place of their first sample.

    Raises:
        DataError: There is no sample, or a group is larger than a batch.
    """
    _check(tokenised)
    numbers = _numbers(tokenised)
    packed = _packed(_units(tokenised, batch_size), batch_size)
    return [_batch(tokenised, indices, pad, numbers) for indices in packed]


def collate(
    sequences: Sequence[TokenIds],
    pad: int,
    extras: Sequence[Extras] = (),
    numbers: dict[str, int] | None = None,
) -> Batch:
    """Return sequences as one right-padded batch, with loss on the responses unless told else.

    Args:
        sequences: Token ids, and where the response starts.
        pad: Token id that fills the right end of shorter rows.
        extras: Labels, weights, rejected responses and groups, a sequence each; empty: none.
        numbers: Number of each group; None: in order of appearance.
    """
    batch = _rows(sequences, pad, [extra.labels for extra in extras] or [None] * len(sequences))
    if not extras:
        return batch
    weights = rejected = groups = None
    if any(extra.weights is not None for extra in extras):
        weights = torch.zeros(batch.labels.shape, dtype=torch.float32)
        weights[batch.labels != IGNORED] = 1
        for row, extra in enumerate(extras):
            if extra.weights is not None:
                weights[row, : len(extra.weights)] = torch.tensor(extra.weights)
    if any(extra.rejected is not None for extra in extras):
        pairs = zip(sequences, extras, strict=True)
        others = [e.rejected or (ids[:start], start) for (ids, start), e in pairs]
        rejected = _rows(others, pad, [None] * len(others))
    if any(extra.group for extra in extras):
        if numbers is None:
            numbers = {name: n for n, name in enumerate(dict.fromkeys(e.group for e in extras))}
        groups = torch.tensor([numbers[e.group] if e.group else -1 for e in extras])
    return Batch(batch.input_ids, batch.attention_mask, batch.labels, weights, rejected, groups)


def _rows(sequences: Sequence[TokenIds], pad: int, labelled: Sequence[list[int] | None]) -> Batch:
    width = max(len(ids) for ids, _ in sequences)
    shape = (len(sequences), width)
    input_ids = torch.full(shape, pad, dtype=torch.int64)
    attention_mask = torch.zeros(shape, dtype=torch.int64)
    labels = torch.full(shape, IGNORED, dtype=torch.int64)
    for row, ((ids, start), own) in enumerate(zip(sequences, labelled, strict=True)):
        tokens = torch.tensor(ids, dtype=torch.int64)
        input_ids[row, : len(ids)] = tokens
        attention_mask[row, : len(ids)] = 1
        if own is None:
            labels[row, start : len(ids)] = tokens[start:]
        else:
            labels[row, : len(own)] = torch.tensor(own, dtype=torch.int64)
    return Batch(input_ids, attention_mask, labels)


def _batch(
    tokenised: Tokenised, indices: Sequence[int], pad: int, numbers: dict[str, int]
) -> Batch:
    extras = [tokenised.extras[index] for index in indices] if tokenised.extras else []
    if all(extra == PLAIN for extra in extras):
        extras = []
    return collate([tokenised.sequences[index] for index in indices], pad, extras, numbers)


def _single(
    tokenised: Tokenised, rng: random.Random, size: int, window: int
) -> Iterator[list[int]]:
    """Yield the samples of each batch, where none belongs to a group."""
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
        yield from groups


def _grouped(
    tokenised: Tokenised,
    units: list[list[int]],
    rng: random.Random,
    size: int,
    window: int,
) -> Iterator[list[int]]:
    """Yield the samples of each batch, groups together."""

    def longest(unit: list[int]) -> int:
        return max(len(tokenised.sequences[index][0]) for index in unit)

    pool: list[list[int]] = []
    while True:
        while sum(map(len, pool)) < size * (window + 1):
            order = list(units)
            rng.shuffle(order)
            pool += order
        packed = _packed(pool, size)[:window]
        taken, count = 0, sum(map(len, packed))
        while count:
            count -= len(pool[taken])
            taken += 1
        chosen, pool = pool[:taken], pool[taken:]
        if window > 1:
            packed = _packed(sorted(chosen, key=longest), size)
            rng.shuffle(packed)
        yield from packed


def _packed(units: Sequence[list[int]], size: int) -> list[list[int]]:
    """Return units in order, as many in a batch as fit."""
    found: list[list[int]] = []
    for unit in units:
        if found and len(found[-1]) + len(unit) <= size:
            found[-1] += unit
        else:
            found.append(list(unit))
    return found


def _units(tokenised: Tokenised, size: int) -> list[list[int]]:
    """Return the samples that go into one batch together, as indices."""
    if not tokenised.extras:
        return [[index] for index in range(len(tokenised.sequences))]
    units: dict[object, list[int]] = {}
    for index, extra in enumerate(tokenised.extras):
        units.setdefault(extra.group or index, []).append(index)
    for group, unit in units.items():
        if len(unit) > size:
            raise DataError(
                f"Group {group!r} has {len(unit)} samples, and a batch takes {size}. Raise "
                "training.batch_size, or make smaller groups."
            )
    return list(units.values())


def _numbers(tokenised: Tokenised) -> dict[str, int]:
    names = dict.fromkeys(extra.group for extra in tokenised.extras if extra.group)
    return {name: number for number, name in enumerate(names)}


def _check(tokenised: Tokenised) -> None:
    if not tokenised.sequences:
        raise DataError(
            f"There is no example to train on: {tokenised.dropped} were dropped because the "
            "prompt alone fills data.max_length. Raise it, or give shorter examples."
        )
