"""``fedsafe lm-eval``: tasks of the Language Model Evaluation Harness on a run's models."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsafe.cli.text import safe, shown


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = "fedsafe lm-eval runs/krum --tasks tasks/arc.yaml --stage defended:fine-tune"
    app.command("lm-eval", rich_help_panel="Do", epilog=f"Example: {example}")(lm_eval)


def lm_eval(  # noqa: PLR0917 - each is an option of the command line
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    tasks: Annotated[
        list[str],
        typer.Option(
            "--tasks",
            metavar="TASK",
            help="A task's YAML file, a directory of them, or a name of lm-eval's; repeatable.",
        ),
    ],
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="Which model; else the last; repeatable."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Examples of each task.")
    ] = None,
    few_shot: Annotated[
        int | None, typer.Option("--num-fewshot", min=0, metavar="N", help="Examples shown before.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, metavar="N", help="Sequences at a time.")
    ] = 8,
    template: Annotated[
        bool,
        typer.Option("--template", help="Put questions into the experiment's template."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Evaluate a run's models on lm-eval tasks, such as MMLU, ARC or GSM8K from local files.

    Results are kept in the run directory and shown in its report; earlier ones stay.
    """
    from fedsafe.cli.directories import existing
    from fedsafe.integrations.lm_eval_harness import HarnessOptions, run_lm_eval
    from fedsafe.report import write
    from fedsafe.runs.layout import RunFile

    existing(run)
    options = HarnessOptions(limit, few_shot, batch_size, template)

    def tell(sentence: str) -> None:
        if not as_json:
            typer.echo(sentence, err=True)

    found, page = run_lm_eval(run, tasks, stages or (), options, tell), write(run)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found["stages"])
        typer.echo(f"results  {shown(run / RunFile.LM_EVAL)}\nreport   {shown(page)}")


def _show(stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Print each metric of each task by stage, with its standard error."""
    from fedsafe.cli.tables import COLORS, console, plain_table

    table = plain_table()
    table.add_column("task")
    table.add_column("metric")
    for name in stages:
        table.add_column(f"[{COLORS.get(name, 'green')}]{safe(name)}[/]", justify="right")
    rows = {
        (task, metric): None
        for stage in stages.values()
        for task, found in stage["tasks"].items()
        for metric in found["metrics"]
    }
    for task, metric in rows:
        cells = [_cell(stage["tasks"].get(task), metric) for stage in stages.values()]
        table.add_row(safe(task), safe(metric), *cells)
    console().print(table)
    console().print("[dim]± standard error, as lm-eval computes it[/dim]")


def _cell(task: Mapping[str, Any] | None, metric: str) -> str:
    found = None if task is None else task["metrics"].get(metric)
    if task is None or found is None:
        return "[dim]not asked[/dim]"
    error = "" if found["stderr"] is None else f" ± {found['stderr']:.3f}"
    shots = f", {task['few_shot']}-shot" if task.get("few_shot") else ""
    asked = ", in template" if task.get("template") else ""
    return f"{found['value']:.3f}{error}\n[dim]n={task['n']}{shots}{asked}[/dim]"
