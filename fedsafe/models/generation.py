"""Batched generation: shared prompt prefixes computed once, each row leaving when it ends.

Takes token ids and returns token ids; knows nothing of text, templates or safety.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fedsafe.errors import ModelError
from fedsafe.lazy import torch
from fedsafe.models.base import LoadedModel
from fedsafe.models.decoding import Decoder, can_decode
from fedsafe.models.merged_weights import merged
from fedsafe.models.prompt_prefixes import Ids, roots
from fedsafe.models.replies import Decode

MANY = 256
"""Tokens from which on merging the adapter into the weights is worth the copy."""


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
    share: bool = True
    """Compute what prompts begin with alike once; else each prompt goes through in one pass."""


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
        progress: Called with the number of finished prompts as they grow.

    Raises:
        ValueError: There is no ``rng`` to sample with.
        ModelError: A prompt fills the model's positions, or does not fit into the
            device's memory even alone.
    """
    if decoding.temperature > 0 and rng is None:
        raise ValueError("Sampling at a temperature above 0 needs an rng.")
    if not prompts:
        return []
    asked = [tuple(prompt) for prompt in prompts]
    seed = rng.getrandbits(63) if rng is not None else 0
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(_answering(loaded))
        if len(asked) * decoding.max_new_tokens >= MANY:
            stack.enter_context(merged(loaded))
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.inference_mode())
        torch.manual_seed(seed)
        work = _Work(loaded, asked, decoding, progress)
        work.run()
    return [work.replies[index] for index in range(len(asked))]


@contextmanager
def _answering(loaded: LoadedModel) -> Iterator[None]:
    """Put the model into evaluation mode, and its own generation settings aside."""
    base, was_training = loaded.model.get_base_model(), loaded.model.training
    own = base.generation_config  # what `generate` would fill gaps from: it may hold penalties
    loaded.model.eval()
    try:
        yield
    finally:
        base.generation_config = own
        loaded.model.train(was_training)


class _Work:
    """Prompts and their replies as far as they are."""

    def __init__(
        self,
        loaded: LoadedModel,
        prompts: Sequence[Ids],
        decoding: Decoding,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.replies: dict[int, list[int]] = {}
        self._loaded, self._prompts, self._decoding = loaded, prompts, decoding
        self._progress, self._freed = progress, loaded.freed_memory(every=8)
        self._rooms = [self._room(prompt) for prompt in prompts]
        longest = max(map(len, prompts)) + decoding.max_new_tokens
        base = loaded.model.get_base_model()
        self._decoder = None
        if can_decode(base, longest):
            self._decoder = Decoder(base, loaded.device, prompts if decoding.share else prompts[:1])

    def run(self) -> None:
        """Answer all; those that the model's positions cut short stand alone.

        So a reply's length does not depend on the prompts beside it.
        """
        indices = range(len(self._prompts))
        most, greedy = self._decoding.max_new_tokens, self._decoding.temperature == 0
        whole = [index for index in indices if self._rooms[index] == most]
        alone = [[index] for index in indices if self._rooms[index] < most]
        if greedy and self._decoder is not None:
            for group in ([whole] if whole else []) + alone:
                self._greedy(self._ordered(group), self._decoding.batch_size)
            return
        whole.sort(key=lambda index: (len(self._prompts[index]), index))
        size = self._decoding.batch_size
        batches = [whole[begin : begin + size] for begin in range(0, len(whole), size)]
        for batch in batches + alone:
            self._batch(batch)

    def _room(self, prompt: Ids) -> int:
        """Return how many tokens a reply may have.

        Raises:
            ModelError: None.
        """
        most, positions = self._decoding.max_new_tokens, self._loaded.positions
        room = self._loaded.fitting(len(prompt) + most) - len(prompt)
        if room < 1 and positions is not None:
            raise ModelError(
                f"A prompt of {len(prompt)} tokens leaves no room for a reply in the model's "
                f"{positions[0]} positions ({positions[1]}), whatever evaluation.max_new_tokens "
                f"is ({most}). Shorten it, or use a model of more positions."
            )
        return room

    def _ordered(self, group: Sequence[int]) -> list[int]:
        """Return equal prompts once, short ones first, a prompt before those that it begins."""
        unique = list({self._prompts[index]: index for index in reversed(group)}.values())
        root = roots([self._prompts[index] for index in unique])

        def place(index: int) -> tuple[int, Ids, int]:
            prompt = self._prompts[index]
            return len(root[prompt]), root[prompt], len(prompt)

        return sorted(unique, key=place)

    def _greedy(self, indices: Sequence[int], size: int) -> None:
        """Answer as many at a time as fit into memory, and equal prompts alike."""
        same: dict[Ids, list[int]] = {}
        for index, prompt in enumerate(self._prompts):
            same.setdefault(prompt, []).append(index)

        def ended(index: int, reply: list[int]) -> None:
            for other in same[self._prompts[index]]:
                self._ended(other, list(reply))

        left = list(indices)
        while left:
            try:
                self._decode(ended).greedy(left, size)
            except torch.OutOfMemoryError:
                left = [index for index in left if index not in self.replies]
                size = self._halved(size, left)
            else:
                return

    def _batch(self, indices: list[int]) -> None:
        """Answer one batch; halved where it does not fit into memory."""
        try:
            if self._decoder is None:
                self._plain(indices)
            else:
                self._decode(self._ended).sample(indices, self._decoding.temperature)
        except torch.OutOfMemoryError:
            half = self._halved(len(indices), indices)
            for part in (indices[:half], indices[half:]):
                self._batch([index for index in part if index not in self.replies])

    def _halved(self, size: int, left: Sequence[int]) -> int:
        """Return half a batch's size.

        Raises:
            ModelError: It is one prompt already.
        """
        if size == 1:
            raise ModelError(
                f"Generation ran out of memory on {self._loaded.device} with a single prompt of "
                f"{len(self._prompts[left[0]])} tokens. Lower evaluation.max_new_tokens, set "
                "model.quantization nf4, or free the device's memory."
            ) from None
        if self._loaded.device.type == "cuda":
            torch.cuda.empty_cache()
        return size // 2

    def _decode(self, ended: Callable[[int, list[int]], None]) -> Decode:
        assert self._decoder is not None
        stop = frozenset(self._decoding.stop)
        return Decode(self._decoder, self._prompts, self._rooms, stop, ended)

    def _ended(self, index: int, reply: list[int]) -> None:
        self.replies[index] = reply
        self._freed.tick()
        if self._progress is not None:
            self._progress(len(self.replies))

    def _plain(self, indices: Sequence[int]) -> None:
        """Answer a batch with transformers' own `generate`, which every model has."""
        from fedsafe.models.plain_generation import plain

        prompts = [self._prompts[index] for index in indices]
        room = min(self._rooms[index] for index in indices)
        found = plain(self._loaded, prompts, self._decoding, room)
        for index, reply in zip(indices, found, strict=True):
            self._ended(index, reply)
