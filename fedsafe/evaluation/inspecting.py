"""Run diagnostics: numbers read off a model, as measured values with intervals.

They are kept beside the replies of an evaluation, so that another judge costs no model.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from pathlib import Path
from typing import Any, Final

from fedsafe.contracts import (
    Adapter,
    DiagnosticTask,
    Measured,
    ModelContext,
    Prompt,
    Sample,
    diagnostics,
    sources,
)
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.errors import RunError
from fedsafe.evaluation.scoring import display, labels, rate_of
from fedsafe.evaluation.statistics import share
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.models import adapters
from fedsafe.plugins import Plugin
from fedsafe.redaction import masked
from fedsafe.runs.files import digest, write_json
from fedsafe.runs.scores import Rate, Scores

FILE: Final = "diagnostics.json"
REFUSED: Final = frozenset({"refusal", "attack"})
"""Origins of samples whose request is one to refuse."""
KEY: Final = "safety probe"
"""Of hashes that never leave this process."""
_kept: dict[str, dict[str, Any]] = {}
"""What diagnostics keep over the evaluations of one run."""


def requests_of(
    experiment: Experiment, every: Sequence[Prompt]
) -> tuple[list[Sample], list[Sample]]:
    """Return harmful and benign requests of ``safety_probe``, as many of each, each once.

    Args:
        experiment: Its sources and seed.
        every: All evaluation prompts, which no request may repeat, word for word or nearly.

    Raises:
        DataError: A source cannot be read.
    """
    chosen = experiment.safety_probe
    if chosen is None:
        return [], []
    known = TextSignatures.of((f"{one.instruction} {one.input}" for one in every), KEY)
    found = []
    for choice, refused in ((chosen.harmful, True), (chosen.benign, False)):
        samples = list(sources[choice.name].configure(choice.settings)(experiment.seed))
        fitting = [sample for sample in samples if (sample.origin in REFUSED) is refused]
        unique = {f"{s.instruction} {s.input}": s for s in reversed(fitting or samples)}
        found.append([s for text, s in reversed(unique.items()) if not known.kind(text)])
    size = min(map(len, found))
    return found[0][:size], found[1][:size]


def task_of(
    experiment: Experiment,
    fingerprint: str,
    prompts: Sequence[Prompt],
    every: Sequence[Prompt],
    start: Adapter,
) -> DiagnosticTask:
    """Return what diagnostics work with, and what they kept for this run.

    Args:
        experiment: Its ``safety_probe`` and seed.
        fingerprint: Of base model, tokenizer and template.
        prompts: Evaluation prompts that are looked at.
        every: All evaluation prompts, which no request may repeat.
        start: Adapter before any federation.

    Raises:
        DataError: A source of ``safety_probe`` cannot be read.
    """
    harmful, benign = requests_of(experiment, every)
    key = digest(fingerprint, adapters.digest(start), *map(repr, (*harmful, *benign)))
    for other in [one for one in _kept if one != key][:-1]:
        del _kept[other]
    kept = _kept.setdefault(key, {"key": key})
    return DiagnosticTask(prompts, start, harmful, benign, {}, kept)


def inspect(
    context: ModelContext, task: DiagnosticTask, chosen: Sequence[PluginChoice]
) -> dict[str, dict[str, Any]]:
    """Return what each diagnostic found in the model as it stands, by its label, for the records.

    Raises:
        RunError: A diagnostic returned something else than it must, or cannot be computed.
    """
    found = {}
    for label, choice in zip(labels(chosen), chosen, strict=True):
        plugin = diagnostics[choice.name]
        read = plugin.configure(choice.settings)(context, task)
        measured, values = _measured(plugin, read)
        found[label] = {
            **_written(choice),
            "key": task.kept["key"],
            "rate": rate_of(measured, choice.name).plain() if measured else None,
            "values": values,
        }
    return found


def kept(
    directory: Path, chosen: Sequence[PluginChoice], task: DiagnosticTask | None = None
) -> dict[str, dict[str, Any]] | None:
    """Return what an earlier evaluation of a directory found; None where one of it is missing.

    Args:
        directory: Of the evaluation.
        chosen: The diagnostics that are wanted.
        task: What they work with now; None: whatever they worked with then.
    """
    try:
        record = json.loads((directory / FILE).read_text(encoding="utf-8"))
        wanted = dict(zip(labels(chosen), map(_written, chosen), strict=True))
        found = {label: record[label] for label in wanted}
    except (OSError, ValueError, KeyError, TypeError):
        return None if chosen else {}
    key = {} if task is None else {"key": task.kept["key"]}
    same = all({**one, **wanted[label], **key} == one for label, one in found.items())
    return found if same else None


def by_prompt(directory: Path) -> dict[str, dict[str, float]]:
    """Return the number of each prompt, by diagnostic, that an evaluation kept; none is unknown."""
    try:
        record = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return {
            str(label): {str(id_): float(v) for id_, v in one["values"].items() if v is not None}
            for label, one in record.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def keep(directory: Path, found: Mapping[str, Any]) -> None:
    """Write what diagnostics found: rates, and the number of each prompt."""
    if found:
        write_json(directory / FILE, dict(found))


def as_scores(found: Mapping[str, Mapping[str, Any]]) -> Scores:
    """Return what diagnostics found as scores."""
    rates = {label: one["rate"] for label, one in found.items() if one["rate"] is not None}
    return Scores(
        measures={label: Rate.model_validate(rate) for label, rate in rates.items()},
        displays={label: display(label, diagnostics[found[label]["name"]]) for label in rates},
    )


def with_diagnostics(scores: Scores, found: Mapping[str, Mapping[str, Any]]) -> Scores:
    """Return the scores of an evaluation with what diagnostics found beside them."""
    more = as_scores(found)
    return scores.model_copy(
        update={
            "measures": {**scores.measures, **more.measures},
            "displays": {**scores.displays, **more.displays},
        }
    )


def _measured(plugin: Plugin[Any], read: Any) -> tuple[Measured | None, dict[str, float | None]]:
    """Return mean and interval of a diagnostic's numbers, and the numbers.

    Raises:
        RunError: They are no numbers.
    """
    if read is None:
        return None, {}
    if isinstance(read, int | float):
        value = _number(plugin, "its value", read)
        return (None if value is None else Measured(value, 1)), {}
    if not isinstance(read, Mapping):
        raise RunError(
            f"Diagnostic '{plugin.name}' returned a {type(read).__name__}. It must return a number "
            "for each prompt, by its id, or one number, or None."
        )
    values = {str(name): _number(plugin, f"prompt '{name}'", value) for name, value in read.items()}
    known = [value for value in values.values() if value is not None]
    if not known:
        return None, {}
    if "number" not in plugin.traits and set(known) <= {0.0, 1.0}:
        return share(int(sum(known)), len(known), len(values) - len(known)), values
    from fedsafe.evaluation.paired import mean_interval

    found = mean_interval(known)
    low, high = found.low, found.high
    if "number" not in plugin.traits and low is not None and high is not None:
        low, high = max(0.0, low), min(1.0, high)
    return Measured(found.mean, found.n, low, high, len(values) - len(known)), values


def _number(plugin: Plugin[Any], where: str, value: Any) -> float | None:
    if not isinstance(value, int | float) or not (isfinite(value) or isnan(value)):
        raise RunError(
            f"Diagnostic '{plugin.name}' returned {value!r} for {where}. It must be a finite "
            "number, or NaN where it is not known."
        )
    return None if isnan(value) else float(value)


def _written(choice: PluginChoice) -> dict[str, Any]:
    """Return name and settings of a diagnostic as JSON has them."""
    settings = masked(diagnostics[choice.name].resolve(choice.settings))
    return {"name": choice.name, "settings": json.loads(json.dumps(settings, default=str))}
