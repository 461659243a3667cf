"""The table of an experiment that was run with several seeds, and the command's part of it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table

from fedsafe.cli.tables import COLORS, console
from fedsafe.cli.text import Interrupted, safe, shown
from fedsafe.errors import ConfigError
from fedsafe.report.measures import NONE, Measure
from fedsafe.report.seed_verdict import sentences
from fedsafe.runs.scores import parts_of
from fedsafe.runs.seed_records import FILE, PAGE, Difference, SeedSummary, Spread

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment

EXPLAINED = (
    "Differences are after less before, of shares in points, paired by prompt and seed. t: over "
    "seeds; bootstrap: clustered by prompt group and seed; +/-: pairs gained and lost; McNemar's "
    "exact test takes the pooled pairs as independent."
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
) -> None:
    """Run an experiment with each seed, show the aggregate, and say where it lies.

    Raises:
        ConfigError: The seeds are wrong, or the changes set the seed too.
        Interrupted: The user stopped it.
        Exit: A defense failed, which is exit code 1.
    """
    from fedsafe import seed_runs
    from fedsafe.cli import directories
    from fedsafe.cli.command import show_experiment
    from fedsafe.cli.console import display

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
        with display(as_json=as_json) as listen:
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
    for line in _notes(summary):
        out.print(f"[dim]{safe(line)}[/dim]", soft_wrap=True)
    compared = dict.fromkeys((found.before, found.after) for found in summary.differences)
    for before, after in compared:
        out.print(_differences(summary, before, after))
    for line in sentences(summary):
        out.print(safe(line), soft_wrap=True)
    if compared:
        out.print(f"[dim]{EXPLAINED}[/dim]")


def _measure(summary: SeedSummary, key: str) -> Measure:
    return Measure(key, summary.displays.get(parts_of(key)[0]))


def _spreads(summary: SeedSummary) -> Table:
    seeds = ", ".join(map(str, summary.seeds))
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"mean ± sd over seeds {seeds}, with the 95 % t interval of the mean",
        caption_justify="left",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("")
    for stage in summary.stages:
        color = COLORS.get(stage.name, "green")
        table.add_column(f"[{color}]{safe(stage.name)}[/{color}]", justify="right")
    for key in dict.fromkeys(key for stage in summary.stages for key in stage.measures):
        measure = _measure(summary, key)
        cells = [_spread(measure, stage.measures.get(key)) for stage in summary.stages]
        table.add_row(f"{safe(measure.label)}{measure.arrow}", *cells)
    return table


def _spread(measure: Measure, spread: Spread | None) -> str:
    if spread is None:
        return f"[dim]{NONE}[/dim]"
    if spread.sd is None or spread.low is None or spread.high is None:
        return measure.say(spread.mean)
    sd = f"{100 * spread.sd:.1f}" if measure.is_share else f"{spread.sd:.4g}"
    low, high = (measure.say(end).removesuffix(" %") for end in (spread.low, spread.high))
    return f"{measure.say(spread.mean)} ± {sd}\n[dim]{low}–{high}[/dim]"  # noqa: RUF001


def _notes(summary: SeedSummary) -> Iterator[str]:
    """Yield whose verdicts the values are, and where a defense failed."""
    if len(summary.judges) > 1:
        yield f"judged by different judges and not comparable: {', '.join(summary.judges)}"
    elif summary.judges:
        yield f"judged by {summary.judges[0]}"
    for stage in summary.stages:
        if stage.failed:
            seeds = ", ".join(map(str, stage.failed))
            yield (
                f"{stage.name} failed with seed {seeds}: counted there with the values of the "
                "model that it was to defend"
            )


def _differences(summary: SeedSummary, before: str, after: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{safe(before)} → {safe(after)}",
        title_justify="left",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for heading in ("difference", "95 % t", "95 % bootstrap", "pairs", "+/-", "McNemar p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in summary.differences:
        if (found.before, found.after) == (before, after):
            table.add_row(*_difference(_measure(summary, found.measure), found))
    return table


def _difference(measure: Measure, found: Difference) -> Iterator[str]:
    yield safe(measure.label)
    yield f"{100 * found.mean:+.1f}" if measure.is_share else f"{found.mean:+.4g}"
    yield _bounds(measure, found.low, found.high)
    yield _bounds(measure, found.bootstrap_low, found.bootstrap_high)
    yield NONE if found.pairs is None else str(found.pairs)
    yield NONE if found.gained is None else f"{found.gained}/{found.lost}"
    yield NONE if found.p_value is None else f"{found.p_value:.2g}"


def _bounds(measure: Measure, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return NONE
    if measure.is_share:
        return f"{100 * low:+.1f} to {100 * high:+.1f}"
    return f"{low:+.4g} to {high:+.4g}"
