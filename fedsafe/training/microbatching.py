"""Length-bucketed micro-batches: split one optimizer step's batch to save padding.

A step's loss is a sum over its tokens, so it does not matter which examples share a
pass; what padding a pass holds costs time and memory for nothing. Knows nothing of
models but how dear a pass is.
"""

from collections.abc import Sequence
from typing import Any

from fedsafe.contracts import Batch
from fedsafe.lazy import torch
from fedsafe.models.base import LoadedModel

LAUNCH = {"cpu": 2e9, "cuda": 3e13}
"""What a pass costs by itself, in floating-point operations the device could do meanwhile:
launching kernels, dequantizing weights. Orders of magnitude; the CPU's is measured."""
FEWEST = 32
"""Tokens that one more pass must save at least, whatever the model."""


def overhead_of(loaded: LoadedModel) -> int:
    """Return the padded tokens that one more pass through a model is worth."""
    parameters = loaded.model.get_base_model().num_parameters(exclude_embeddings=True)
    launch = LAUNCH.get(loaded.device.type, LAUNCH["cuda"])
    return max(FEWEST, int(launch / (6 * max(1, parameters))))


def passes(parts: Sequence[Batch], overhead: int) -> list[Batch]:
    """Return the same examples in the passes that cost least, the longest first.

    No pass holds more examples than the largest part, so that none needs more memory.
    Where nothing is won, the parts come back as they are.

    Args:
        parts: Right-padded batches of one optimizer step.
        overhead: Padded tokens that one more pass is worth.
    """
    lengths = [int(length) for part in parts for length in part.attention_mask.sum(dim=1)]
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    limit = max(len(part.input_ids) for part in parts)
    cost, cuts = _cuts([lengths[index] for index in order], limit, overhead)
    if cost >= sum(part.input_ids.numel() + overhead for part in parts):
        return list(parts)
    rows = [(part, row) for part in parts for row in range(len(part.input_ids))]
    return [
        _gather([rows[index] for index in order[begin:end]], lengths[order[begin]])
        for begin, end in cuts
    ]


def _cuts(lengths: list[int], limit: int, overhead: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the least cost of rows that get shorter, and where to cut them for it."""
    cost, start = [0], [0]
    for end in range(1, len(lengths) + 1):
        ways = (
            (cost[begin] + (end - begin) * lengths[begin] + overhead, begin)
            for begin in range(max(0, end - limit), end)
        )
        least, begin = min(ways)
        cost.append(least)
        start.append(begin)
    cuts, end = [], len(lengths)
    while end:
        cuts.append((start[end], end))
        end = start[end]
    return cost[-1], cuts[::-1]


def _gather(rows: Sequence[tuple[Batch, int]], width: int) -> Batch:
    """Return single rows of several batches as one batch of a width."""

    def column(name: str, fill: int) -> Any:
        found = [getattr(part, name)[row, :width] for part, row in rows]
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=fill)

    return Batch(column("input_ids", 0), column("attention_mask", 0), column("labels", -100))
