"""Forward passes of batched decoding, in which shared beginnings are computed once.

A batch is a set of rows of one key-value cache. What prompts have in common (a system prompt,
a prompt and the same one with a prefilled reply, the same prompt many times) goes through the
model once.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsafe.lazy import torch
from fedsafe.models.prompt_prefixes import Ids, roots, shared_prefix

WORTH = 4
"""Ids that prompts must share for their beginning to be computed apart."""
FULL = frozenset({"full_attention", "sliding_attention"})
"""Kinds of layers whose cache is keys and values."""


def can_decode(base: Any, longest: int) -> bool:
    """Tell whether a model's cache can be cut by rows, up to a length in positions.

    It must take positions and a mask of its own for each row, and hold keys and values of all
    positions: no state of another kind, and no window that is shorter.
    """
    config = base.config.get_text_config(decoder=True)
    wanted = {"attention_mask", "position_ids", "logits_to_keep"}
    if not wanted <= _parameters(base) or getattr(config, "is_encoder_decoder", False):
        return False
    if not set(getattr(config, "layer_types", None) or FULL) <= FULL:
        return False
    window = getattr(config, "sliding_window", None)
    return window is None or longest <= window


def _parameters(base: Any) -> set[str]:
    return set(inspect.signature(base.forward).parameters)


@dataclass
class Rows:
    """Rows under way: their cache, the positions in it that count, and the next logits."""

    cache: Any
    mask: "torch.Tensor"
    """int64 (b, t)."""
    logits: "torch.Tensor"
    """float32 (b, vocabulary)."""

    def __len__(self) -> int:
        return len(self.mask)

    def select(self, rows: Sequence[int]) -> "Rows":
        """Return some of the rows, in this order, without positions that none of them has."""
        from fedsafe.models import kv_cache

        index = torch.tensor(rows, device=self.mask.device)
        mask = self.mask[index]
        begin = int(mask.any(dim=0).int().argmax())
        cache = kv_cache.chosen(self.cache, index, begin)
        return Rows(cache, mask[:, begin:], self.logits[index])

    def join(self, other: "Rows") -> "Rows":
        """Return the rows of both as one batch."""
        from fedsafe.models import kv_cache

        width = max(self.mask.shape[1], other.mask.shape[1])
        masks = [kv_cache.left_padded(mask, width) for mask in (self.mask, other.mask)]
        cache = kv_cache.joined(self.cache, other.cache)
        return Rows(cache, torch.cat(masks), torch.cat([self.logits, other.logits]))


class Decoder:
    """Forward passes of one `generate`, with the beginning that all of its prompts share."""

    def __init__(self, base: Any, device: "torch.device", prompts: Sequence[Ids]) -> None:
        """Look for what all prompts begin with.

        Args:
            base: The causal language model, its adapter inside.
            device: Where it lies.
            prompts: All that will be asked.
        """
        self._base, self._device = base, device
        self._cache_name = "cache" if "cache" in _parameters(base) else "past_key_values"
        self._prefix: Any = None
        unique = list(dict.fromkeys(prompts))
        shared = shared_prefix(unique) if len(unique) > 1 else 0
        self._shared = unique[0][:shared] if shared >= WORTH else ()

    def prefill(self, prompts: Sequence[Ids]) -> Rows:
        """Return prompts as rows, with the logits of the first token of each reply."""
        known = roots(prompts)
        begun = list(dict.fromkeys(known[prompt] for prompt in prompts))
        rows = self._append(self._beginning(len(begun)), [p[len(self._shared) :] for p in begun])
        place = {root: row for row, root in enumerate(begun)}
        longer = [prompt for prompt in dict.fromkeys(prompts) if prompt not in place]
        if longer:
            before = rows.select([place[known[prompt]] for prompt in longer])
            more = self._append(before, [p[len(known[p]) :] for p in longer])
            place |= {prompt: len(rows) + row for row, prompt in enumerate(longer)}
            rows = rows.join(more)
        wanted = [place[prompt] for prompt in prompts]
        return rows if wanted == list(range(len(rows))) else rows.select(wanted)

    def step(self, rows: Rows, tokens: Sequence[int]) -> Rows:
        """Return the rows with one more token each."""
        return self._append(rows, [(token,) for token in tokens])

    def _beginning(self, count: int) -> Rows | None:
        if not self._shared:
            return None
        from fedsafe.models import kv_cache

        if self._prefix is None:
            self._prefix = self._append(None, [self._shared]).cache
        same = torch.zeros(count, dtype=torch.int64, device=self._device)
        mask = torch.ones((count, len(self._shared)), dtype=torch.int64, device=self._device)
        return Rows(kv_cache.chosen(self._prefix, same), mask, torch.empty(0))

    def _last(self, width: int) -> "torch.Tensor":
        """Return the last position, as an index.

        As the number 1 it would give the head a view with gaps, for which torch copies the head's
        weight once for each row in bfloat16 on a CPU (54 MiB for 49,152 words x 576).
        """
        return torch.tensor([width - 1], device=self._device)

    def _append(self, rows: Rows | None, added: Sequence[Ids]) -> Rows:
        """Put ids of any number behind each row; the fewer are padded at their left."""
        from fedsafe.models import kv_cache

        width = max(map(len, added))
        ids = torch.zeros((len(added), width), dtype=torch.int64)
        new = torch.zeros_like(ids)
        for row, some in enumerate(added):
            ids[row, width - len(some) :] = torch.tensor(some)
            new[row, width - len(some) :] = 1
        ids, new = ids.to(self._device), new.to(self._device)
        mask = new if rows is None else torch.cat([rows.mask, new], dim=1)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -width:]
        cache = kv_cache.empty() if rows is None else rows.cache
        given = {self._cache_name: cache}
        found = self._base(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=self._last(width),
            **given,
        )
        return Rows(cache, mask, found.logits[:, -1].float())
