"""Batched generation: sorted by length, left-padded, cached, stopped early.

Takes token ids and returns token ids; knows nothing of text, templates or safety.
"""

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fedsafe.errors import ModelError
from fedsafe.lazy import torch
from fedsafe.models.base import LoadedModel


@dataclass(frozen=True)
class Decoding:
    """How replies are drawn."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    """0 is greedy; above it, plain sampling from the whole distribution."""
    batch_size: int = 64
    stop: tuple[int, ...] = ()
    """Token ids that end a reply; they are left out of it."""
    pad: int = 0


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    rng: random.Random | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Return the new token ids of each prompt, in the order given.

    Args:
        loaded: The model, its adapter as it stands.
        prompts: Token ids, each at least one.
        decoding: How to draw.
        rng: Needed above temperature 0: the same stream gives the same replies.
        progress: Called with the number of finished prompts after each batch.

    Raises:
        ValueError: There is no ``rng`` to sample with.
        ModelError: A prompt fills the model's positions, or does not fit into the
            device's memory even alone.
    """
    if decoding.temperature > 0 and rng is None:
        raise ValueError("Sampling at a temperature above 0 needs an rng.")
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    replies: list[list[int]] = [[] for _ in prompts]
    seed = rng.getrandbits(63) if rng is not None else 0
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.inference_mode():
        torch.manual_seed(seed)
        done = 0
        for chosen in _batches(loaded, prompts, order, decoding):
            found = _fitting(loaded, [prompts[index] for index in chosen], decoding)
            for index, reply in zip(chosen, found, strict=True):
                replies[index] = reply
            done += len(chosen)
            if progress is not None:
                progress(done)
    return replies


def _batches(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    order: Sequence[int],
    decoding: Decoding,
) -> list[list[int]]:
    """Return the prompts of each batch; those that the model's positions cut stand alone.

    So a reply's length does not depend on the prompts beside it.
    """
    room = loaded.fitting(sys.maxsize) - decoding.max_new_tokens
    whole = [index for index in order if len(prompts[index]) <= room]
    size = decoding.batch_size
    found = [whole[begin : begin + size] for begin in range(0, len(whole), size)]
    return found + [[index] for index in order[len(whole) :]]


def _fitting(
    loaded: LoadedModel, prompts: list[Sequence[int]], decoding: Decoding
) -> list[list[int]]:
    """Return a batch's replies; a batch that does not fit into memory is halved."""
    try:
        return _batch(loaded, prompts, decoding)
    except torch.OutOfMemoryError:
        if len(prompts) == 1:
            raise ModelError(
                f"Generation ran out of memory on {loaded.device} with a single prompt of "
                f"{len(prompts[0])} tokens. Lower evaluation.max_new_tokens, set "
                "model.quantization nf4, or free the device's memory."
            ) from None
    torch.cuda.empty_cache()
    half = len(prompts) // 2
    return [
        part
        for some in (prompts[:half], prompts[half:])
        for part in _fitting(loaded, some, decoding)
    ]


def _batch(
    loaded: LoadedModel, prompts: list[Sequence[int]], decoding: Decoding
) -> list[list[int]]:
    width = max(map(len, prompts))
    room = loaded.fitting(width + decoding.max_new_tokens) - width
    if room < 1 and loaded.positions is not None:
        positions, name = loaded.positions
        raise ModelError(
            f"A prompt of {width} tokens leaves no room for a reply in the model's {positions} "
            f"positions ({name}), whatever evaluation.max_new_tokens is "
            f"({decoding.max_new_tokens}). Shorten it, or use a model of more positions."
        )
    ids = torch.full((len(prompts), width), decoding.pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    config = _configuration(decoding, room)
    base = loaded.model.get_base_model()
    own, was_training = base.generation_config, loaded.model.training
    loaded.model.eval()
    try:
        base.generation_config = config  # what `generate` would fill gaps from
        output = base.generate(
            input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device)
        )
    finally:
        base.generation_config = own
        loaded.model.train(was_training)
    return [_cut(row, decoding.stop) for row in output[:, width:].tolist()]


def _configuration(decoding: Decoding, room: int) -> Any:
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
