"""``fedsafe accept``: measure a defense's acceptance card, and the table of a card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsafe.cli.text import Interrupted, safe, shown
from fedsafe.errors import ConfigError
from fedsafe.plugin_modules import search_current

if TYPE_CHECKING:
    from fedsafe.runs.acceptance import AcceptanceCard, Cell

COLORS = {True: "green", False: "red", None: "dim"}
NONE = "–"  # noqa: RUF001


Defenses = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DEFENSE]...", help="Defenses; none: all of the experiment."),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Runs and cards go there.")
]
InOneTable = Annotated[
    bool,
    typer.Option(
        "--table", help="Measure nothing: show the cards of DIR, or the shipped ones, in one table."
    ),
]
Setting = Annotated[
    str, typer.Option(metavar="EXPERIMENT", help="Attack, evaluation and the defenses' settings.")
]
Seeds = Annotated[str, typer.Option(metavar="0-2", help="Seeds: 0-4, or 0,3,7.")]
Transfer = Annotated[
    str | None,
    typer.Option(metavar="EXPERIMENT", help="The same defenses on another model; else none."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines, cards last.")]


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = "fedsafe accept fine-tune derta --seeds 0-2 -o cards"
    app.command(rich_help_panel="Do", epilog=f"Example: {example}")(accept)


def accept(
    defense: Defenses = None,
    output: Output = None,
    table: InOneTable = False,
    experiment: Setting = "micro-acceptance",
    seeds: Seeds = "0-2",
    transfer: Transfer = None,
    as_json: Json = False,
) -> None:
    """Measure acceptance cards: seeds, fresh prompts, attackers who know the defense, price.

    All defenses repair the same attacked models. The same command goes on where it stopped.
    """
    if table:
        show_table(defense or (), output, as_json=as_json)
        return
    if output is None:
        raise ConfigError("Say with -o where runs and cards go, such as -o cards.")
    from fedsafe.acceptance import prepare
    from fedsafe.app import activate
    from fedsafe.cli.console import display

    activate()
    search_current()
    try:
        with display(as_json=as_json) as listen:
            cards = prepare(defense or (), experiment, seeds, output, transfer, listen).cards()
    except KeyboardInterrupt:
        raise Interrupted("what is done is kept. Go on with the same command.") from None
    if as_json:
        for card in cards:
            typer.echo(json.dumps({"kind": "card", **card.plain()}))
        return
    for card in cards:
        show_card(card, card.defense)
    if len(cards) > 1:
        show_table(defense or (), output, as_json=False)
    typer.echo(f"cards    {shown(output / 'cards')}")


def show_table(defenses: Sequence[str], directory: Path | None, *, as_json: bool) -> None:
    """Print cards side by side: those in a directory, or the shipped ones.

    Raises:
        ConfigError: There is no card, or none of a defense.
        RunError: A card cannot be read.
    """
    from fedsafe.report.acceptance_table import acceptance_tables
    from fedsafe.runs.acceptance import all_shipped, cards_in

    cards = all_shipped() if directory is None else cards_in(directory / "cards")
    where = "FedSafe" if directory is None else shown(directory / "cards")
    if missing := [name for name in defenses if name not in cards]:
        raise ConfigError(
            f"{where} has no card of {', '.join(missing)}. It has {', '.join(cards) or 'none'}."
        )
    if not cards:
        raise ConfigError(f"{where} has no cards. `fedsafe accept -o DIR` measures them.")
    chosen = [card for name, card in cards.items() if not defenses or name in defenses]
    if as_json:
        for card in chosen:
            typer.echo(json.dumps({"kind": "card", **card.plain()}))
    else:
        typer.echo(acceptance_tables(chosen))


def show_card(card: "AcceptanceCard | None", defense: str) -> None:
    """Print an acceptance card, failures and what was not measured included."""
    from fedsafe.cli.tables import console, plain_table

    out = console()
    if card is None:
        out.print(
            "\n[dim]acceptance: not measured. `fedsafe accept` measures it, with an experiment "
            "that has its settings.[/dim]"
        )
        return
    table = plain_table(title=f"acceptance of {safe(defense)}")
    table.add_column("")
    table.add_column("cell")
    for heading in ("value", "95 %", "n", "at most", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    group = ""
    for cell in card.cells:
        table.add_row(cell.group if cell.group != group else "", *_cell(cell))
        group = cell.group
    out.print()
    out.print(table)
    out.print(f"[dim]{safe(card.said)}[/dim]", soft_wrap=True)


def _cell(cell: "Cell") -> tuple[str, ...]:
    name = safe(cell.name) + (f"\n[dim]{safe(cell.reason)}[/dim]" if cell.reason else "")
    color = COLORS[cell.passed]
    bounds = (
        NONE if cell.low is None or cell.high is None else f"{_of(cell.low)} to {_of(cell.high)}"
    )
    return (
        name,
        _of(cell.value),
        bounds,
        str(cell.n or NONE),
        _of(cell.threshold),
        f"[{color}]{cell.verdict}[/{color}]",
    )


def _of(share: float | None) -> str:
    return NONE if share is None else f"{100 * share + 0.0:.1f} %"
