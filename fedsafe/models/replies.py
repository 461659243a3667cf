"""Greedy and sampled replies, row by row: a row leaves the batch when its reply has ended.

Knows nothing of what a model is: `fedsafe.models.decoding` has the forward passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fedsafe.lazy import torch
from fedsafe.models.decoding import Decoder, Rows
from fedsafe.models.prompt_prefixes import Ids

BALLAST = 8
"""Rows that have ended are taken out once they are one in so many: that copies the cache."""
REFILL = 4
"""Waiting prompts join once one row in so many is free."""
GONE = -1
"""Stands for a row that has ended."""


@dataclass
class Decode:
    """Prompts to be answered, and their replies as far as they are.

    Attributes:
        decoder: Of these prompts.
        prompts: Token ids of each.
        rooms: Most tokens of each one's reply.
        stop: Token ids that end a reply; they are left out of it.
        ended: Called with a prompt's index and its whole reply.
    """

    decoder: Decoder
    prompts: Sequence[Ids]
    rooms: Sequence[int]
    stop: frozenset[int]
    ended: Callable[[int, list[int]], None]
    _rows: Rows | None = None
    _who: list[int] = field(default_factory=list)
    _replies: dict[int, list[int]] = field(default_factory=dict)

    def greedy(self, indices: Sequence[int], size: int) -> None:
        """Answer greedily, at most ``size`` rows at a time; waiting prompts join as others end."""
        waiting = list(indices)
        while waiting or self._rows is not None:
            room = size - len(self._alive())
            if waiting and room >= max(1, size // REFILL):
                self._add(waiting[:room])
                waiting = waiting[room:]
            assert self._rows is not None
            self._take(self._rows.logits.argmax(dim=-1).tolist())

    def sample(self, indices: Sequence[int], temperature: float) -> None:
        """Draw the replies of one batch from torch's random stream.

        The stream is used as `torch.multinomial` uses it on the whole batch, so that a reply
        does not depend on when others end.
        """
        self._add(indices)
        place = {index: row for row, index in enumerate(indices)}
        noise = None
        while self._rows is not None:
            logits = self._rows.logits
            if noise is None:
                noise = torch.empty_like(logits)
            noise.exponential_(1)
            own = torch.tensor([place.get(i, 0) for i in self._who], device=logits.device)
            shares = torch.softmax(logits / temperature, dim=-1)
            self._take((shares / noise[own]).argmax(dim=-1).tolist())

    def _alive(self) -> list[int]:
        return [row for row, index in enumerate(self._who) if index != GONE]

    def _add(self, indices: Sequence[int]) -> None:
        fresh = self.decoder.prefill([self.prompts[index] for index in indices])
        self._rows = fresh if self._rows is None else self._rows.join(fresh)
        self._who += indices
        self._replies |= {index: [] for index in indices}

    def _take(self, tokens: list[int]) -> None:
        """Add a token to each reply, drop rows that have ended, and compute the next logits."""
        for row in self._alive():
            index, token = self._who[row], tokens[row]
            reply = self._replies[index]
            if token not in self.stop:
                reply.append(token)
            if token in self.stop or len(reply) == self.rooms[index]:
                self.ended(index, self._replies.pop(index))
                self._who[row] = GONE
        alive = self._alive()
        if not alive or self._rows is None:
            self._rows, self._who = None, []
            return
        if len(self._who) - len(alive) >= max(1, len(self._who) // BALLAST):
            self._rows = self._rows.select(alive)
            self._who, tokens = [self._who[r] for r in alive], [tokens[r] for r in alive]
        self._rows = self.decoder.step(self._rows, tokens)
