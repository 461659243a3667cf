"""Acceptance cards side by side as Markdown: a row for each defense, a column for each cell."""

from collections.abc import Iterable, Sequence

from fedsafe.report.measures import NONE
from fedsafe.runs.acceptance import AcceptanceCard, Cell

PRICE = "price"
LONG = (
    *(("unsafe, ", ""), ("unsafe on another model, ", "on "), (", the worst depth", "")),
    *(("reply forced to begin", "reply forced"), (" under attack", "")),
)
"""What headings leave out or shorten."""


def acceptance_tables(cards: Iterable[AcceptanceCard]) -> str:
    """Return two Markdown tables: what each defense leaves unsafe, and its price.

    Percent; bold where a cell fails, a dash where it was not measured. Those that pass more cells
    come first. A cell that no card has measured is left out.
    """
    ordered = sorted(cards, key=lambda card: (-card.counts[0], card.defense))
    names = dict.fromkeys(
        (cell.group, cell.name) for card in ordered for cell in card.cells if cell.n
    )
    unsafe = [name for group, name in names if group != PRICE]
    price = [name for group, name in names if group == PRICE]
    return f"{_table(ordered, unsafe)}\n\n{_table(ordered, price)}"


def _table(cards: Sequence[AcceptanceCard], names: Sequence[str]) -> str:
    rows = [["defense", "seeds", "cells passed", *map(_heading, names)]]
    for card in cards:
        passed, failed, _ = card.counts
        found = {cell.name: cell for cell in card.cells}
        values = [_value(found.get(name)) for name in names]
        seeds = str(len(card.seeds))
        rows.append([f"`{card.defense}`", seeds, f"{passed} of {passed + failed}", *values])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _heading(name: str) -> str:
    for long, short in LONG:
        name = name.replace(long, short)
    return name


def _value(cell: Cell | None) -> str:
    if cell is None or cell.value is None:
        return NONE
    value = f"{100 * cell.value + 0.0:.1f}"
    return f"**{value}**" if cell.passed is False else value
