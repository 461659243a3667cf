"""The updates of a round and what a rule makes of them: the aggregation side of the contracts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]
"""What a rule remembers between rounds; tensors only, so it is a checkpoint."""


@dataclass(frozen=True)
class Updates:
    """What the accepted clients of one round changed.

    Attributes:
        matrix: float32 (n, d); row i is client i's adapter minus the adapter it was sent.
        weights: float32 (n,), sums to one; the server's own belief, never a client's claim.
        blocks: Parameter name to its columns, in order, covering 0..d; empty means one block.
        round: Number of the round, from 1.
        clients: Stable identity of each row's client, for rules with a memory.
        model: float32 (d,), the adapter the clients were sent, where a rule asks for it.
        root: float32 (d,), the update of the server's own trusted examples, where a rule
            asks for one.
        mixing: float64 (m, n), at least 0: when given, the rows meant are ``mixing @ matrix``,
            which nobody has formed. Filters set it; the pipeline forms the rows before any
            plug-in that does not have the trait ``mixing``.
        seed: Of the random draws of rules and filters; None: their own setting ``seed``.
        shapes: Parameter name to its shape, in the order of ``blocks``, for filters that pair the
            factors of a LoRA module; empty: not told.
        memory: What a filter with the trait ``memory`` remembers between rounds, to be changed in
            place; tensors only.
        counted: For the same filters: influence in the last round of each client that was not
            left out of it.
        left_out: Why a filter leaves clients of the round out, by identity; such a filter sets
            ``mixing`` and ``clients`` to the others.
        probe: By how much each client's update alone changes the mean log-odds of "harmful" that
            the safety probe gives to harmful requests, by identity; None: not computed.
    """

    matrix: "Tensor"
    weights: "Tensor"
    blocks: Mapping[str, slice] = field(default_factory=dict)
    round: int = 1
    clients: tuple[str, ...] = ()
    model: "Tensor | None" = None
    root: "Tensor | None" = None
    mixing: "Tensor | None" = None
    seed: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    memory: "dict[str, Tensor]" = field(default_factory=dict)
    counted: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    probe: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Aggregate:
    """What a rule made of a round's updates.

    Attributes:
        update: float32 (d,), added to the adapter.
        influence: float32 (n,), at least 0, sums to at most 1; how much each client
            counted, 0 for a rejected one.
        state: What the rule wants back next round.
        metrics: Scalars worth recording.
        left_out: Why clients were left out before the rule, by identity; for the records.
    """

    update: "Tensor"
    influence: "Tensor"
    state: State = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Knowledge:
    """What an update attack knows; a field that it did not declare is None.

    Attributes:
        round: Number of the round, from 1.
        client: Number of the attacking client.
        rng: Random stream of this client and round.
        model: float32 (d,), the adapter that the clients were sent.
        blocks: Parameter name to its columns.
        cohort: Number of clients of the round, n.
        attackers: Number of malicious clients among them, f.
        colluders: float32 (m, d), the updates of all malicious clients of the round, the own
            one in row ``position`` (declared as ``colluders``).
        position: The attacker's row in ``colluders``.
        benign: float32 (k, d), updates that the attackers trained honestly on their own benign
            examples: the colluders' where those are declared, else the own ones (declared as
            ``benign``).
        honest: float32 (h, d), the updates of the honest clients (declared as ``honest``).
        honest_clients: Identity of each row of ``honest``.
        rule: Name of the server's rule (declared as ``rule``).
        settings: The rule's settings (declared as ``rule``).
        filters: Names of the filters before the rule (declared as ``rule``).
        aggregate: The server's whole pipeline on (n, d) updates, for attackers that try their
            update against it (declared as ``rule``); it changes no state.
        memory: What the attack remembers between rounds, to be changed in place; tensors only.
            At the server the attackers of a federation share it.
        report: Called with a sentence for the run's operator.
    """

    round: int
    client: int
    rng: Random
    model: "Tensor"
    blocks: Mapping[str, slice] = field(default_factory=dict)
    cohort: int = 1
    attackers: int = 1
    colluders: "Tensor | None" = None
    position: int = 0
    benign: "Tensor | None" = None
    honest: "Tensor | None" = None
    honest_clients: tuple[str, ...] = ()
    rule: str | None = None
    settings: Mapping[str, Any] | None = None
    filters: tuple[str, ...] = ()
    aggregate: "Callable[[Tensor], Aggregate] | None" = None
    memory: "dict[str, Tensor]" = field(default_factory=dict)
    report: Callable[[str], None] = lambda sentence: None
