"""One client's work in one round: from a job and an adapter to an update, as it travels.

Knows nothing of Flower: `clients.app` and `clients.worker.worker` speak to it. The malicious
part of a client lives in its conduct; the training is the same for all.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clients import consent
from clients.error_feedback import InMemory, OnDisk, Residuals
from clients.node_config import Site
from clients.role import Progress, conduct_of
from clients.worker.result import Trained
from fedsafe.contracts import Conduct, Example
from fedsafe.data.client_datasets import own_share, shares
from fedsafe.errors import DataError, FedSafeError, ModelError, RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.lazy import torch
from fedsafe.messages import Job
from fedsafe.models import compression
from fedsafe.models.adapters import Tensors
from fedsafe.models.rank_padding import cut
from fedsafe.training.loop import plan_of
from fedsafe.training.session import Session, resident

log = logging.getLogger(__name__)
MEMORY = InMemory()
"""Rounding errors of clients that have no directory for them."""


def work(
    job: Job,
    arrays: Mapping[str, "np.ndarray[Any, Any]"],
    site: Site | None = None,
    progress: Progress = lambda _: None,
    state: Path | None = None,
) -> Trained:
    """Train one client's adapter for one round.

    Args:
        job: What to do.
        arrays: The adapter, as the experiment's ``federation.wire`` packs it.
        site: What this client decides for itself; None: it lives in the server's process
            or simulation, and the experiment says everything.
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
    experiment, client = job.experiment, job.client
    if not 0 <= client < experiment.federation.clients:
        raise RunError(
            f"This is client {client}, but the federation has {experiment.federation.clients} "
            "clients, numbered from 0. Start fewer clients, or raise federation.clients."
        )
    if site is not None:
        consent.check(job, site)
    session, load_seconds = _session(job, site)
    progress(0)
    conduct = conduct_of(job, session, _examples(job, site), site, progress)
    sent = compression.unpack_adapter(experiment.federation.wire, arrays)
    session.put(_of_own_rank(job, sent, site))
    training = experiment.training
    plan = plan_of(training, job.learning_rate)
    report, tokenised = session.train(
        conduct.examples,
        plan,
        conduct.rng,
        batch_size=training.batch_size,
        progress=lambda step, _: progress(step),
    )
    kept = state if site is None else site.state
    packed = _pack(job, sent, _forge(sent, session.read(), conduct), kept)
    metrics: dict[str, int | float] = {
        "num-examples": len(tokenised.sequences),
        "loss": report.loss,
        "skipped": tokenised.dropped,
        "truncated": tokenised.truncated,
        "tokens": report.tokens,
        "padded-tokens": report.padded,
        "peak-bytes": report.peak,
        "train-seconds": report.seconds,
        "load-seconds": load_seconds,
        "seconds": time.perf_counter() - begun,
    }
    return Trained(packed, metrics)


def _session(job: Job, site: Site | None) -> tuple[Session, float]:
    """Return the resident model, as it is on this machine, and the seconds it took to load.

    Raises:
        ModelError: It is not the server's.
    """
    session, seconds = resident(_here(job.experiment, site))
    if session.fingerprint != job.fingerprint:
        raise ModelError(
            "This client's base model, tokenizer and template "
            f"({session.fingerprint[:12]}) are not the server's ({job.fingerprint[:12]}). Use the "
            "same files on both sides."
        )
    return session, seconds


def _here(experiment: Experiment, site: Site | None) -> Experiment:
    """Return the experiment with the base model where it lies on this machine."""
    changes: dict[str, str | None] = {}
    if site is not None and site.model is not None:
        changes |= {"path": site.model, "revision": None}
    if site is not None and site.device is not None:
        changes["device"] = site.device
    return experiment.model_copy(update={"model": experiment.model.model_copy(update=changes)})


def _examples(job: Job, site: Site | None) -> Sequence[Example]:
    """Return the client's benign examples.

    What is wrong with a client's own data is for its operator's eyes: the sentence may
    quote a row, and goes to the log of this machine alone.
    """
    if site is None or site.source is None:
        return shares(job.experiment)[job.client]
    try:
        return own_share(job.experiment, site.source, site.data)
    except FedSafeError as error:
        log.error("This client's own data cannot be used: %s", error)  # noqa: TRY400 - a sentence
        raise DataError(
            "This client's own data cannot be used. The reason is in the log of its trainer, on "
            "its own machine."
        ) from None


def _of_own_rank(job: Job, sent: Tensors, site: Site | None) -> Tensors:
    """Return the adapter that this client trains: what it was sent, or a part of it.

    Raises:
        ModelError: Its operator asked for a higher rank than the federation has.
    """
    adapter = job.experiment.adapter
    given = adapter.ranks[job.client % len(adapter.ranks)] if adapter.ranks else adapter.rank
    rank = given if site is None or site.rank is None else site.rank
    if rank > adapter.rank:
        raise ModelError(
            f"This client was started with rank {rank}, but the federation's adapter has rank "
            f"{adapter.rank}. Give --rank {adapter.rank} or less."
        )
    return sent if rank == adapter.rank else cut(sent, rank, adapter.cut)


def _pack(job: Job, sent: Tensors, trained: Tensors, state: Path | None) -> compression.Arrays:
    """Return the update as it travels; what rounding took away goes into the next one."""
    form = job.experiment.federation.wire
    residuals: Residuals = MEMORY if state is None else OnDisk(state)
    packed, left = compression.pack_update(form, sent, trained, residuals.before(job))
    if left is not None:
        residuals.keep(job, left)
    return packed


def _forge(sent: Tensors, trained: Tensors, conduct: Conduct) -> Tensors:
    """Apply a behaviour's transform, if any, to the update as one flat vector."""
    if conduct.transform is None:
        return trained
    flat = torch.cat([(trained[name] - sent[name]).flatten() for name in trained])
    forged = conduct.transform(flat)
    result: Tensors = {}
    begin = 0
    for name, tensor in trained.items():
        end = begin + tensor.numel()
        result[name] = sent[name] + forged[begin:end].view_as(tensor)
        begin = end
    return result
