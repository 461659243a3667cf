"""Quarantine: clients that filters and rule rejected in several rounds are left out for some."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import DefenseCard, Updates, filters
from fedsafe.lazy import torch
from strategies.checks import need_clients
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor

FOR_GOOD = -1
CLIENT = "client/"
MOST_DOUBLINGS = 20


@dataclass
class Standing:
    """What is known of a client: int64 (4,) in the filter's memory.

    Attributes:
        rejections: Rounds in which it was rejected, since it was cleared or quarantined.
        accepted: Rounds in a row since then in which it was not.
        quarantines: Times it was quarantined since it was cleared.
        until: Last round of its quarantine; `FOR_GOOD`: it does not end.
    """

    rejections: int = 0
    accepted: int = 0
    quarantines: int = 0
    until: int = 0

    def judge(self, rejected: bool, now: int, after: int, rounds: int | None, forget: int) -> None:
        """Count one more judgement, and begin a quarantine in round ``now`` if it is due."""
        if not rejected:
            self.accepted += 1
            if self.accepted >= forget:
                self.rejections = self.quarantines = 0
            return
        self.rejections, self.accepted = self.rejections + 1, 0
        if self.rejections < (1 if self.quarantines else after):
            return
        longer = 2 ** min(self.quarantines, MOST_DOUBLINGS)
        self.until = FOR_GOOD if rounds is None else now - 1 + rounds * longer
        self.quarantines, self.rejections = self.quarantines + 1, 0

    def out(self, now: int) -> bool:
        """Whether it is quarantined in a round."""
        return self.until == FOR_GOOD or self.until >= now

    def clear(self, now: int) -> bool:
        """Whether there is nothing to remember."""
        return not (self.rejections or self.quarantines or self.out(now))

    def __str__(self) -> str:
        """Return why it is left out."""
        end = "for good" if self.until == FOR_GOOD else f"until round {self.until}"
        return f"quarantined {'again ' if self.quarantines > 1 else ''}{end}"


@filters(
    "quarantine",
    badge="variant: of blocking clients after repeated rejection; with a way back",
    card=DefenseCard(
        claim="An attacker that rules reject again and again costs nothing more, and a client "
        "that was rejected by mistake comes back.",
        cost="no pass; four numbers a client",
        place="in the aggregation",
        nothing={"rounds": 0},
    ),
    traits={"memory", "mixing", "translation", "scale"},
)
def quarantine(
    updates: Updates,
    /,
    *,
    after: Annotated[int, Field(ge=1, description="Rejections that quarantine a client.")] = 3,
    rounds: Annotated[
        int | None,
        Field(ge=0, description="Rounds it is left out, twice as many each time; null: for good."),
    ] = 5,
    forget: Annotated[
        int, Field(ge=1, description="Rounds in a row without rejection that clear a client.")
    ] = 3,
    below: Annotated[
        float,
        Field(ge=0, lt=1, description="Influence, in even shares, up to which it is rejected."),
    ] = 0.0,
    most: Annotated[
        float, Field(ge=0, lt=1, description="Largest share of a round's clients left out.")
    ] = 0.3,
) -> Updates:
    """Leave out clients that the filters and the rule after this one rejected ``after`` times.

    Rejected is who had no influence in a round in which at least half of the clients had some: a
    rule that picks one (Krum) rejects nobody. After its rounds a client is let in on probation:
    one more rejection brings it back for twice as long, ``forget`` rounds without clear it.
    Where more than ``most`` would be out, those quarantined least often are let in: a rule that
    always rejects f clients (Multi-Krum) goes on to reject honest ones once the attackers are
    out, so set it to the share of attackers assumed. Breakdown point as of the rule's.
    (n, d) -> (m, d), m <= n.
    """
    if rounds == 0:
        return updates
    now, clients = updates.round, need_clients("quarantine", updates, len(Rows.of(updates)))
    standings = _read(updates.memory)
    for client, rejected in _rejections(updates.counted, below).items():
        standings.setdefault(client, Standing()).judge(rejected, now, after, rounds, forget)
    _write(standings, updates.memory, now)
    out = [row for row, one in enumerate(clients) if standings.get(one, Standing()).out(now)]
    out.sort(key=lambda row: (-standings[clients[row]].quarantines, row))
    chosen = out[: int(most * len(clients) + 1e-9)]
    return _without(
        updates, clients, {clients[row]: str(standings[clients[row]]) for row in chosen}
    )


def _read(memory: "Mapping[str, Tensor]") -> dict[str, Standing]:
    """Return what is known of clients, from a filter's memory."""
    return {
        key.removeprefix(CLIENT): Standing(*value.tolist())
        for key, value in memory.items()
        if key.startswith(CLIENT)
    }


def _write(standings: Mapping[str, Standing], memory: "dict[str, Tensor]", now: int) -> None:
    """Keep what is to be remembered, and forget the rest."""
    for client, standing in standings.items():
        memory.pop(CLIENT + client, None)
        if not standing.clear(now):
            memory[CLIENT + client] = torch.tensor([*astuple(standing)])


def _rejections(counted: Mapping[str, float], below: float) -> dict[str, bool]:
    """Return whether each client was rejected in the last round; empty where that is not told."""
    limit = below / max(1, len(counted))
    rejected = {client: share <= limit for client, share in counted.items()}
    return {} if sum(rejected.values()) > len(rejected) / 2 else rejected


def _without(updates: Updates, clients: tuple[str, ...], out: Mapping[str, str]) -> Updates:
    """Return the updates of the clients that are not left out; nothing is copied."""
    if not out:
        return updates
    kept = [row for row, client in enumerate(clients) if client not in out]
    chosen = torch.eye(len(clients), dtype=torch.float64)[kept]
    weights: Tensor = updates.weights[kept]
    total = weights.sum()
    return replace(
        updates,
        mixing=Rows.of(updates).base_rows(chosen),
        weights=weights / total if total > 0 else torch.full_like(weights, 1 / len(kept)),
        clients=tuple(clients[row] for row in kept),
        left_out={**updates.left_out, **out},
    )
