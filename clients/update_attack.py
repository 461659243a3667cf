"""Update attack of one malicious client: its benign estimates, its colluders, its forged update.

What the attack needs beyond the client's own updates comes from the colluders' directory, on
machines of their own; where the server stands in for the attackers, a client leaves its benign
updates there for it. Called by `clients.local_training`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clients.error_feedback import storage
from clients.node_config import NodeConfig
from clients.role import train
from fedsafe.attack_task import AttackTask
from fedsafe.contracts import Knowledge, LocalTask, Updates
from fedsafe.errors import RunError
from fedsafe.lazy import torch
from fedsafe.messages import Job
from fedsafe.models.adapters import Tensors
from fedsafe.runs.colluder_files import COLLUDERS, ColluderFiles
from fedsafe.seeds import derive, generator
from fedsafe.training.context import SessionContext
from fedsafe.update_attacks import forge, needs, trains_apart, trial_of
from fedsafe.weights.vectorize import blocks, flat, moved

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attacker:
    """One malicious client in one round."""

    job: Job
    attack: AttackTask
    site: NodeConfig | None = None
    """None: it lives in the server's process or simulation."""
    state: Path | None = None
    """Directory for what must outlast this process; None: there is none."""
    alive: Callable[[], None] = lambda: None
    """Called while it waits for colluders; what it raises ends the wait."""

    def estimate(self, context: SessionContext, task: LocalTask) -> "Tensor | None":
        """Train the benign updates that the attack knows, (k, d), and leave the received adapter.

        None where it knows none, or where the behaviour's own update is the one.

        Raises:
            RunError: It has fewer benign examples than updates are asked for.
        """
        wanted = self.attack.estimates
        if not wanted or not trains_apart(self.attack.behaviour, wanted):
            return None
        if self.attack.update is None and self.site is not None:
            return None  # the server cannot be handed them
        if len(task.samples) < wanted:
            raise RunError(
                f"attack.estimates asks client {self.job.client} for {wanted} benign updates, each "
                f"trained on a part of its own examples, and it has {len(task.samples)}. Lower "
                "attack.estimates, or raise data.examples_per_client."
            )
        start, rows = flat(task.start), []
        for part in range(wanted):
            own = replace(task, samples=task.samples[part::wanted], poison=(), memory={})
            train(context, own, self.job.training.algorithm)
            rows.append(flat(context.session.read()) - start)
            context.put(task.start)
        return torch.stack(rows)

    def send(self, task: LocalTask, trained: Tensors, benign: "Tensor | None") -> Tensors:
        """Return the adapter to send: the trained one, or what the update attack makes of it.

        Args:
            task: What the client trained from.
            trained: What its behaviour made of that.
            benign: Its benign updates, where `estimate` trained any.

        Raises:
            RunError: The attack failed, or needs what this client cannot know.
        """
        start = dict(task.start)
        update = flat(trained) - flat(start)
        if self.attack.update is None:
            if benign is not None and self.state is not None:
                self._files(self.state / COLLUDERS).share(self.job.client, {"benign": benign})
            return trained
        if benign is None:
            benign = update[None]
        colluding = bool(needs(self.attack.update) & {"colluders", "rule"})
        shared = self._collude(update, benign) if colluding else None
        return moved(start, self._forged(start, update, benign, shared))

    def _forged(
        self,
        start: Tensors,
        update: "Tensor",
        benign: "Tensor",
        shared: "dict[int, dict[str, Tensor]] | None",
    ) -> "Tensor":
        choice, job = self.attack.update, self.job
        assert choice is not None
        known, others = needs(choice), shared or {}
        if "colluders" in known:
            benign = torch.cat([one["benign"] for one in others.values()])
        store = storage(self.state if self.site is None else self.site.state, "attack")
        memory = dict(store.before(job) or {})
        knowledge = Knowledge(
            round=job.round,
            client=job.client,
            rng=generator(derive(job.seed, "update-attack")),
            model=flat(start),
            blocks=blocks(start),
            cohort=max(self.attack.cohort, 1),
            attackers=max(len(self.attack.attackers), 1),
            benign=benign if "benign" in known else None,
            memory=memory,
            report=partial(log.warning, "%s"),
            **self._beyond_own(start, others, known),
        )
        forged = forge(choice, update, knowledge)
        if memory:
            store.keep(job, memory)
        return forged

    def _beyond_own(
        self, start: Tensors, shared: "dict[int, dict[str, Tensor]]", known: frozenset[str]
    ) -> dict[str, Any]:
        """Return what the attack knows of its colluders and of the server's rule."""
        found: dict[str, Any] = {}
        if "colluders" in known:
            found["colluders"] = torch.stack([one["update"] for one in shared.values()])
            found["position"] = list(shared).index(self.job.client)
        strategy = self.attack.strategy
        if "rule" not in known or strategy is None:
            return found
        from fedsafe.contracts import rules
        from strategies import build

        found |= {"rule": strategy.name, "settings": strategy.settings}
        found["filters"] = tuple(choice.name for choice in strategy.filters)
        if not isinstance(rules[strategy.name].function, type):  # no Flower strategy
            like = Updates(
                torch.empty(0),
                torch.empty(0),
                blocks(start),
                self.job.round,
                model=flat(start),
                shapes={name: tuple(tensor.shape) for name, tensor in start.items()},
            )
            found["aggregate"] = trial_of(build(**strategy.parts()), like)
        return found

    def _collude(self, update: "Tensor", benign: "Tensor") -> "dict[int, dict[str, Tensor]]":
        """Share the own updates with the colluders of the round, and return those of all.

        Raises:
            RunError: One shared nothing in time, or this client has no directory for it.
        """
        if self.site is None or self.site.collude is None:
            raise RunError(
                "The attackers of this run share their updates among their own machines "
                "(attack.collusion: clients), and this client was given no directory for it. Start "
                "it with --collude DIR, the same for all attackers; in one process leave "
                "attack.collusion at server."
            )
        files = self._files(self.site.collude)
        files.share(self.job.client, {"update": update, "benign": benign})
        log.info("waits for colluders %s", self.attack.attackers)
        clients = {*self.attack.attackers, self.job.client}
        shared = files.wait(clients, self.site.collude_wait, self.alive)
        for client, one in shared.items():
            _checked(client, one, len(update))
        return shared

    def _files(self, directory: Path) -> ColluderFiles:
        return ColluderFiles(directory, self.job.run, self.job.federation, self.job.round)


def _checked(client: int, shared: "dict[str, Tensor]", width: int) -> None:
    """Hold what a colluder shared to the form that attacks reckon with.

    Raises:
        RunError: It is of another adapter rank, or has values that are not finite.
    """
    update, benign = shared.get("update"), shared.get("benign")
    shapes = {name: tuple(tensor.shape) for name, tensor in shared.items()}
    if (
        update is None
        or benign is None
        or not (shapes["update"] == shapes["benign"][1:] == (width,))
    ):
        raise RunError(
            f"Colluding client {client} must share its update, shape ({width},), and its benign "
            f"ones, shape (k, {width}); it shared {shapes}. Give all attackers one adapter rank."
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (update, benign)):
        raise RunError(
            f"Colluding client {client} shared updates with values that are not finite: its "
            "training diverged. Lower training.learning_rate, or leave that client out."
        )
