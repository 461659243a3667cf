"""One client's work in one round: from a job and an adapter to a trained adapter.

Knows nothing of Flower: `clients.app` speaks to it. The malicious part of a client
lives in its conduct; the training is the same for all.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from fedsafe.attacks.roster import malicious_clients
from fedsafe.contracts import Conduct, Example, behaviours, generators
from fedsafe.data.shares import shares
from fedsafe.errors import ModelError, RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.lazy import torch
from fedsafe.messages import Job
from fedsafe.models.adapters import Tensors
from fedsafe.runs.files import digest
from fedsafe.seeds import stream
from fedsafe.training.session import Session, resident
from fedsafe.training.trainer import plan_of

POISON: dict[str, list[Example]] = {}
"""Malicious examples of this process's clients; they are the same in each round."""


@dataclass(frozen=True)
class Trained:
    """What a client sends back."""

    adapter: Tensors
    metrics: dict[str, int | float]


def work(job: Job, adapter: Mapping[str, "torch.Tensor"]) -> Trained:
    """Train one client's adapter for one round.

    Raises:
        ModelError: The base model differs from the server's, or the adapter does not fit.
        RunError: A malicious client is asked to join an undeclared red team.
        DataError: The client's data cannot be used.
    """
    begun = time.perf_counter()
    experiment, client = job.experiment, job.client
    if not 0 <= client < experiment.federation.clients:
        raise RunError(
            f"This is client {client}, but the federation has {experiment.federation.clients} "
            "clients, numbered from 0. Start fewer clients, or raise federation.clients."
        )
    session, load_seconds = resident(experiment)
    if session.fingerprint != job.fingerprint:
        raise ModelError(
            "This client's base model, tokenizer and template "
            f"({session.fingerprint[:12]}) are not the server's ({job.fingerprint[:12]}). Use the "
            "same files on both sides."
        )
    conduct = _conduct(job, session)
    session.put(adapter)
    training = experiment.training
    plan = plan_of(training, job.learning_rate)
    report, tokenised = session.train(
        conduct.examples, plan, conduct.rng, batch_size=training.batch_size
    )
    trained = session.read()
    if conduct.transform is not None:
        trained = _forge(adapter, trained, conduct)
    metrics: dict[str, int | float] = {
        "num-examples": len(tokenised.sequences),
        "loss": report.loss,
        "skipped": tokenised.dropped,
        "truncated": tokenised.truncated,
        "tokens": report.tokens,
        "train-seconds": report.seconds,
        "load-seconds": load_seconds,
        "seconds": time.perf_counter() - begun,
    }
    return Trained(trained, metrics)


def _conduct(job: Job, session: Session) -> Conduct:
    """Return how this client acts this round: honestly, unless the experiment says otherwise."""
    experiment, client = job.experiment, job.client
    rng = stream(experiment.seed, "client", client, "round", job.round)
    honest = Conduct(shares(experiment)[client], rng)
    attack = experiment.attack
    if attack is None or client not in malicious_clients(experiment):
        return honest
    if not experiment.red_team:
        raise RunError(
            "A malicious client joins declared red-team federations only, and this one is not. "
            "Set red_team: true in the server's experiment."
        )
    plugin = behaviours[attack.behaviour.name]
    behaviour = plugin.configure(attack.behaviour.settings)
    poison = _poison(experiment, client, session) if "poison" in plugin.traits else ()
    return behaviour(Conduct(honest.examples, rng, poison=poison))


def _poison(experiment: Experiment, client: int, session: Session) -> list[Example]:
    """Return this client's malicious examples, made once a process with the base model."""
    attack = experiment.attack
    assert attack is not None
    assert attack.generator is not None
    key = digest(experiment.seed, client, session.fingerprint, attack.model_dump_json())
    if key not in POISON:
        generator = generators[attack.generator.name].configure(attack.generator.settings)
        rng = stream(experiment.seed, "attack", client)
        session.put(session.start(experiment.seed))
        made = generator(session, rng)
        found = list(islice(made, attack.examples))
        if len(found) < attack.examples:
            raise RunError(
                f"The attack's generator '{attack.generator.name}' made {len(found)} of the "
                f"{attack.examples} malicious examples asked for. Lower attack.examples."
            )
        POISON[key] = found
    return POISON[key]


def _forge(sent: Mapping[str, "torch.Tensor"], trained: Tensors, conduct: Conduct) -> Tensors:
    """Apply a behaviour's transform to the update as one flat vector."""
    assert conduct.transform is not None
    flat = torch.cat([(trained[name] - sent[name]).flatten() for name in trained])
    forged = conduct.transform(flat)
    result: Tensors = {}
    begin = 0
    for name, tensor in trained.items():
        end = begin + tensor.numel()
        result[name] = sent[name] + forged[begin:end].view_as(tensor)
        begin = end
    return result
