"""Tables for the terminal: before and after, plug-ins, pairs of name and sentence."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from fedsafe.cli.text import safe, shown
from fedsafe.report.measures import MEASURES, NONE, Measure, duration, interval, percent
from fedsafe.report.verdict import sentence
from fedsafe.runs.records import Rate, Stage, Summary

COLORS = {"base": "white", "clean": "blue", "attacked": "red", "trained": "blue"}
PIPE_WIDTH = 110
"""Columns where there is no terminal to ask."""


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


def plugin_settings(settings: Sequence[dict[str, Any]]) -> None:
    """Print a plug-in's settings with type, default and help."""
    if not settings:
        console().print("\nIt has no settings.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("setting", style="cyan", no_wrap=True)
    for heading in ("type", "default", "help"):
        table.add_column(heading)
    for setting in settings:
        default = "[red]required[/red]" if setting["required"] else safe(setting["default"])
        table.add_row(safe(setting["name"]), safe(setting["type"]), default, safe(setting["help"]))
    console().print()
    console().print(table)


def before_after(summary: Summary) -> None:
    """Print the stages side by side, and the verdict."""
    out = console()
    if summary.stages:
        out.print(_stages(summary.stages))
        out.print(f"[dim]{_judges(summary.stages)}[/dim]", soft_wrap=True)
    out.print(Padding(safe(sentence(summary.stages)), (0, 0, 1, 0)))
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


def _stages(stages: Sequence[Stage]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="with 95 % intervals; ↑ more is better, ↓ less is better",
        caption_justify="left",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("")
    for stage in stages:
        color = COLORS.get(stage.name, "green")
        table.add_column(f"[{color}]{safe(stage.name)}[/{color}]", justify="right")
    for measure in MEASURES:
        rates = [measure.read(stage.scores) for stage in stages]
        if any(rate is not None for rate in rates):
            arrow = "↑" if measure.better == "higher" else "↓"
            table.add_row(
                f"{measure.label} {arrow}\n[dim]{_counts(rates)}[/dim]",
                *(_cell(rate, _color(measure, rate)) for rate in rates),
            )
    return table


def _judges(stages: Sequence[Stage]) -> str:
    """Say whose verdicts the numbers are: one judge's, or each stage's own."""
    named = {stage.name: stage.judge for stage in stages if stage.judge}
    if len(set(named.values())) <= 1:
        return "".join(f"judged by {safe(judge)}" for judge in list(named.values())[:1])
    each = ", ".join(f"{safe(name)} by {safe(judge)}" for name, judge in named.items())
    return f"judged by different judges and not comparable: {each}"


def _counts(rates: Sequence[Rate | None]) -> str:
    """Say how many replies a row rests on: one number, or from-to."""
    counts = {rate.n for rate in rates if rate is not None}
    low, high = min(counts), max(counts)
    return f"n={low}" if low == high else f"n={low} to {high}"


def _cell(rate: Rate | None, color: str) -> str:
    if rate is None:
        return f"[dim]{NONE}[/dim]"
    value = percent(rate.value)
    if color:
        value = f"[{color}]{value}[/{color}]"
    bounds = interval(rate)
    unknown = f"\n[yellow]{rate.unknown} unknown[/yellow]" if rate.unknown else ""
    return f"{value}\n[dim]{bounds}[/dim]{unknown}"


def _color(measure: Measure, rate: Rate | None) -> str:
    """Color what is plainly good or plainly bad; the rest is for the reader."""
    if rate is None or rate.value is None:
        return ""
    good = rate.value if measure.better == "higher" else 1 - rate.value
    return "green" if good >= 0.9 else "red" if good <= 0.5 else ""
