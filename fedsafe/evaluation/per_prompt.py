"""The value of each measure on each prompt, for paired comparisons of two stages.

Read from the kept replies and verdicts of an evaluation; no model is loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from fedsafe.contracts import Exchange, Outcome, Prompt, Verdict, measures
from fedsafe.errors import RunError
from fedsafe.evaluation import inspecting, kept
from fedsafe.evaluation.clusters import clusters_of
from fedsafe.evaluation.scoring import labels
from fedsafe.experiment.schema import PluginChoice
from fedsafe.runs.scores import Rate, Scores, key_of

TOLERANCE = 1e-9
"""By how much a mean over prompts may differ from the measure by rounding."""


@dataclass(frozen=True)
class Answer:
    """What a measure says of one reply, and the cluster of its prompt."""

    value: float
    group: str


Answers = Mapping[str, Answer]
"""By id of the prompt."""


def per_prompt(
    directory: Path, prompts: Sequence[Prompt], chosen: Sequence[PluginChoice], scores: Scores
) -> dict[str, Answers]:
    """Return each measure's value on each prompt, by ``measure`` or ``measure@condition``.

    Diagnostics that are read prompt by prompt are among them. What is no mean over prompts, such
    as the worst topic or a probe's accuracy, is left out, and so are replies that the judge could
    not judge.

    Args:
        directory: Directory of the evaluation.
        prompts: Prompts of the run's suites.
        chosen: Measures of the run's experiment.
        scores: What the run recorded of this evaluation.

    Raises:
        RunError: The replies or verdicts are missing, or not those that were written.
    """
    clusters = clusters_of(prompts)
    under: dict[str, list[tuple[Exchange, Verdict]]] = {}
    for exchange, verdict in judged_replies(directory, prompts, scores):
        under.setdefault(exchange.condition, []).append((exchange, verdict))
    found: dict[str, Answers] = {}
    for condition, judged in under.items():
        for label, choice in zip(labels(chosen), chosen, strict=True):
            key = key_of(label, condition)
            if key in scores.measures:
                found[key] = answers_of(choice, judged, scores.measures[key], clusters)
    for label, values in inspecting.by_prompt(directory).items():
        if label in scores.measures and label not in found:
            answers = {p: Answer(v, clusters[p]) for p, v in values.items() if p in clusters}
            found[label] = answers if _is_mean(answers, scores.measures[label]) else {}
    return {key: answers for key, answers in found.items() if answers}


def answers_of(
    choice: PluginChoice,
    judged: Sequence[tuple[Exchange, Verdict]],
    rate: Rate,
    clusters: Mapping[str, str],
) -> Answers:
    """Return a measure's value on each prompt of a condition; empty where it is no mean of them.

    Args:
        choice: The measure.
        judged: Exchanges of one condition, with their verdicts.
        rate: What the measure found of all of them.
        clusters: Cluster of each prompt, by its id.
    """
    answers = _answers(choice, judged, clusters)
    return answers if _is_mean(answers, rate) else {}


def _answers(
    choice: PluginChoice,
    judged: Sequence[tuple[Exchange, Verdict]],
    clusters: Mapping[str, str],
) -> Answers:
    """Return what a measure says of each reply by itself; nothing where it cannot say that."""
    measure = measures[choice.name].configure(choice.settings)
    found: dict[str, Answer] = {}
    for exchange, verdict in judged:
        try:
            measured = measure([(exchange, verdict)])
        except Exception:  # noqa: BLE001 - somebody's measure may need more than one reply
            return {}
        if measured is not None and measured.value is not None:
            id_ = exchange.prompt.id
            found[id_] = Answer(float(measured.value), clusters.get(id_, id_))
    return found


def _is_mean(answers: Answers, rate: Rate) -> bool:
    """Tell whether a measure is the mean of its values on all prompts that it counts."""
    if rate.value is None or not answers or rate.n != len(answers):
        return False
    mean = sum(answer.value for answer in answers.values()) / len(answers)
    return abs(mean - rate.value) <= TOLERANCE


def judged_replies(
    directory: Path, prompts: Sequence[Prompt], scores: Scores
) -> list[tuple[Exchange, Verdict]]:
    """Return the kept replies of an evaluation, each with the verdict that its scores count.

    Raises:
        RunError: The replies or verdicts are missing, or not those that were written.
    """
    exchanges = kept.exchanges(directory, prompts)
    path = directory / scores.verdicts
    if exchanges is None or not scores.verdicts or not path.is_file():
        raise RunError(
            f"The replies or verdicts in {directory} are missing or were changed. Evaluate the run "
            f"again: `fedsafe evaluate {directory.parents[1]}`."
        )
    verdicts = {(row.get("id"), row.get("condition")): row for row in kept.records(path)}
    try:
        return [(e, _verdict(verdicts[e.prompt.id, e.condition])) for e in exchanges]
    except (KeyError, TypeError, ValueError):
        raise RunError(
            f"{path} has not one verdict for each reply. Evaluate the run again: `fedsafe evaluate "
            f"{directory.parents[1]}`."
        ) from None


def _verdict(row: Mapping[str, Any]) -> Verdict:
    if row["outcome"] not in get_args(Outcome):
        raise ValueError(row["outcome"])
    return Verdict(
        row["outcome"], row.get("correct"), row.get("raw") or "", row.get("score"), row.get("safe")
    )
