"""Intervals that resample clusters of prompts, beside those that take prompts as independent.

Cluster bootstrap: Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section
3.8; of evaluations of language models: Miller, *Adding Error Bars to Evals*, 2024
(arXiv:2411.00640).
"""

from collections.abc import Sequence

from fedsafe.contracts import Exchange, Verdict
from fedsafe.evaluation.clusters import clusters_of
from fedsafe.evaluation.per_prompt import Answer, answers_of
from fedsafe.evaluation.scoring import labels
from fedsafe.evaluation.statistics import share
from fedsafe.experiment.schema import PluginChoice
from fedsafe.runs.scores import Rate, Scores, key_of


def with_clusters(
    scores: Scores,
    judged: Sequence[tuple[Exchange, Verdict]],
    chosen: Sequence[PluginChoice],
) -> Scores:
    """Return scores with a cluster-bootstrap interval beside each interval that needs one.

    Only measures that are means over prompts have one, and only where prompts share a cluster.

    Args:
        scores: What the measures found.
        judged: The exchanges with the verdicts that they rest on.
        chosen: The measures.
    """
    prompts = {exchange.prompt.id: exchange.prompt for exchange, _ in judged}
    clusters = clusters_of(list(prompts.values()))
    measures = dict(scores.measures)
    under: dict[str, list[tuple[Exchange, Verdict]]] = {}
    for exchange, verdict in judged:
        under.setdefault(exchange.condition, []).append((exchange, verdict))
    for condition, pairs in under.items():
        for label, choice in zip(labels(chosen), chosen, strict=True):
            key = key_of(label, condition)
            if key in measures:
                answers = answers_of(choice, pairs, measures[key], clusters)
                measures[key] = _clustered(measures[key], list(answers.values()))
    return scores.model_copy(update={"measures": measures})


def _clustered(rate: Rate, answers: Sequence[Answer]) -> Rate:
    groups = [answer.group for answer in answers]
    count = len(set(groups))
    if count in (0, len(groups)):
        return rate
    low, high = cluster_interval([answer.value for answer in answers], groups)
    return rate.model_copy(update={"clusters": count, "cluster_low": low, "cluster_high": high})


def cluster_interval(
    values: Sequence[float], groups: Sequence[str]
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean whose values come in clusters.

    Clusters are resampled whole (percentile bootstrap). Where all values are 0, or all 1, every
    resample is the same: there it is Wilson's, with the clusters for the number of values.

    Args:
        values: One a prompt.
        groups: Cluster of each.

    Returns:
        Lower and upper end; None where there is one cluster, so that nothing can be said.
    """
    count = len(set(groups))
    if count < 2:
        return None, None
    if len(set(values)) == 1 and values[0] in (0.0, 1.0):
        found = share(count if values[0] else 0, count)
        return found.low, found.high
    from fedsafe.evaluation.paired import clustered_bootstrap

    bounds = clustered_bootstrap(values, groups, [0] * len(values))
    return bounds if bounds is not None else (None, None)
