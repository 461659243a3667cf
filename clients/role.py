"""How a client acts in a round: honestly, or as an attacker of a declared red team.

In one process and in a simulation the experiment's roster says who attacks. On a machine
of its own a client attacks only if its own operator started it as an attacker, and only
a server that declares a red team.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from clients.node_config import Site
from fedsafe.attacks.malicious_clients import malicious_clients
from fedsafe.contracts import Conduct, Example, behaviours, generators
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Attack, Experiment
from fedsafe.messages import Job
from fedsafe.runs.files import digest
from fedsafe.seeds import stream
from fedsafe.training.session import Session

Progress = Callable[[int], None]
"""Told the optimizer steps that are done; what it raises ends the work."""
POISON: dict[str, list[Example]] = {}
"""Malicious examples of this process's clients; they are the same in each round."""


def attack_of(job: Job, site: Site | None) -> Attack | None:
    """Return what this client does as an attacker in this round; None: it is honest.

    Raises:
        RunError: A malicious client is asked to join an undeclared red team, or does not
            know what to do there.
    """
    experiment = job.experiment
    if site is not None:
        attacks = site.red_team
    else:
        attacks = experiment.attack is not None and job.client in malicious_clients(experiment)
    if not attacks:
        return None
    if not experiment.red_team:
        raise RunError(
            "A malicious client joins declared red-team federations only, and this one is not. "
            "Set red_team: true in the server's experiment."
        )
    if job.federation == "control":
        return None
    return experiment.attack if site is None else _own_attack(experiment, site)


def conduct_of(
    job: Job,
    session: Session,
    examples: Sequence[Example],
    site: Site | None,
    progress: Progress,
) -> Conduct:
    """Return what this client trains on in this round, and what it does to its update.

    Raises:
        RunError: It is an attacker and refuses, or its malicious examples cannot be made.
    """
    experiment = job.experiment
    rng = stream(experiment.seed, "client", job.client, "round", job.round)
    honest = Conduct(examples, rng)
    attack = attack_of(job, site)
    if attack is None:
        return honest
    plugin = behaviours[attack.behaviour.name]
    behaviour = plugin.configure(attack.behaviour.settings)
    poison: Sequence[Example] = ()
    if "poison" in plugin.traits:
        poison = _poison(job, attack, session, progress)
    return behaviour(Conduct(examples, rng, poison=poison))


def _own_attack(experiment: Experiment, site: Site) -> Attack:
    """Return the attack of a client whose operator started it as an attacker."""
    declared = experiment.attack or Attack()
    if site.behaviour is None:
        raise RunError(
            "This client was started as an attacker, but not told what to do. Start it with "
            "`fedsafe client --red-team --behaviour NAME`."
        )
    changes = {"behaviour": site.behaviour, "generator": site.generator or declared.generator}
    return declared.model_copy(update=changes)


def _poison(job: Job, attack: Attack, session: Session, progress: Progress) -> list[Example]:
    """Return this client's malicious examples, made once a process with the base model."""
    choice, seed = attack.generator, job.experiment.seed
    if choice is None:
        raise RunError(
            f"Behaviour '{attack.behaviour.name}' trains on malicious examples, and nothing says "
            "where they come from. Start this client with --generator, or set attack.generator in "
            "the server's experiment."
        )
    key = digest(seed, job.client, session.fingerprint, attack.examples, choice.model_dump_json())
    if key not in POISON:
        generator = generators[choice.name].configure(choice.settings)
        rng = stream(seed, "attack", job.client)
        session.put(session.start(seed))
        made = generator(_Watched(session, progress), rng)
        found = list(islice(made, attack.examples))
        if len(found) < attack.examples:
            raise RunError(
                f"The attack's generator '{choice.name}' made {len(found)} of the "
                f"{attack.examples} malicious examples asked for. Lower attack.examples."
            )
        POISON[key] = found
    return POISON[key]


@dataclass(frozen=True)
class _Watched:
    """The resident model as a writer whose work can be ended between two batches."""

    session: Session
    progress: Progress

    def write(
        self,
        instructions: Sequence[str],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
    ) -> list[str]:
        """Return one reply each."""
        return self.session.complete(
            [Example(instruction, "") for instruction in instructions],
            temperature=temperature,
            rng=rng,
            prefills=prefills,
            progress=lambda _: self.progress(0),
        )
