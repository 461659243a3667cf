"""Evaluate an adapter: ask, judge, measure, and keep replies and verdicts apart on disk.

Replies are kept by what they depend on (adapter, shield, prompts, conditions, decoding), so
another judge costs no generation. Knows nothing of how the adapter came about.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedsafe.contracts import Exchange, Prompt, ShieldChoice, Verdict, conditions, suites
from fedsafe.errors import RunError
from fedsafe.evaluation import kept
from fedsafe.evaluation.agreement import agreements
from fedsafe.evaluation.asking import Progress, asks_of, put
from fedsafe.evaluation.judging import judge, judging_context, reads_with_a_model
from fedsafe.evaluation.scoring import labels, scores
from fedsafe.evaluation.served import (
    conditions_with,
    served_through,
    shield_texts,
    without_shield,
)
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.files import digest
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
    "with_shields",
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
                f"Two evaluation prompts have the id '{prompt.id}'. Use each suite once."
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
) -> tuple[Scores, Path]:
    """Evaluate an adapter, and return its scores and where exchanges and verdicts lie.

    Args:
        session: The model; its adapter is replaced. Where the replies are kept already, its
            fingerprint alone is looked at.
        adapter: What to evaluate.
        experiment: Suites, conditions, judge, measures and decoding.
        home: The run's ``evaluations`` directory.
        target: Name for the directory, such as ``attacked``.
        progress: Told how far it has come.
        shield: What the adapter is served with, as `fedsafe.shields.load_shield` gives it, beside
            the experiment's own shields; without any, conditions that ask through them are
            skipped, and the scores say so.

    Raises:
        RunError: A condition, judge, measure or shield returned something else than it must.
    """
    prompts = prompts_of(experiment)
    served = served_through(experiment.evaluation, shield)
    choices = conditions_with(experiment.evaluation, served)
    asked, skipped = without_shield(asks_of(choices, prompts), served)
    key = digest(
        adapters.digest(adapter),
        session.fingerprint,
        *(repr(prompt) for prompt in prompts),
        *_condition_texts(choices, list(asked)),
        *shield_texts(served),
        experiment.evaluation.max_new_tokens,
    )
    directory = home / f"{target.replace(':', '-').replace('/', '-')}-{key[:8]}"
    exchanges = kept.exchanges(directory, prompts)
    if exchanges is None or any(map(reads_with_a_model, judges_of(experiment))):
        session.put(adapter)
    if exchanges is None:
        exchanges = put(session, asked, served, progress)
        kept.keep_exchanges(directory, exchanges)
    return _judged(directory, exchanges, experiment, target, skipped, session), directory


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
    return _judged(directory, exchanges, experiment, target, kept.skipped(directory))


def probe(
    session: Session, adapter: "Mapping[str, torch.Tensor]", experiment: Experiment
) -> Scores:
    """Evaluate an adapter on the first few prompts of each kind, plainly asked, nothing kept."""
    session.put(adapter)
    limit = experiment.evaluation.probe_prompts
    taken: dict[tuple[str, str], int] = {}
    chosen: list[Prompt] = []
    for prompt in prompts_of(experiment):
        kind = (prompt.purpose, prompt.skill)
        taken[kind] = taken.get(kind, 0) + 1
        if taken[kind] <= limit:
            chosen.append(prompt)
    exchanges = put(session, asks_of([PluginChoice(name="plain")], chosen))
    verdicts = judge(experiment.evaluation.judge, exchanges, judging_context(session))
    found = scores(exchanges, verdicts, experiment.evaluation.measures)
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


def with_shields(experiment: Experiment, chosen: Sequence[PluginChoice]) -> Experiment:
    """Return the experiment with other shields when served, or as it is."""
    if not chosen:
        return experiment
    evaluation = experiment.evaluation.model_copy(update={"shields": tuple(chosen)})
    return experiment.model_copy(update={"evaluation": evaluation})


def _judged(
    directory: Path,
    exchanges: Sequence[Exchange],
    experiment: Experiment,
    target: str,
    skipped: Mapping[str, str],
    session: Session | None = None,
) -> Scores:
    """Judge exchanges, keep verdicts and scores under the judge's own key."""
    context = judging_context(session) if session else None
    said: dict[str, list[Verdict]] = {}
    judged: list[tuple[PluginChoice, Scores]] = []
    for choice in judges_of(experiment):
        verdicts = judge(choice, exchanges, context)
        key, path = kept.keep_verdicts(directory, choice, exchanges, verdicts)
        found = scores(exchanges, verdicts, experiment.evaluation.measures)
        found = found.model_copy(update={"skipped": dict(skipped), "judge": key, "verdicts": path})
        said[key] = verdicts
        judged.append((choice, found))
    first, counts = judged[0]
    counts = counts.model_copy(update={"agreement": agreements(exchanges, said)})
    for choice, found in (*judged[1:], (first, counts)):  # the one that counts is written last
        kept.keep_scores(directory, choice, target, found)
    return counts


def _condition_texts(choices: Sequence[PluginChoice], asked: Sequence[str]) -> list[str]:
    """Return label and settings of each condition that is asked."""
    return [
        repr((label, conditions[choice.name].resolve(choice.settings)))
        for label, choice in zip(labels(choices), choices, strict=True)
        if label in asked
    ]
