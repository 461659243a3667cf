"""Evaluate an adapter: ask, judge, measure, and keep replies and verdicts apart on disk.

Replies are kept by what they depend on (adapter, shield, prompts, conditions, decoding), so
another judge costs no generation, and another shield none of the replies without it. Knows nothing
of how the adapter came about.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fedsafe.contracts import Ask, DiagnosticTask, Exchange, Prompt, ShieldChoice, Verdict, suites
from fedsafe.errors import RunError
from fedsafe.evaluation import inspecting, kept
from fedsafe.evaluation.agreement import agreements, unread
from fedsafe.evaluation.asked_for import asked_for, named
from fedsafe.evaluation.asking import Progress, asks_of, put
from fedsafe.evaluation.clustered_scores import with_clusters
from fedsafe.evaluation.judging import judge, judging_context, reads_with_a_model
from fedsafe.evaluation.reply_key import reply_keys
from fedsafe.evaluation.reuse import replies
from fedsafe.evaluation.scoring import scores, with_condition_names
from fedsafe.evaluation.served import conditions_with, served_through, without_shield
from fedsafe.evaluation.sharing import SharedEvaluations
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.lazy import torch
from fedsafe.runs.records import Scores
from fedsafe.training.session import Session

__all__ = [
    "Progress",
    "evaluate",
    "judge",
    "judges_of",
    "probe",
    "prompts_of",
    "rejudge",
    "with_judge",
]


def prompts_of(experiment: Experiment) -> list[Prompt]:
    """Return every prompt of the experiment's suites, in order.

    Raises:
        DataError: A suite's file cannot be used.
        RunError: Two prompts share an id.
    """
    found: list[Prompt] = []
    for choice in experiment.evaluation.suites:
        found += suites[choice.name].configure(choice.settings)(experiment.seed)
    seen: set[str] = set()
    for prompt in found:
        if prompt.id in seen:
            raise RunError(
                f"Two evaluation prompts have the id '{prompt.id}'. Use each suite once, or "
                "give suites of one file different names (setting 'name')."
            )
        seen.add(prompt.id)
    return found


def evaluate(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    experiment: Experiment,
    home: Path,
    target: str,
    progress: Progress | None = None,
    *,
    shield: ShieldChoice | None = None,
    shared: SharedEvaluations | None = None,
    start: "Mapping[str, torch.Tensor] | None" = None,
) -> tuple[Scores, Path]:
    """Evaluate an adapter, and return its scores and where exchanges and verdicts lie.

    Args:
        session: The model; its adapter is replaced, unless the replies are kept already.
        adapter: What to evaluate.
        experiment: Suites, conditions, judge, measures and decoding.
        home: The run's ``evaluations`` directory.
        target: Name for the directory, such as ``attacked``.
        progress: Told how far it has come.
        shield: What the adapter is served with, beside the experiment's own shields.
        shared: Evaluations of other runs.
        start: Adapter before any federation, which diagnostics compare with; None: a fresh one.

    Raises:
        RunError: A plug-in, such as a condition, judge or diagnostic, returned something wrong.
    """
    prompts = prompts_of(experiment)
    served, asked, skipped = _asked(experiment, prompts, shield)
    task = _task(session, experiment, prompts, prompts, start)
    key, bare = reply_keys(session, adapter, experiment, prompts, asked, served, task)
    directory = home / f"{target.replace(':', '-').replace('/', '-')}-{key[:8]}"
    if shared and not directory.is_dir() and (found := shared.scores(key, target, directory)):
        return found, directory
    exchanges = kept.exchanges(directory, prompts)
    looked = inspecting.kept(directory, experiment.evaluation.diagnostics, task)
    if None in (exchanges, looked) or any(map(reads_with_a_model, judges_of(experiment))):
        session.put(adapter)
    if exchanges is None:
        ask = partial(put, session, shields=served, progress=progress, task=task)
        exchanges = replies(directory, bare, asked, prompts, ask)
    looked = _look(session, experiment, task, directory) if looked is None else looked
    found = _judged(directory, exchanges, experiment, target, skipped, looked, session)
    return shared.keep(key, target, directory, found) if shared else found, directory


def _asked(
    experiment: Experiment, prompts: Sequence[Prompt], shield: ShieldChoice | None
) -> tuple[tuple[ShieldChoice, ...], dict[str, list[Ask]], dict[str, str]]:
    """Return the shields, what is asked under each condition, and what cannot be, and why."""
    served = served_through(experiment.evaluation, shield)
    choices = conditions_with(experiment.evaluation, served)
    return served, *without_shield(asks_of(choices, prompts), served)


def rejudge(directory: Path, experiment: Experiment, target: str) -> Scores:
    """Judge the kept replies of an evaluation again, with no model at hand.

    Args:
        directory: Of the evaluation, as `evaluate` gave it.
        experiment: Suites, judge and measures.
        target: Name of the stage.

    Raises:
        RunError: The replies are not there, the suites have other prompts now, or the judge needs
            a model.
    """
    exchanges = kept.exchanges(directory, prompts_of(experiment))
    if exchanges is None:
        raise RunError(
            f"{directory} has no replies to the prompts of this experiment's suites. Evaluate the "
            "adapter anew, or put the suites' files back as they were."
        )
    looked = inspecting.kept(directory, experiment.evaluation.diagnostics) or {}
    return _judged(directory, exchanges, experiment, target, kept.skipped(directory), looked)


def probe(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    experiment: Experiment,
    start: "Mapping[str, torch.Tensor] | None" = None,
) -> Scores:
    """Evaluate an adapter on the first few prompts of each kind, plainly asked, nothing kept.

    Args:
        session: The model; its adapter is replaced.
        adapter: What to evaluate.
        experiment: Suites, judge, measures, diagnostics and decoding.
        start: Adapter before any federation, which diagnostics compare with; None: a fresh one.
    """
    session.put(adapter)
    limit = experiment.evaluation.probe_prompts
    taken: dict[tuple[str, str], int] = {}
    chosen: list[Prompt] = []
    every = prompts_of(experiment)
    for prompt in every:
        kind = (prompt.purpose, prompt.skill)
        taken[kind] = taken.get(kind, 0) + 1
        if taken[kind] <= limit:
            chosen.append(prompt)
    context = judging_context(session)
    exchanges = put(session, asks_of([PluginChoice(name="plain")], chosen))
    verdicts = judge(experiment.evaluation.judge, exchanges, context)
    found = scores(exchanges, verdicts, experiment.evaluation.measures)
    if experiment.evaluation.diagnostics:
        task = _task(session, experiment, chosen, every, start)
        looked = inspecting.inspect(context, task, experiment.evaluation.diagnostics)
        found = inspecting.with_diagnostics(found, looked)
    return found.model_copy(update={"displays": {}})  # those of the stages hold for it


def judges_of(experiment: Experiment) -> list[PluginChoice]:
    """Return the judges of an experiment, each once, the one that counts first."""
    evaluation = experiment.evaluation
    every = (evaluation.judge, *evaluation.second_judges)
    return list({kept.judge_key(choice): choice for choice in reversed(every)}.values())[::-1]


def with_judge(experiment: Experiment, *choices: PluginChoice | None) -> Experiment:
    """Return the experiment with other judges, the first of which counts, or as it is."""
    chosen = [choice for choice in choices if choice is not None]
    if not chosen:
        return experiment
    update = {"judge": chosen[0], "second_judges": tuple(chosen[1:])}
    evaluation = experiment.evaluation.model_copy(update=update)
    return experiment.model_copy(update={"evaluation": evaluation})


def _judged(
    directory: Path,
    exchanges: Sequence[Exchange],
    experiment: Experiment,
    target: str,
    skipped: Mapping[str, str],
    looked: Mapping[str, Mapping[str, Any]],
    session: Session | None = None,
) -> Scores:
    """Judge exchanges, keep verdicts and scores under the judge's own key."""
    context = judging_context(session) if session else None
    asked = asked_for(experiment)
    said: dict[str, list[Verdict]] = {}
    judged: list[tuple[PluginChoice, Scores]] = []
    for choice in judges_of(experiment):
        verdicts = judge(choice, exchanges, context)
        key, path = kept.keep_verdicts(directory, choice, exchanges, verdicts)
        found = named(scores(exchanges, verdicts, experiment.evaluation.measures), asked)
        pairs = list(zip(exchanges, verdicts, strict=True))
        found = with_clusters(found, pairs, experiment.evaluation.measures)
        found = inspecting.with_diagnostics(found, looked)
        found = with_condition_names(found, experiment.evaluation.conditions)
        found = found.model_copy(update={"skipped": dict(skipped), "judge": key, "verdicts": path})
        said[key] = verdicts
        judged.append((choice, found))
    first, counts = judged[0]
    together = {"agreement": agreements(exchanges, said), "unread": unread(exchanges, said)}
    counts = counts.model_copy(update=together)
    for choice, found in (*judged[1:], (first, counts)):  # the one that counts is written last
        kept.keep_scores(directory, choice, target, found)
    return counts


def _look(
    session: Session, experiment: Experiment, task: DiagnosticTask, directory: Path
) -> dict[str, dict[str, Any]]:
    """Run the diagnostics on the model as it stands, and keep what they find."""
    chosen = experiment.evaluation.diagnostics
    looked = inspecting.inspect(judging_context(session), task, chosen)
    inspecting.keep(directory, looked)
    return looked


def _task(
    session: Session,
    experiment: Experiment,
    prompts: Sequence[Prompt],
    every: Sequence[Prompt],
    start: "Mapping[str, torch.Tensor] | None",
) -> DiagnosticTask:
    """Return what diagnostics and altering conditions work with."""
    before = session.start(experiment.seed) if start is None else start
    return inspecting.task_of(experiment, session.fingerprint, prompts, every, before)
