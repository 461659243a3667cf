"""Results of lm-eval beside a run: ``lm-eval.json``, by stage, task and metric."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fedsafe.errors import RunError

FILE: Final = "lm-eval.json"
"""Results of a run by stage, in its directory."""
SAID_BEFORE: Final = {"alias", "name", "sample_len", "sample_count"}
"""Keys of a task's results that are no metric."""


def read_lm_eval(directory: Path) -> dict[str, Any]:
    """Return what ``lm-eval.json`` holds; no stages where there is none.

    Raises:
        RunError: It is broken.
    """
    path = directory / FILE
    if not path.is_file():
        return {"version": 1, "stages": {}}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["stages"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{path} cannot be read as results of lm-eval. Move it away.") from None
    return dict(found)


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
        if key in SAID_BEFORE or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        error = results.get(f"{metric}_stderr,{chosen}")
        yield (
            metric if chosen in {"", "none"} else key,
            {
                "value": float(value),
                "stderr": float(error) if isinstance(error, int | float) else None,
                "higher_is_better": higher.get(metric),
            },
        )
