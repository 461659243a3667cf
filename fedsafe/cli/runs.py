"""Commands that make and look at runs: run, resume, defend, evaluate, report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsafe.cli.command import finish, inline, show_experiment, work
from fedsafe.cli.evaluation import evaluate, judge
from fedsafe.cli.export import Log
from fedsafe.cli.pipelines import sweeps_of, swept
from fedsafe.cli.text import settings, shown
from fedsafe.errors import ConfigError
from fedsafe.micro.base import is_embedded
from fedsafe.plugin_modules import search_current

if TYPE_CHECKING:
    from fedsafe.experiment import PluginChoice

Json = Annotated[bool, typer.Option("--json", help="Print JSON lines, the summary last.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
OptionalRun = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run directory.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where to.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Change a setting of the experiment; repeatable."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="k=v", help="Set one of the plug-in's settings; repeatable."),
]

BaseModel = Annotated[
    str | None, typer.Option("--model", help="Base model of an adapter from anywhere.")
]
KeepAttacker = Annotated[
    bool, typer.Option("--keep-attacker", help="Of purple-teaming: leave its attacker's adapter.")
]

With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="NAME", help="A defense, or several in a row: A+B; repeatable."),
]
GivenAdapter = Annotated[
    Path | None, typer.Option("--adapter", metavar="DIR", help="That adapter (PEFT format).")
]
Judged = Annotated[
    str | None, typer.Option("--experiment", help="Template, suites and judge for that adapter.")
]
SecondAttack = Annotated[
    int | None,
    typer.Option(
        "--second-attack",
        metavar="ROUNDS",
        min=1,
        help="Then let a run's federation go on from each defended model, its attackers in it; "
        "without --with from all that it has.",
    ),
]

Sweep = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="k=v,w",
        help="Defend once for each value of a setting; of several, for each combination.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to an app."""
    for command, panel, epilog in (
        (run, "Do", "fedsafe run micro --set federation.strategy.name=krum -o runs/krum"),
        (resume, "Do", "fedsafe resume runs/krum"),
        (defend, "Do", "fedsafe defend runs/krum --with safe-lora+fine-tune --set steps=20"),
        (evaluate, "Do", "fedsafe evaluate runs/krum --judge keyword"),
        (judge, "Do", "fedsafe judge runs/krum --with refusal --with keyword"),
        (report, "Look up", "fedsafe report runs/krum --reveal"),
    ):
        app.command(rich_help_panel=panel, epilog=f"Example: {epilog}")(command)


def run(  # noqa: PLR0917 - each is an option of the command line
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="[EXPERIMENT]", help="A preset, a YAML file, or - for standard input."
        ),
    ] = "micro",
    changes: Changes = None,
    output: Output = None,
    as_json: Json = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and print the experiment, start nothing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is there.")
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="0-4", help="Run once a seed (0-4, or 0,3,7), aggregate."),
    ] = None,
    log: Log = None,
) -> None:
    """Run an experiment: clean control, attack, evaluation, defense, evaluation, report.

    EXPERIMENT is a preset (see `fedsafe config list`) or a YAML file. With --seeds each run lies
    in DIR/seed-K; the same command goes on with what is not completed.
    """
    from fedsafe.app import activate
    from fedsafe.cli import directories
    from fedsafe.experiment import load
    from fedsafe.launch import preflight
    from fedsafe.runs.store import default_directory

    activate()
    resolved = load(experiment, changes or (), preflight.look if dry_run else None)
    if seeds is not None:
        from fedsafe.cli.seeds import run_with_seeds

        flags = {"as_json": as_json, "dry_run": dry_run, "overwrite": overwrite}
        run_with_seeds(resolved, seeds, changes or (), output, log=log, **flags)
        return
    directory = output or default_directory(resolved)
    if dry_run:
        show_experiment(resolved, directory, as_json=as_json)
        return
    if overwrite:
        directories.clear(directory)
    elif (summary := directories.finished(directory, resolved)) is not None:
        if not as_json:
            typer.echo(f"{shown(directory)} holds this experiment, completed; nothing to run.")
        finish(directory, summary, as_json=as_json)
        return
    task = lambda listen: inline().run(resolved, directory, listen)  # noqa: E731
    work(directory, task, as_json=as_json, log=log)


def resume(run: Run, as_json: Json = False, log: Log = None) -> None:
    """Go on with a run that was stopped, from its last complete round."""
    from fedsafe.cli.directories import existing

    existing(run)
    work(run, lambda listen: inline().resume(run, listen), as_json=as_json, log=log)


def defend(  # noqa: PLR0917 - each is an option of the command line
    run: OptionalRun = None,
    defense: With = None,
    changes: Settings = None,
    sweep: Sweep = None,
    model: BaseModel = None,
    adapter: GivenAdapter = None,
    output: Output = None,
    experiment: Judged = None,
    second_attack: SecondAttack = None,
    keep_attacker: KeepAttacker = False,
    as_json: Json = False,
) -> None:
    """Defend a finished run, or with --model, --adapter and -o any PEFT adapter.

    --with A --with B defends the same model in both ways, --with A+B with A and then B; --set A.k=v
    sets A alone, --sweep steps=10,40 tries both. The model is evaluated before and after each
    step, and a report is written.
    """
    from fedsafe.cli.directories import existing

    kept = {"keep_attacker": True} if keep_attacker else {}
    if not defense and (run is None or second_attack is None):
        raise ConfigError("Name a defense with --with, such as --with fine-tune.")
    search_current(run)
    pipelines = swept(defense or (), {**settings(changes), **kept}, sweeps_of(sweep))
    if run is not None:
        if model or adapter or output:
            raise ConfigError("Give a run, or --model, --adapter and -o; not both.")
        existing(run)
        work(
            run,
            lambda listen: inline().defend(run, pipelines, listen, second_attack),
            as_json=as_json,
            again="the same command",
        )
        return
    if model is None or adapter is None or output is None:
        raise ConfigError("Without a run, give all of --model, --adapter and -o.")
    if second_attack is not None:
        raise ConfigError("--second-attack needs a run: an adapter alone has no federation.")
    if experiment is None and not is_embedded(model):
        raise ConfigError(
            "Give --experiment: its template, suites and judge must suit the model, and those of "
            "the presets suit the micro world. `fedsafe config show qlora-7b` is a start."
        )
    _defend_adapter((model, adapter, pipelines, output), experiment or "micro", as_json=as_json)


def report(
    run: Run,
    reveal: Annotated[
        bool,
        typer.Option("--reveal", help="Show prompts and replies, in report-revealed.html."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw one self-contained HTML page of a run, finished or not, of seeds or of a matrix."""
    from fedsafe.cli.directories import existing
    from fedsafe.report import is_matrix_directory, is_seeds_directory, write, write_seeds

    if is_matrix_directory(run):
        from fedsafe.matrix.publish import publish

        page = publish(run)
    else:
        seeds = is_seeds_directory(run)
        page = write_seeds(run) if seeds else write(existing(run), reveal=reveal)
    typer.echo(json.dumps({"report": str(page)}) if as_json else shown(page))


def _defend_adapter(
    job: "tuple[str, Path, list[list[PluginChoice]], Path]", reference: str, *, as_json: bool
) -> None:
    from fedsafe.experiment import load

    model, adapter, pipelines, output = job
    resolved = load(reference)
    summary = work(
        output,
        lambda listen: inline().defend_adapter(model, adapter, pipelines, output, resolved, listen),
        as_json=as_json,
        again="the same command",
    )
    if not as_json and summary.stages:
        typer.echo(f"adapter  {shown(output / summary.stages[-1].path)}")
