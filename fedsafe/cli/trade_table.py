"""Table of the terminal: a defense's settings against what each made of the same model."""

from rich import box
from rich.table import Table

from fedsafe.cli.text import safe
from fedsafe.report.measures import NONE
from fedsafe.report.trades import Trade


def trade_table(trade: Trade) -> Table:
    """Return the repairs of one model by one defense, a row each."""
    table = Table(
        title=f"{safe(trade.name)} against {safe(trade.axis)}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for name in (trade.axis, *trade.others):
        table.add_column(safe(name), justify="right", style="cyan")
    for measure in trade.measures:
        table.add_column(safe(f"{measure.label}{measure.arrow}"), justify="right")
    for one in trade.tries:
        values = (
            NONE if (rate := one.found.get(measure)) is None else measure.say(rate.value)
            for measure in trade.measures
        )
        table.add_row(f"{one.x:g}", *map(safe, one.others), *values)
    return table
