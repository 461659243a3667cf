"""A batch of replies by transformers' `generate`: for models whose cache cannot be cut by rows."""

from collections.abc import Sequence
from typing import Any, Protocol

from fedsafe.lazy import torch
from fedsafe.models.base import LoadedModel
from fedsafe.models.prompt_prefixes import Ids


class Settings(Protocol):
    """What is read of `fedsafe.models.generation.Decoding`."""

    @property
    def temperature(self) -> float:
        """0 is greedy."""
        ...

    @property
    def stop(self) -> tuple[int, ...]:
        """Token ids that end a reply."""
        ...

    @property
    def pad(self) -> int:
        """Token id that fills shorter rows."""
        ...


def plain(
    loaded: LoadedModel, prompts: Sequence[Ids], decoding: Settings, room: int
) -> list[list[int]]:
    """Return the new token ids of each prompt of one left-padded batch.

    Args:
        loaded: The model, in evaluation mode.
        prompts: Token ids, each at least one.
        decoding: How to draw.
        room: Most tokens of a reply.
    """
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), decoding.pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    base = loaded.model.get_base_model()
    base.generation_config = _configuration(decoding, room)
    output = base.generate(input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device))
    return [_cut(row, decoding.stop) for row in output[:, width:].tolist()]


def _configuration(decoding: Settings, room: int) -> Any:
    """Return a fresh generation configuration: the model's own may hold penalties."""
    from transformers import GenerationConfig

    sampling = (
        {"do_sample": True, "temperature": decoding.temperature, "top_p": 1.0, "top_k": 0}
        if decoding.temperature > 0
        else {"do_sample": False}
    )
    return GenerationConfig(
        max_new_tokens=room,
        eos_token_id=list(decoding.stop) or None,
        pad_token_id=decoding.pad,
        use_cache=True,
        **sampling,
    )


def _cut(ids: list[int], stop: tuple[int, ...]) -> list[int]:
    """Return the ids before the first stop."""
    for position, token in enumerate(ids):
        if token in stop:
            return ids[:position]
    return ids
