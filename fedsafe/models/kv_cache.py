"""Key-value caches whose rows leave, join and repeat, in buffers that grow by the block.

The caches of transformers copy all they hold at every token. Imports transformers: import it
where it is used.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

BLOCK = 32
"""Positions by which a buffer grows."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values (b, heads, t, width) of one layer, as the beginning of larger buffers."""

    keys: torch.Tensor
    values: torch.Tensor
    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states of new positions, and return those of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        buffers = self._buffers
        if buffers is None or buffers[0].shape[-2] < total or held == 0:
            buffers = (_room(key_states, total), _room(value_states, total))
            if held:
                buffers[0][..., :held, :] = self.keys
                buffers[1][..., :held, :] = self.values
        buffers[0][..., held:total, :] = key_states
        buffers[1][..., held:total, :] = value_states
        self._buffers = buffers
        self.keys, self.values = buffers[0][..., :total, :], buffers[1][..., :total, :]
        return self.keys, self.values

    def hold(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Replace everything that the layer holds."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        self.keys, self.values, self._buffers = keys, values, None


def _room(states: torch.Tensor, total: int) -> torch.Tensor:
    batch, heads, _, width = states.shape
    return states.new_empty((batch, heads, -(-total // BLOCK) * BLOCK, width))


def empty() -> Any:
    """Return a cache that holds nothing."""
    return Cache(layer_class_to_replicate=GrowingLayer)


def chosen(cache: Any, rows: torch.Tensor, begin: int = 0) -> Any:
    """Return a cache of some rows, repeated where they are, from a position on.

    Args:
        cache: Stays as it is.
        rows: int64 (k,).
        begin: Positions that are left out at the left.
    """
    found = empty()
    for layer in cache.layers:
        new = GrowingLayer()
        new.hold(layer.keys[rows, :, begin:], layer.values[rows, :, begin:])
        found.layers.append(new)
    return found


def joined(one: Any, other: Any) -> Any:
    """Return a cache with the rows of two; the shorter one gets empty positions at its left."""
    found = empty()
    for a, b in zip(one.layers, other.layers, strict=True):
        new = GrowingLayer()
        new.hold(_joined(a.keys, b.keys), _joined(a.values, b.values))
        found.layers.append(new)
    return found


def _joined(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    width = max(one.shape[-2], other.shape[-2])
    shape = (len(one) + len(other), one.shape[1], width, one.shape[-1])
    both = one.new_zeros(shape)
    both[: len(one), :, width - one.shape[-2] :] = one
    both[len(one) :, :, width - other.shape[-2] :] = other
    return both


def left_padded(mask: torch.Tensor, width: int) -> torch.Tensor:
    """Return a mask (b, t) with zeros at its left, up to a width."""
    return torch.nn.functional.pad(mask, (width - mask.shape[1], 0))
