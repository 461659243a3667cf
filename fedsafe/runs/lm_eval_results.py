"""Results of lm-eval beside a run: ``lm-eval.json``, by stage, task and metric."""

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypeGuard

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from fedsafe.errors import RunError
from fedsafe.runs.layout import RunFile
from fedsafe.runs.scores import Record

SAID_BEFORE: Final = {"alias", "name", "sample_len", "sample_count"}
"""Keys of a task's results that are no metric."""


class Metric(Record):
    """What lm-eval found of one metric."""

    value: FiniteFloat
    stderr: FiniteFloat | None = None
    higher_is_better: bool | None = None


class TaskResults(Record):
    """What lm-eval found on one task, and how it was asked."""

    metrics: dict[str, Metric]
    n: int | None = None
    """Examples."""
    few_shot: int | None = None
    """Examples shown before each question."""
    version: int | float | str | None = None
    limit: int | None = None
    template: bool = False
    """Whether questions went through the experiment's template."""


class StageResults(Record):
    """What lm-eval found on the model of one stage."""

    adapter: str
    """sha256 of its adapter."""
    lm_eval: str = ""
    """Version."""
    tasks: dict[str, TaskResults]


def read_lm_eval(directory: Path) -> dict[str, Any]:
    """Return what ``lm-eval.json`` holds; no stages where there is none.

    Raises:
        RunError: It is broken.
    """
    path = directory / RunFile.LM_EVAL
    if not path.is_file():
        return {"version": 1, "stages": {}}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        stages = TypeAdapter(dict[str, StageResults]).validate_python(found["stages"])
    except ValidationError as error:
        place = ".".join(map(str, ("stages", *error.errors()[0]["loc"])))
        raise _broken(path, f"field {place}: {error.errors()[0]['msg']}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(path, f"{type(error).__name__}: {error}") from None
    return {**found, "stages": {name: stage.plain() for name, stage in stages.items()}}


def _broken(path: Path, why: str) -> RunError:
    return RunError(f"{path} cannot be read as results of lm-eval ({why}). Move it away.")


def task_results(found: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return metrics, number of examples and shots of one task, from what lm-eval returned."""
    samples = found.get("n-samples", {}).get(task, {})
    return {
        "metrics": dict(_metrics(found, task)),
        "n": samples.get("effective"),
        "few_shot": found.get("n-shot", {}).get(task),
        "version": found.get("versions", {}).get(task),
    }


def _metrics(found: Mapping[str, Any], task: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``metric`` or ``metric,filter`` with value, standard error and direction."""
    higher = found.get("higher_is_better", {}).get(task, {})
    results = found["results"][task]
    for key, value in results.items():
        metric, _, chosen = key.partition(",")
        if key in SAID_BEFORE or metric.endswith("_stderr") or not _is_finite(value):
            continue
        error = results.get(f"{metric}_stderr,{chosen}")
        yield (
            metric if chosen in {"", "none"} else key,
            {
                "value": float(value),
                "stderr": float(error) if _is_finite(error) else None,
                "higher_is_better": higher.get(metric),
            },
        )


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and isfinite(value)
