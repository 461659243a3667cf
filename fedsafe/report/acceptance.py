"""What defenses are worth beyond one evaluation: second attacks, and acceptance cards."""

from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, table, text
from fedsafe.report.measures import NONE, interval, percent, short
from fedsafe.report.second_attack import HOLDS, holdings
from fedsafe.runs.acceptance import AcceptanceCard, Cell, shipped
from fedsafe.runs.records import Rate

HEADINGS = ("", "Cell", "Value", "95 %", "n", "At most", "Verdict")


def held(run: RunData) -> str:
    """Return how long each defense held in a second attack, round by round."""
    found = list(holdings(run.stages))
    if not found:
        return ""
    most = max(len(holding.rounds) for holding in found)
    headings = ["Defense", "Before", *(f"After round {n}" for n in range(1, most + 1)), "Held"]
    rows = []
    for holding in found:
        before = percent(holding.before.value if holding.before else None)
        course = [f"{percent(rate.value)} {_bounds(rate)}" for rate in holding.rounds]
        missing = [NONE] * (most - len(course))
        held = f"{holding.held} of {len(holding.rounds)} rounds"
        rows.append([text(holding.name), before, *course, *missing, held])
    caption = (
        "Unsafe, plainly asked, while the federation goes on from the defended model with its "
        f"attackers; a defense holds up to {percent(HOLDS)}."
    )
    return f"<h3>Second attack</h3>{table(headings, rows, caption=caption)}"


def _bounds(rate: Rate) -> str:
    return f'<span class="meaning">{interval(rate)}, n {rate.n}</span>'


def accepted(run: RunData) -> str:
    """Return the acceptance cards of the defenses of a run, failures and all, folded."""
    made = [run.defenses[stage.name] for stage in run.story.defended]
    names = dict.fromkeys(name for one in made for name in one.steps or (one.name,))
    drawn = "".join(_accepted(short(name), shipped(name)) for name in names)
    note = (
        "<p>Measured by <code>fedsafe accept</code> on the experiment that each card names, and "
        "not in this run. Value, interval and threshold of every cell, passed or not.</p>"
    )
    return f"<h3>Acceptance cards</h3>{note}{drawn}" if drawn else ""


def _accepted(name: str, card: AcceptanceCard | None) -> str:
    if card is None:
        return f"<h4>{text(name)}</h4><p>Acceptance: not measured.</p>"
    rows = [_row(cell) for cell in card.cells]
    settings = ", ".join(
        f"{key} {value}" for key, value in card.settings.items() if value is not None
    )
    held_out = f" Held out of its data: {', '.join(card.held_out)}." if card.held_out else ""
    note = f'<p class="note">Settings: {text(settings)}.{text(held_out)}</p>'
    body = table(list(HEADINGS), rows, numbers=(2, 3, 4, 5)) + note
    return f"<h4>{text(name)}</h4><p>{text(card.said)}</p>{details('The whole card', body)}"


def _row(cell: Cell) -> list[str]:
    bounds = NONE if cell.low is None else f"{percent(cell.low)} to {percent(cell.high)}"
    name = text(cell.name)
    if cell.reason:
        name += f'<span class="meaning">{text(cell.reason)}</span>'
    mark = f"<b>{cell.verdict}</b>" if cell.passed is False else cell.verdict
    count = str(cell.n) if cell.n else NONE
    at_most = percent(cell.threshold)
    return [cell.group, name, percent(cell.value), bounds, count, at_most, mark]
