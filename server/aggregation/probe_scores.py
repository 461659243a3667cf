"""Safety-probe scores of single updates: what each alone does to the model's view of harm.

The probe is fitted on the model before the federation and stays as it is (SCAV, Xu et al.,
NeurIPS 2024).
"""

from dataclasses import replace
from typing import Protocol

from fedsafe.contracts import Adapter, Updates, filters
from fedsafe.diagnostics.fitted_probes import frozen
from fedsafe.diagnostics.linear_probe import halves
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.evaluation.inspecting import task_of
from fedsafe.evaluation.judging import judging_context
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.models.adapters import Tensors
from fedsafe.training.session import Session
from fedsafe.weights.vectorize import moved


class Known(Protocol):
    """What is needed of a federation."""

    @property
    def experiment(self) -> Experiment:
        """Its filters and ``safety_probe``."""
        ...

    @property
    def session(self) -> Session:
        """The server's model; its adapter is replaced."""
        ...

    @property
    def aligned(self) -> Tensors | None:
        """Adapter before any federation, which the probe is fitted on; None: a fresh one."""
        ...


def with_scores(federation: Known, updates: Updates, adapter: Adapter) -> Updates:
    """Return the updates with the safety probe's score of each, where a filter asks for it.

    A score is the change of the mean log-odds of "harmful" on held-out harmful requests, with
    this update alone added to the adapter; none of the requests is an evaluation prompt.

    Args:
        federation: Its experiment and model.
        updates: Of the round, as they are to be combined.
        adapter: What the clients were sent.

    Raises:
        RunError: There are too few requests to fit a probe on.
    """
    experiment, session, start = federation.experiment, federation.session, federation.aligned
    choice = _filter(experiment)
    if choice is None:
        return updates
    every = prompts_of(experiment)
    before = session.start(experiment.seed) if start is None else start
    task = task_of(experiment, session.fingerprint, (), every, before)
    context = judging_context(session)
    probe = frozen(context, task).at(None)
    limit = filters[choice.name].resolve(choice.settings).get("requests")
    asked = halves(range(len(task.harmful)))[1][:limit]
    samples = [task.harmful[index] for index in asked]

    def mean_log_odds(tensors: Adapter) -> float:
        session.put(tensors)
        return float(probe.log_odds(context.prompt_states(samples)[probe.layer]).mean())

    sent = mean_log_odds(adapter)
    alone = zip(updates.clients, updates.matrix, strict=True)
    scores = {client: mean_log_odds(moved(adapter, row.float())) - sent for client, row in alone}
    return replace(updates, probe=scores)


def _filter(experiment: Experiment) -> PluginChoice | None:
    """Return the first filter that works with scores of the safety probe."""
    chosen = experiment.federation.strategy.filters
    return next((one for one in chosen if "probe" in filters[one.name].traits), None)
