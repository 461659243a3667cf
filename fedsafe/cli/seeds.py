"""The table of an experiment that was run with several seeds, and the command's part of it."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from fedsafe.cli.tables import COLORS, console, plain_table
from fedsafe.cli.text import Interrupted, safe, shown
from fedsafe.errors import ConfigError
from fedsafe.report import seed_texts
from fedsafe.report.measures import NONE, Measure
from fedsafe.report.seed_verdict import sentences
from fedsafe.runs.layout import RunFile
from fedsafe.runs.seed_records import FILE, PAGE, Difference, SeedSummary, Spread

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment

EXPLAINED = (
    "Differences are after less before, of shares in points, paired by prompt and seed. t: over "
    "seeds; bootstrap: clustered by prompt group and seed; +/-: pairs gained and lost; p: "
    "McNemar's exact test, or of graded values sign flips, which take the pooled pairs as "
    "independent; Holm: the same, corrected over all tests."
)


def run_with_seeds(
    experiment: "Experiment",
    seeds: str,
    changes: Iterable[str],
    output: Path | None,
    *,
    as_json: bool,
    dry_run: bool,
    overwrite: bool,
    log: Sequence[str] | None = None,
) -> None:
    """Run an experiment with each seed, show the aggregate, and say where it lies.

    Raises:
        ConfigError: The seeds are wrong, or the changes set the seed too.
        Interrupted: The user stopped it.
        Exit: A defense failed, which is exit code 1.
    """
    from fedsafe.cli import directories
    from fedsafe.cli.command import listening, show_experiment
    from fedsafe.matrix import seed_runs

    if any(change.partition("=")[0].strip() == "seed" for change in changes):
        raise ConfigError("Give --seeds, or --set seed=...; not both.")
    planned = seed_runs.plan(experiment, seeds, output, anew=overwrite)
    if dry_run:
        for seed, one in planned.experiments.items():
            show_experiment(one, planned.run_directory(seed), as_json=as_json)
        return
    if overwrite:
        (planned.directory / FILE).unlink(missing_ok=True)
        for seed in planned.experiments:
            directories.clear(planned.run_directory(seed))
    try:
        with listening(log, planned.directory / RunFile.EXPORTS, as_json=as_json) as listen:
            found = seed_runs.run(planned, listen)
    except KeyboardInterrupt:
        raise Interrupted("what is done is kept. Go on with the same command.") from None
    if as_json:
        told = {**found.plain(), "directory": str(planned.directory)}
        typer.echo(json.dumps({"kind": "seeds", **told}))
    else:
        show(found)
        typer.echo(f"seeds    {shown(planned.directory / FILE)}")
        typer.echo(f"report   {shown(planned.directory / PAGE)}")
        typer.echo(f"reports  {shown(planned.directory)}/seed-*/report.html")
    if any(stage.failed for stage in found.stages):
        raise typer.Exit(1)


def show(summary: SeedSummary) -> None:
    """Print each measure's spread over seeds by stage, and the paired differences."""
    out = console()
    out.print(_spreads(summary))
    judged = seed_texts.judged_by(summary)
    for line in (*([judged] if judged else []), *seed_texts.failures(summary)):
        out.print(f"[dim]{safe(line)}[/dim]", soft_wrap=True)
    compared = seed_texts.compared(summary)
    for (before, after), found in compared.items():
        out.print(_differences(summary, f"{before} → {after}", found))
    for line in sentences(summary):
        out.print(safe(line), soft_wrap=True)
    if compared:
        out.print(f"[dim]{EXPLAINED}[/dim]")


def _spreads(summary: SeedSummary) -> Table:
    seeds = ", ".join(map(str, summary.seeds))
    table = plain_table(
        caption=f"mean ± sd over seeds {seeds}, with the 95 % t interval of the mean"
    )
    table.add_column("")
    for stage in summary.stages:
        color = COLORS.get(stage.name, "green")
        table.add_column(f"[{color}]{safe(stage.name)}[/{color}]", justify="right")
    for measure in seed_texts.measures_of(summary):
        cells = [_spread(measure, stage.measures.get(measure.key)) for stage in summary.stages]
        table.add_row(f"{safe(measure.label)}{measure.arrow}", *cells)
    return table


def _spread(measure: Measure, spread: Spread | None) -> str:
    if spread is None:
        return f"[dim]{NONE}[/dim]"
    if spread.sd is None or spread.low is None or spread.high is None:
        return measure.say(spread.mean)
    sd = seed_texts.deviation(measure, spread.sd)
    low, high = (measure.say(end).removesuffix(" %") for end in (spread.low, spread.high))
    return f"{measure.say(spread.mean)} ± {sd}\n[dim]{low}–{high}[/dim]"  # noqa: RUF001


def _differences(summary: SeedSummary, title: str, differences: Sequence[Difference]) -> Table:
    table = plain_table(title=safe(title))
    for heading in ("", "difference", "95 % t", "95 % bootstrap"):  # these may take two lines
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for heading in ("pairs", "+/-", "p", "Holm"):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in differences:
        measure = seed_texts.measure_of(summary, found.measure)
        mean, t, bootstrap, *tested = seed_texts.difference(measure, found)
        pairs = NONE if found.pairs is None else str(found.pairs)
        table.add_row(safe(measure.label), mean, t, bootstrap, pairs, *tested)
    return table
