"""Flat numbers and settings of a run, by name, as experiment trackers take them.

Nothing secret is among them: neither prompts nor replies, and no value of a secret setting.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from fedsafe.experiment import Experiment
from fedsafe.redaction import MASK, is_secret
from fedsafe.runs.records import Round, Scores, Stage
from fedsafe.runs.round_figures import (
    accepted,
    dropped,
    malicious_share,
    median_loss,
    tokens_per_second,
)

Setting = str | int | float | bool


def round_figures(record: Round) -> dict[str, float]:
    """Return the numbers of a round; those that are not known or not finite are left out."""
    found: dict[str, float | None] = {
        "accepted": accepted(record),
        "dropped": dropped(record),
        "loss": median_loss(record),
        "learning_rate": record.learning_rate,
        "update_norm": record.update_norm,
        "malicious_influence": malicious_share(record.clients),
        "tokens_per_second": tokens_per_second(record),
        "seconds": record.seconds,
        "bytes_sent": record.bytes_sent,
        "bytes_received": record.bytes_received,
        **{f"strategy/{name}": value for name, value in record.metrics.items()},
    }
    probe = {} if record.probe is None else score_figures(record.probe)
    return _known({**found, **{f"probe/{name}": value for name, value in probe.items()}})


def stage_figures(stage: Stage) -> dict[str, float]:
    """Return the measures of a stage with the ends of their intervals, and its seconds."""
    rates = stage.scores.measures.items()
    ends = {f"{name}.low": rate.low for name, rate in rates}
    ends |= {f"{name}.high": rate.high for name, rate in rates}
    times = {"seconds": stage.seconds, "evaluation_seconds": stage.evaluation_seconds}
    return _known({**score_figures(stage.scores), **ends, **times})


def score_figures(scores: Scores) -> dict[str, float]:
    """Return the value of each measure: shares in [0, 1], or means."""
    return _known({name: rate.value for name, rate in scores.measures.items()})


def settings_of(experiment: Experiment) -> dict[str, Setting]:
    """Return an experiment's settings by dotted path, secrets masked, defaults of None left out."""
    return dict(_flat(experiment.model_dump(mode="json")))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for name, value in values.items():
        path = f"{prefix}{name}"
        if is_secret(str(name), value):
            yield path, MASK
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list):
            yield from _listed(path, value)
        elif value is not None:
            yield path, value


def _listed(path: str, values: list[Any]) -> Iterator[tuple[str, Setting]]:
    """Yield a list of plain values as one text, of mappings and lists with their index."""
    if not any(isinstance(value, Mapping | list) for value in values):
        yield path, ", ".join(map(str, values))
        return
    for index, value in enumerate(values):
        yield from _flat({str(index): value}, f"{path}.")


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if value is not None and isfinite(value)
    }
