"""Section of the report with what lm-eval found on the run's models (`fedsafe lm-eval`)."""

from typing import Any

from fedsafe.report.loader import RunData
from fedsafe.report.markup import section, table, text
from fedsafe.report.measures import NONE
from fedsafe.runs.lm_eval_results import read_lm_eval
from fedsafe.runs.records import Stage

LEAD = (
    "Tasks of the Language Model Evaluation Harness, asked of the base model with each adapter. "
    "After ± stands the standard error, as lm-eval computes it."
)


def lm_eval(run: RunData) -> str:
    """Return a table of each task's metrics by stage; nothing where none was asked.

    Raises:
        RunError: The file of the results is broken.
    """
    known = read_lm_eval(run.directory)["stages"]
    same = {s.name: s for s in run.stages if known.get(s.name, {}).get("adapter") == s.adapter}
    asked = [(stage, known[name]["tasks"]) for name, stage in same.items()]
    rows = dict.fromkeys(
        (task, metric) for _, tasks in asked for task in tasks for metric in tasks[task]["metrics"]
    )
    if not rows:
        return ""
    heads = ["Task", "Metric", *(text(run.titles[stage.name][0]) for stage, _ in asked)]
    cells = [
        [text(task), text(metric) + _arrow(asked, task, metric)]
        + [_cell(tasks.get(task), metric) for _, tasks in asked]
        for task, metric in rows
    ]
    return section("lm-eval", "lm-eval", LEAD, table(heads, cells, numbers=range(2, len(heads))))


def _arrow(asked: list[tuple[Stage, Any]], task: str, metric: str) -> str:
    """Return which direction is better, where lm-eval says."""
    found = (tasks[task]["metrics"].get(metric, {}) for _, tasks in asked if task in tasks)
    better = next((one["higher_is_better"] for one in found if one), None)
    return "" if better is None else (" ↑" if better else " ↓")


def _cell(task: Any, metric: str) -> str:
    found = None if task is None else task["metrics"].get(metric)
    if found is None:
        return NONE
    error = "" if found["stderr"] is None else f" ± {found['stderr']:.3f}"
    shots = f", {task['few_shot']}-shot" if task.get("few_shot") else ""
    how = ", in template" if task.get("template") else ""
    said = text(f"n {task['n']}{shots}{how}")
    return f'{found["value"]:.3f}{error} <span class="bounds">{said}</span>'
