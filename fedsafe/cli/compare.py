"""``fedsafe compare``: what differs between runs, with paired tests and flipped prompts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsafe.cli.text import safe, shown
from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from fedsafe.runs.comparison_records import Comparison, StagePair

FLIPS = 12
"""Flipped prompts of two stages that the terminal lists."""
LONGEST = 60
"""Characters of a setting's value in the terminal."""
REPLY = 160
"""Characters of a revealed text in the terminal."""


Page = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write an HTML page too.")
]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show prompts and replies of what flipped.")]


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    epilog = "Example: fedsafe compare runs/mean runs/krum -o compare.html"
    app.command(rich_help_panel="Look up", epilog=epilog)(compare)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN[:STAGE]...",
            help="Two or more runs, or directories of --seeds; each is compared with the first.",
        ),
    ],
    output: Page = None,
    reveal: Reveal = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show the settings in which runs differ, paired tests of every measure, flipped prompts.

    Stages of one name are compared; RUN:STAGE names one, such as runs/a:attacked. Runs that were
    evaluated on different prompts are refused.
    """
    from fedsafe.app import activate
    from fedsafe.pipeline.comparison import compare as compared

    checked_page(output)
    activate()
    tell(compared(runs, reveal=reveal), output, as_json=as_json)


def checked_page(output: Path | None) -> None:
    """See that a page is to be HTML.

    Raises:
        ConfigError: Its name ends otherwise.
    """
    if output is not None and output.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"-o {output}: the page is HTML. Name a file that ends in .html.")


def tell(found: "Comparison", output: Path | None, *, as_json: bool) -> None:
    """Print a comparison, and write its page if one is wanted."""
    from fedsafe.report.comparison_page import write_comparison

    if output is not None:
        write_comparison(output, found)
    if as_json:
        page = {} if output is None else {"page": str(output)}
        typer.echo(json.dumps({**found.plain(), **page}))
        return
    show(found)
    if output is not None:
        typer.echo(f"page  {shown(output)}")


def show(comparison: "Comparison") -> None:
    """Print a comparison."""
    from fedsafe.cli.tables import console, pairs
    from fedsafe.report import comparison_texts as texts

    out = console()
    pairs((run.label, f"{run.directory}  ({texts.who(run)})") for run in comparison.runs)
    for warning in comparison.warnings:
        out.print(f"[yellow]{safe(warning)}[/yellow]", soft_wrap=True)
    labels = [run.label for run in comparison.runs]
    for name, differing in (
        ("Settings that differ", comparison.settings),
        ("Environment that differs", comparison.environment),
    ):
        if differing:
            out.print(_text_table(name, ["", *labels], texts.rows(differing)))
    if not comparison.settings:
        out.print("[dim]Their experiments have the same settings.[/dim]")
    for pair in comparison.pairs:
        _show_pair(comparison, pair)
    for line in texts.verdict(comparison):
        out.print(safe(line), soft_wrap=True)
    out.print(f"[dim]{texts.EXPLAINED}[/dim]")


def _show_pair(comparison: "Comparison", pair: "StagePair") -> None:
    from fedsafe.cli.tables import console
    from fedsafe.report import comparison_texts as texts

    out = console()
    name = f"{texts.title(pair)}: {texts.counted(pair)}"
    changed, same = texts.moved(pair)
    if not changed:
        out.print(f"[bold]{safe(name)}[/bold]", soft_wrap=True)
    else:
        table = _table(
            name,
            [
                "",
                *(one.partition(" ")[0] for one in (pair.first, pair.second)),
                *(h.lower() for h in texts.HEADINGS),
            ],
        )
        for change in changed:
            measure = texts.measure_of(comparison, change.measure)
            cells = [*texts.values(measure, change), *texts.tested(measure, change)]
            style = "bold" if texts.is_sure(change) else ""
            label = f"{safe(measure.label)}{measure.arrow}"
            table.add_row(label, *map(safe, cells), style=style)
        out.print(table)
    if same and not pair.unchanged:
        labels = "; ".join(texts.measure_of(comparison, one.measure).label for one in same)
        out.print(f"[dim]unchanged on every prompt: {safe(labels)}[/dim]", soft_wrap=True)
    _show_flips(pair, comparison)


def _show_flips(pair: "StagePair", comparison: "Comparison") -> None:
    from fedsafe.cli.tables import console
    from fedsafe.report import comparison_texts as texts

    out = console()
    ordered = sorted(pair.flips, key=lambda flip: (flip.better is not False, flip.better is None))
    for flip in ordered[:FLIPS]:
        color = {True: "green", False: "red", None: "dim"}[flip.better]
        change = f"[{color}]{safe(flip.before)} → {safe(flip.after)}[/{color}]"
        seed = f"  seed {flip.seed}" if len({one.seed for one in pair.flips}) > 1 else ""
        about = safe(", ".join(filter(None, (texts.kind(flip, comparison), flip.topic))))
        out.print(f"  {safe(flip.prompt)}{seed}  {change}  [dim]{about}[/dim]", soft_wrap=True)
        if flip.replies is not None:
            words = (flip.instruction or "", *flip.replies)
            for name, text in zip(("asked", "before", "after"), words, strict=True):
                out.print(f"      [dim]{name:<6}[/dim] {safe(_cut(text, REPLY))}", soft_wrap=True)
    if len(ordered) > FLIPS:
        more = len(ordered) - FLIPS
        out.print(f"[dim]  and {more} more: all are in the page (-o FILE) and in --json[/dim]")


def _text_table(name: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    table = _table(name, headings, justify="left")
    for row in rows:
        table.add_row(*(safe(_cut(cell, LONGEST)) for cell in row))
    return table


def _table(name: str, headings: Sequence[str], justify: str = "right") -> "Table":
    from fedsafe.cli.tables import plain_table

    table = plain_table(title=f"[bold]{safe(name)}[/bold]")
    for index, heading in enumerate(headings):
        side = "left" if index == 0 or justify == "left" else "right"
        table.add_column(safe(heading), justify=side)  # type: ignore[arg-type]
    return table


def _cut(text: str, most: int) -> str:
    """Return a text on one line, its rest left out beyond so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
