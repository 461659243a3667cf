"""Tables for the terminal: before and after, plug-ins, pairs of name and sentence."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from fedsafe.cli.text import safe, shown
from fedsafe.cli.trade_table import trade_table
from fedsafe.report.agreements import agreements
from fedsafe.report.bars import quality
from fedsafe.report.caveats import caveats
from fedsafe.report.defenses import AGAIN, PREFIX, Defense, defenses_of, titles
from fedsafe.report.depth_curves import ALL, DepthCurve, depth_curves, is_in_curve
from fedsafe.report.measures import NONE, UNSAFE, Measure, called, duration, found, short
from fedsafe.report.second_attack import holdings
from fedsafe.report.trades import trades
from fedsafe.report.verdict import sentence
from fedsafe.runs.failed_stages import counted
from fedsafe.runs.records import Rate, Stage, Summary

COLORS = {"base": "white", "aligned": "cyan", "clean": "blue", "attacked": "red", "trained": "blue"}
COLUMNS = 6
"""Stages side by side."""
PIPE_WIDTH = 110
"""Columns where there is no terminal to ask."""
CLUSTERED = ", in ⟨ ⟩ those that resample clusters of like prompts"
"""Said of a table that has any."""


def console() -> Console:
    """Return a console on standard output; plain text where that is no terminal."""
    width = None if sys.stdout.isatty() else max(PIPE_WIDTH, shutil.get_terminal_size().columns)
    return Console(width=width, highlight=False, soft_wrap=False)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names with a sentence each, aligned."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan", min_width=16)
    table.add_column()
    for name, text in rows:
        table.add_row(safe(name), safe(text))
    console().print(Padding(table, (0, 0, 0, 2)))


def plain_table(*, title: str = "", caption: str = "") -> Table:
    """Return an empty table in the style of all commands; title and caption are rich's markup."""
    return Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        caption=caption or None,
        caption_justify="left",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )


def plugin_settings(settings: Sequence[dict[str, Any]]) -> None:
    """Print a plug-in's settings with type, default and help."""
    if not settings:
        console().print("\nIt has no settings.")
        return
    table = plain_table()
    table.add_column("setting", style="cyan", no_wrap=True)
    for heading in ("type", "default", "help"):
        table.add_column(heading)
    for setting in settings:
        default = "[red]required[/red]" if setting["required"] else safe(setting["default"])
        table.add_row(safe(setting["name"]), safe(setting["type"]), default, safe(setting["help"]))
    console().print()
    console().print(table)


def before_after(summary: Summary, directory: Path | None = None) -> None:
    """Print the stages side by side, who judged them, and the verdict.

    Args:
        summary: What the run found.
        directory: The run directory, for the settings of its defenses.
    """
    out = console()
    stages = [stage for stage in summary.stages if stage.status == "done"]
    defenses = defenses_of(directory, stages)
    if stages:
        curves = depth_curves(stages)
        for part in _parts(counted(summary.stages)):
            out.print(_stages(part, defenses, curves))
        for curve in curves:
            out.print(_depth(curve))
        for trade in trades(stages, defenses):
            out.print(trade_table(trade))
        held = [holding.said for holding in holdings(stages)]
        beside = (*_judges(stages), *agreements(stages), *_skipped(stages), *caveats(stages))
        for line in (*beside, *held):
            out.print(f"[dim]{safe(line)}[/dim]", soft_wrap=True)
    out.print(Padding(safe(sentence(stages, defenses)), (0, 0, 1, 0)))
    for stage in summary.stages:
        if stage.status == "failed":
            out.print(f"[yellow]{safe(stage.name)} failed: {safe(stage.reason)}[/yellow]")
    if summary.status != "completed":
        reason = f": {summary.reason}" if summary.reason else ""
        out.print(f"[yellow]The run is {safe(summary.status)}{safe(reason)}[/yellow]")


def places(directory: Path, report: Path | None, seconds: float) -> None:
    """Print where the results lie."""
    out = console()
    out.print(f"[dim]summary[/dim]  {safe(shown(directory / 'summary.json'))}", soft_wrap=True)
    if report is not None:
        out.print(f"[dim]report [/dim]  {safe(shown(report))}", soft_wrap=True)
    if seconds:
        out.print(f"[dim]time   [/dim]  {duration(seconds)}")


def _parts(stages: Sequence[Stage]) -> Iterator[Sequence[Stage]]:
    """Yield the stages in tables that a terminal has room for, the undefended first."""
    if len(stages) <= COLUMNS + 1:
        yield stages
        return
    others = [stage for stage in stages if stage.name.startswith((PREFIX, AGAIN))]
    yield [stage for stage in stages if stage not in others]
    yield from (others[i : i + COLUMNS] for i in range(0, len(others), COLUMNS))


def _stages(
    stages: Sequence[Stage], defenses: Mapping[str, Defense], curves: Sequence[DepthCurve]
) -> Table:
    table = plain_table(
        caption=f"with 95 % intervals{CLUSTERED if _is_clustered(stages) else ''}; "
        "↑ more is better, ↓ less is better"
    )
    table.add_column("")
    named = titles(stages, defenses)
    for stage in stages:
        color = COLORS.get(stage.name, "green")
        defense = defenses.get(stage.name)
        name = stage.name if defense is None else f"defended:{short(defense.name)}"
        if stage.status == "failed":
            name += "\n(failed: as attacked)"
        settings = f"\n[dim]{safe(said)}[/dim]" if (said := named[stage.name][1]) else ""
        table.add_column(f"[{color}]{safe(name)}[/{color}]{settings}", justify="right")
    for measure in found(stage.scores for stage in stages):
        if is_in_curve(measure.condition, curves):
            continue  # a table of its own has it
        rates = [measure.read(stage.scores) for stage in stages]
        table.add_row(
            f"{safe(measure.label)}{measure.arrow}\n[dim]{_counts(rates)}[/dim]",
            *(_cell(measure, rate) for rate in rates),
        )
    return table


def _depth(curve: DepthCurve) -> Table:
    """Return unsafe shares by how much of a complying reply is forced."""
    table = plain_table(
        caption=f"unsafe ↓ when so many {curve.unit} of a complying reply are forced"
    )
    table.add_column("")
    for depth in curve.depths:
        table.add_column(f"{depth} {curve.unit}" if depth != ALL else depth, justify="right")
    for name, rates in curve.rates.items():
        found = (rates.get(depth) for depth in curve.depths)
        cells = (_cell(UNSAFE, rate, clustered=False) for rate in found)
        table.add_row(safe(name), *cells)
    return table


def _judges(stages: Sequence[Stage]) -> list[str]:
    """Return whose verdicts the numbers are: one judge's, or each stage's own."""
    named = {stage.name: stage.scores.judge or stage.judge for stage in stages}
    judges = list(dict.fromkeys(judge for judge in named.values() if judge))
    if len(judges) <= 1:
        return [f"judged by {judge}" for judge in judges]
    each = ", ".join(f"{name} by {judge}" for name, judge in named.items() if judge)
    return [f"judged by different judges and not comparable: {each}"]


def _skipped(stages: Sequence[Stage]) -> list[str]:
    """Return which conditions were not asked of which stages, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for stage in stages:
        for condition, reason in stage.scores.skipped.items():
            named = (called(condition, stage.scores), reason)
            reasons.setdefault(named, []).append(stage.name)
    return [
        f"not asked as '{condition}': {', '.join(names)}: {reason}"
        for (condition, reason), names in reasons.items()
    ]


def _is_clustered(stages: Sequence[Stage]) -> bool:
    """Tell whether any interval is shown that resamples clusters."""
    return any(
        measure.clustered(rate)
        for measure in found(stage.scores for stage in stages)
        for stage in stages
        if (rate := measure.read(stage.scores)) is not None
    )


def _counts(rates: Sequence[Rate | None]) -> str:
    """Format a row's number of replies: one number, or a range."""
    counts = {rate.n for rate in rates if rate is not None}
    low, high = min(counts), max(counts)
    return f"n={low}" if low == high else f"n={low} to {high}"


def _cell(measure: Measure, rate: Rate | None, *, clustered: bool = True) -> str:
    if rate is None:
        return f"[dim]{NONE}[/dim]"
    value = measure.say(rate.value)
    color = {"good": "green", "bad": "red"}.get(quality(measure.goodness(rate.value)), "")
    if color:
        value = f"[{color}]{value}[/{color}]"
    unknown = f"\n[yellow]{rate.unknown} unknown[/yellow]" if rate.unknown else ""
    said = measure.clustered(rate) if clustered else ""
    beside = f"\n[dim]⟨{said}⟩[/dim]" if said else ""
    return f"{value}\n[dim]{measure.interval(rate)}[/dim]{beside}{unknown}"
