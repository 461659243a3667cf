"""Local training of one client in one round: from job and adapter to compressed update.

Knows nothing of Flower: `clients.app` and `clients.worker.worker` call it. What is
malicious about a client lives in `clients.role` and in its local algorithm.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clients import consent, metrics
from clients.error_feedback import storage
from clients.node_config import NodeConfig
from clients.role import (
    Poison,
    algorithm_of,
    attack_of,
    contaminate,
    contamination_of,
    needs_poison,
    poison_of,
    train,
)
from clients.update_attack import Attacker
from clients.worker.result import TrainResult
from fedsafe.attack_task import AttackTask
from fedsafe.contracts import LocalTask, Sample
from fedsafe.data.client_datasets import own_samples, shared_samples
from fedsafe.errors import DataError, FedSafeError, ModelError
from fedsafe.messages import Job
from fedsafe.models import compression
from fedsafe.models.adapters import Tensors
from fedsafe.models.rank_padding import cut
from fedsafe.seeds import generator
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import plan_of
from fedsafe.training.session import Session, resident
from fedsafe.training.session_spec import SessionSpec

Progress = Callable[[int], None]
"""Called with the optimizer steps that are done; what it raises ends the work."""
log = logging.getLogger(__name__)


def work(
    job: Job,
    arrays: Mapping[str, "np.ndarray[Any, Any]"],
    site: NodeConfig | None = None,
    progress: Progress = lambda _: None,
    state: Path | None = None,
) -> TrainResult:
    """Train one client's adapter for one round.

    Args:
        job: What to do.
        arrays: The adapter, as the experiment's ``federation.wire`` packs it.
        site: What this client decides for itself; None: the experiment says everything.
        progress: Called before training and after each optimizer step with the number of
            steps done; what it raises ends the work.
        state: Directory for what must outlast this process, of a client without a site; None:
            it ends with the process.

    Raises:
        ModelError: The base model differs from the server's, or the adapter does not fit.
        RunError: A malicious client is asked to join an undeclared red team, or the server asks
            for what this client's operator has not agreed to.
        DataError: The client's data cannot be used.
    """
    begun = time.perf_counter()
    if site is not None:
        consent.check(job, site)
    session, load_seconds = _session(job, site)
    progress(0)
    attack = attack_of(job, site)
    context = _context(job, session, site, progress)
    samples, poison = _data(job, site, attack, context)
    sent = compression.unpack_adapter(job.wire, arrays)
    start = _of_own_rank(job, sent, site)
    session.put(start)
    kept = state if site is None else site.state
    task = _task(job, start, samples, poison if attack else None, kept)
    attacker = Attacker(job, attack, site, state, partial(progress, task.steps)) if attack else None
    benign = attacker.estimate(context, task) if attacker else None
    train(context, task, algorithm_of(job, attack))
    update = attacker.send(task, session.read(), benign) if attacker else session.read()
    packed = _pack(job, sent, update, kept, task.memory)
    seconds = {"load-seconds": load_seconds, "seconds": time.perf_counter() - begun}
    return TrainResult(packed, metrics.of_round(context, poison) | seconds)


def _context(
    job: Job, session: Session, site: NodeConfig | None, progress: Progress
) -> SessionContext:
    """Build the local algorithm's `ModelContext`; on a client machine, a `GuardedContext`."""
    kind = SessionContext if site is None else consent.GuardedContext
    context = kind(
        session=session,
        plan=plan_of(job.training, job.learning_rate),
        batch_size=job.training.batch_size,
        rng=generator(job.seed),
        progress=lambda step, _: progress(step),
        listener=lambda message, **numbers: log.info("%s %s", message, numbers),
    )
    if site is not None and isinstance(context, consent.GuardedContext):
        context.named = consent.named_paths(site)
    return context


def _data(
    job: Job, site: NodeConfig | None, attack: AttackTask | None, context: SessionContext
) -> tuple[Sequence[Sample], Poison | None]:
    """Return the client's own samples, contaminated where that is meant, and its malicious ones."""
    samples = _samples(job, site)
    if attack is not None:
        return samples, poison_of(job, attack, context) if needs_poison(attack) else None
    mixed_in = contamination_of(job, site, samples)
    if mixed_in is None:
        return samples, None
    poison = poison_of(job, mixed_in, context)
    return contaminate(samples, poison.samples, mixed_in.seed), poison


def _task(
    job: Job,
    start: Tensors,
    samples: Sequence[Sample],
    poison: Poison | None,
    state: Path | None,
) -> LocalTask:
    return LocalTask(
        samples=samples,
        poison=poison.samples if poison else (),
        start=start,
        steps=job.training.steps,
        batch_size=job.training.batch_size,
        learning_rate=job.learning_rate,
        round=job.round,
        client=job.client,
        attackers=job.attack.attackers if job.attack else (),
        data_seed=job.own_seed if job.shared is None else job.shared.seed,
        memory=dict(storage(state, "algorithm").before(job) or {}),
    )


def _session(job: Job, site: NodeConfig | None) -> tuple[Session, float]:
    """Return the resident model session and the seconds it took to load.

    Raises:
        ModelError: It is not the server's.
    """
    session, seconds = resident(
        SessionSpec(
            model=consent.model_here(job.model, site),
            adapter=consent.adapter_here(job.adapter, site),
            template=job.template,
            max_length=job.max_length,
            training=job.training,
            max_new_tokens=job.max_new_tokens,
            batch_size=job.batch_size,
        )
    )
    if seconds:
        log.info("%s", session.loaded.compute)
    if session.fingerprint != job.fingerprint:
        raise ModelError(
            "This client's base model, tokenizer and template "
            f"({session.fingerprint[:12]}) are not the server's ({job.fingerprint[:12]}). Use the "
            "same files on both sides."
        )
    return session, seconds


def _samples(job: Job, site: NodeConfig | None) -> Sequence[Sample]:
    """Return the client's benign samples.

    What is wrong with a client's own data is for its operator's eyes: the sentence may
    quote a row, and goes to the log of this machine alone.
    """
    if site is None or site.source is None:
        return shared_samples(job.shared, job.client, job.examples_per_client)
    try:
        return own_samples(site.source, job.own_seed, job.examples_per_client, site.data)
    except FedSafeError as error:
        log.error("This client's own data cannot be used: %s", error)  # noqa: TRY400 - a sentence
        raise DataError(
            "This client's own data cannot be used. The reason is in the log of its trainer, on "
            "its own machine."
        ) from None


def _of_own_rank(job: Job, sent: Tensors, site: NodeConfig | None) -> Tensors:
    """Return the adapter to train: the global one, or its first ranks (heterogeneous LoRA).

    Raises:
        ModelError: Its operator asked for a higher rank than the federation has.
    """
    adapter = job.adapter
    rank = job.rank if site is None or site.rank is None else site.rank
    if rank > adapter.rank:
        raise ModelError(
            f"This client was started with rank {rank}, but the federation's adapter has rank "
            f"{adapter.rank}. Give --rank {adapter.rank} or less."
        )
    return sent if rank == adapter.rank else cut(sent, rank, adapter.cut)


def _pack(
    job: Job, sent: Tensors, trained: Tensors, state: Path | None, memory: Tensors
) -> compression.Arrays:
    """Compress the update, and keep its rounding error and the algorithm's memory for later."""
    if memory:
        storage(state, "algorithm").keep(job, memory)
    residuals = storage(state)
    packed, left = compression.pack_update(job.wire, sent, trained, residuals.before(job))
    if left is not None:
        residuals.keep(job, left)
    return packed
